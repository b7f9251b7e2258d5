"""What every test leaves behind it: the process's log settings as they were, whatever command it ran in process.

A TPM in software for those that ask for one. And what the garbage is drawn from: `make test` draws the same for the
same code, so that it says the same twice; `make fuzz` draws anew, round after round.

What collection and imports have built lives as long as the worker: the garbage collector, which took a tenth of the
suite's CPU walking it again and again, leaves it alone and comes a tenth as often.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import structlog
import typer.testing
from hypothesis import HealthCheck, settings

from tests.card_rig import card_rig
from tests.soft_tpm import SoftTpm, why_not

__all__ = ["card_rig"]

settings.register_profile("same", derandomize=True)
settings.register_profile("anew", derandomize=False, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")
gc.set_threshold(10_000, 10, 10)
typer.testing._get_command = cache(typer.testing._get_command)  # type: ignore[attr-defined]  # its tree at each invocation


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A module stays on one worker: what its tests share (a browser, prints, an empty database) is made once."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.split("::", 1)[0]))


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
