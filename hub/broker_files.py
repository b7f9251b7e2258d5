"""The broker's files that the hub keeps: access list, revocation list, server certificate; and the signal to read them.

A file is written beside its place, made durable and renamed, so that the broker never reads half of one. The signal
goes to the process whose id the broker left in its folder, once it is seen to be a Mosquitto.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from contract.channel_disk import write_whole
from contract.errors import DeviceError, TransientError

ACCESS_FILE, CLAIM_ACCESS_FILE, LIST_FILE, PID_FILE = "acl", "acl-claims", "crl.pem", "mosquitto.pid"
_PROGRAM = "mosquitto"


def write_private(path: Path, content: bytes) -> None:
    """Write a file that is its owner's alone, whole or not at all. Raises DeviceError."""
    try:
        write_whole(path, content)
    except OSError as error:
        raise DeviceError(
            f"{path} cannot be written: {error.strerror}.", next_step="Check the folder's owner and the disk's space."
        ) from None


class BrokerFolder:
    """The folder of one broker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def update(self, name: str, content: bytes) -> bool:
        """Write a file where it differs; whether it did."""
        path = self.folder / name
        try:
            if path.read_bytes() == content:
                return False
        except OSError:
            pass
        write_private(path, content)
        return True

    def reload(self) -> None:
        """Make the broker read its files again. Raises TransientError where none runs, DeviceError if we may not."""
        try:
            pid = int((self.folder / PID_FILE).read_text(encoding="ascii").split()[0])
            name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
        except (OSError, ValueError, IndexError):
            raise TransientError("The broker does not run, so it cannot read its lists again.") from None
        if name != _PROGRAM:
            raise TransientError(f"Process {pid} is no broker; the broker's pid file is stale.")
        try:
            os.kill(pid, signal.SIGHUP)
        except ProcessLookupError:
            raise TransientError("The broker has just ended.") from None
        except PermissionError:
            raise DeviceError(
                "The hub may not signal the broker, so a revocation would not reach it.",
                next_step="Run hub and broker as the same user, as provisioning/README.md says.",
            ) from None
