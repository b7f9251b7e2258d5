"""One process at a time on a unit's data folder: the agent, or a command that works on its spool in the meantime."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from contract.errors import DeviceError


@contextlib.contextmanager
def only_agent(data_dir: Path) -> Iterator[None]:
    """Hold the data folder's lock: two agents on one spool would be one too many. Raises DeviceError."""
    descriptor = os.open(data_dir / "agent.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DeviceError(
            f"Another agent works in {data_dir}.", next_step="Stop it first, or give this unit a data_dir of its own."
        ) from None
    finally:
        os.close(descriptor)
