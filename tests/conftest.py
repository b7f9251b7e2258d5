"""What every test leaves behind it: the process's log settings as they were, whatever command it ran in process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _log_settings() -> Iterator[None]:
    yield
    structlog.reset_defaults()
