"""The disk as unit and hub use it, so that what was promised is there after a power cut.

POSIX promises little: the data of a file is durable after its fsync, a name (creation, rename, removal) after the fsync
of its folder, and what was never synced may be there, be missing or be torn. Every such point has a site here, which
names the promise that hangs on it. The power-cut check leaves out each site in turn and must then see a loss:
a sync that nobody misses would be superstition, and one that is missing would be a resident's lost morning.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path

from contract.errors import DeviceError

DRAFT_SUFFIX = ".draft"


class SyncSite(StrEnum):
    """Where something becomes durable, and for whom."""

    SPOOL_ROOT = "unit: the spool's folders"
    SPOOL_FILE = "unit: bytes of a sealed packet"
    SPOOL_NAME = "unit: name of a sealed packet"
    SPOOL_REMOVAL = "unit: removal of a purged packet"
    SPOOL_DATABASE = "unit: rows of the spool"
    PART_ROOT = "hub: folders of parts and packets"
    PART_FOLDER = "hub: a unit's folder of parts"
    PART_BYTES = "hub: chunks of a part"
    PART_MAP = "hub: bitmap of a part"
    PART_NAME = "hub: names of a part and its bitmap"
    PACKET_BYTES = "hub: bytes of a complete packet"
    PACKET_NAME = "hub: name of a complete packet"
    HUB_DATABASE = "hub: rows of packets, records and receipts"
    RELEASE_BYTES = "release: bytes of a file that was signed for"
    RELEASE_NAME = "release: name of a file that was signed for"


class Disk:
    """Durable file operations. Raises DeviceError where the disk fails or is full."""

    def sync_file(self, descriptor: int, _site: SyncSite) -> None:
        """Make the bytes of an open file durable. After a failure they may be lost, whatever a second try says."""
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise _lost(error) from None

    def sync_folder(self, folder: Path, _site: SyncSite) -> None:
        """Make the names in `folder` durable."""
        try:
            sync_names(folder)
        except OSError as error:
            raise _failed("keep the names in", folder, error) from None

    def synchronous(self, _site: SyncSite) -> str:
        """SQLite's `PRAGMA synchronous` for a database whose commits are promises."""
        return "FULL"

    def make_folder(self, folder: Path, site: SyncSite) -> None:
        """Create `folder` (its parent exists), readable by its owner alone."""
        if self.new_folder(folder):
            self.sync_folder(folder.parent, site)

    def new_folder(self, folder: Path) -> bool:
        """What `make_folder` does, but not durably: that is the caller's. False where there is one already."""
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            return False
        except OSError as error:
            raise _failed("make a folder in", folder, error) from None
        return True

    def write_draft(self, path: Path, data: bytes, site: SyncSite) -> Path:
        """Write `data` durably beside `path`; the name is still to be given by `publish_draft`."""
        draft = path.with_name(path.name + DRAFT_SUFFIX)
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                write_all(descriptor, data, 0)
                self.sync_file(descriptor, site)
            finally:
                os.close(descriptor)
        except DeviceError:
            draft.unlink(missing_ok=True)
            raise
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise _failed("write to", path.parent, error) from None
        return draft

    def publish_draft(self, draft: Path, path: Path, site: SyncSite) -> None:
        """Give a durable file its name, atomically and durably."""
        try:
            draft.rename(path)
            self.sync_folder(path.parent, site)
        except OSError as error:
            raise _failed("rename in", path.parent, error) from None

    def remove(self, path: Path, site: SyncSite) -> None:
        """Remove a file durably; one that is gone already is no error."""
        try:
            path.unlink(missing_ok=True)
            self.sync_folder(path.parent, site)
        except OSError as error:
            raise _failed("remove from", path.parent, error) from None

    def free_bytes(self, folder: Path) -> int:
        """Bytes that an ordinary process can still write."""
        status = os.statvfs(folder)
        return status.f_bavail * status.f_frsize


def write_whole(path: Path, content: bytes) -> None:
    """A small file, its owner's alone: whole and durable, or as it was before. Raises OSError."""
    draft = path.with_name(f".{path.name}{DRAFT_SUFFIX}")
    try:
        descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)  # on a full disk half a file would only be in the way
        raise
    sync_names(path.parent)


def sync_names(folder: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`, also where the system takes it in pieces. Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _lost(error: OSError) -> DeviceError:
    return DeviceError(
        f"The disk did not keep what was written ({error.strerror}).",
        next_step="Look at the disk's health, and replace it; nothing that was acknowledged is lost.",
    )


def _failed(what: str, folder: Path, error: OSError) -> DeviceError:
    return DeviceError(
        f"The disk does not let us {what} '{folder.name}' ({error.strerror}).",
        next_step="Make room or replace the disk; nothing that was acknowledged is lost.",
    )
