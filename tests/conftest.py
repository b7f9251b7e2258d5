"""What every test leaves behind it: the process's log settings as they were, whatever command it ran in process.

A TPM in software for those that ask for one. And what the garbage is drawn from: `make test` draws the same for the
same code, so that it says the same twice; `make fuzz` draws anew, round after round.

What collection and imports have built lives as long as the worker: the garbage collector, which took a tenth of the
suite's CPU walking it again and again, leaves it alone and comes a tenth as often.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import structlog
import typer.testing
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.card_rig import card_rig
from tests.soft_tpm import SoftTpm, why_not

__all__ = ["card_rig"]

ROOT = Path(__file__).resolve().parent.parent
# No deadline by the wall clock: a shared machine stops any example for a while; what hangs ends by the test's timeout.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile(
    "anew", derandomize=False, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same")
gc.set_threshold(10_000, 10, 10)
typer.testing._get_command = cache(typer.testing._get_command)  # type: ignore[attr-defined]  # its tree at each invocation


@cache
def _group_of(module: str) -> str:
    named = re.search(r'xdist_group\("([a-z-]+)"\)', (ROOT / module).read_text(encoding="utf-8"))
    return named[1] if named else module


class ModulesTogether(LoadScopeScheduling):  # type: ignore[misc]
    """A module stays on one worker, and with it every module that names the same xdist_group.

    What its tests share (a browser, prints, a board) is made once. The plugin's own grouping is lost under pytest 9.2,
    where a test's name cannot be changed any more.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _group_of(nodeid.split("::", 1)[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ModulesTogether:
    return ModulesTogether(config, log)


def pytest_collection_finish() -> None:
    gc.freeze()


@pytest.fixture(autouse=True)
def _log_settings() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def _tpm_as_delivered(tmp_path_factory: pytest.TempPathFactory) -> SoftTpm:
    if reason := why_not():
        pytest.skip(reason)
    tpm = SoftTpm(tmp_path_factory.mktemp("tpm"))
    tpm.start()
    try:
        tpm.make_token()
        tpm.stop()
    finally:
        tpm.cut()
    return tpm


@pytest.fixture
def soft_tpm(_tpm_as_delivered: SoftTpm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftTpm]:
    """A TPM of this test's own, running, with an empty token."""
    tpm = _tpm_as_delivered.copy(tmp_path / "tpm")
    for name in ("TPM2_PKCS11_STORE", "TPM2_PKCS11_TCTI"):
        monkeypatch.setenv(name, "nowhere")  # what the driver sets ends with the test
    monkeypatch.setenv("TSS2_LOG", "all+NONE")
    tpm.start()
    yield tpm
    tpm.cut()
