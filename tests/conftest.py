"""What every test leaves behind it: the process's log settings as they were, whatever command it ran in process.

A TPM in software for those that ask for one. And what the garbage is drawn from: `make test` draws the same for the
same code, so that it says the same twice; `make fuzz` draws anew, round after round.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.soft_tpm import SoftTpm, why_not

settings.register_profile("same", derandomize=True)
settings.register_profile("anew", derandomize=False, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")


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
