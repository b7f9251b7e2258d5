"""The files that releases are made of, on the hub's disk: verified before a byte of one is given to a unit.

A file is hashed when it is first asked for, and again whenever the disk says that it changed; one that is not what was
signed for is not served, and somebody is told. Bytes that go to a unit come from the descriptor that was hashed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog
from tuf.api.metadata import TargetFile

from contract.channel_disk import Disk, SyncSite
from contract.update_metadata import name_by_content, sha256_of

Seen = tuple[int, int, int, int]
log = structlog.get_logger("updates")


class UpdateFiles:
    """One folder of files, each under its content's name. Methods block."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self._folder = folder
        self._disk = disk or Disk()
        self._verified: dict[str, Seen] = {}
        self.damaged: set[str] = set()

    def read(self, target: TargetFile, offset: int, length: int) -> bytes | None:
        """Bytes [offset, offset + length) of a file, as far as there are any; None where it is not whole here."""
        name = name_by_content(target.path, sha256_of(target))
        found = self._look(name, target, offset, length)
        if isinstance(found, bytes):
            self.damaged.discard(name)
            return found
        if name not in self.damaged:
            log.critical("alarm", message=f"A file of the update repository cannot be served: {found}.", file=name)
        self.damaged.add(name)
        return None

    def has(self, target: TargetFile) -> bool:
        """Whether a file is here and whole. Nobody is told where it is not."""
        return isinstance(self._look(name_by_content(target.path, sha256_of(target)), target, 0, 0), bytes)

    def put(self, target: TargetFile, content: bytes) -> None:
        """Keep the bytes of a file, which were checked. Raises DeviceError."""
        path = self._folder / name_by_content(target.path, sha256_of(target))
        for folder in (self._folder.parent, self._folder):
            self._disk.make_folder(folder, SyncSite.RELEASE_NAME)
        draft = self._disk.write_draft(path, content, SyncSite.RELEASE_BYTES)
        self._disk.publish_draft(draft, path, SyncSite.RELEASE_NAME)

    def verify(self, targets: Mapping[str, TargetFile]) -> None:
        """Look at every file that is signed for, and forget what nobody signs for any more."""
        for target in targets.values():
            self.read(target, 0, 0)
        self.damaged &= {name_by_content(target.path, sha256_of(target)) for target in targets.values()}

    def keep_only(self, kept: Iterable[TargetFile]) -> None:
        """Remove files that nobody signs for any more. Raises DeviceError."""
        names = {name_by_content(target.path, sha256_of(target)) for target in kept}
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            if path.name not in names:
                self._disk.remove(path, SyncSite.RELEASE_NAME)

    def _look(self, name: str, target: TargetFile, offset: int, length: int) -> bytes | str:
        """The bytes, or why there are none."""
        try:
            descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                if not self._is_whole(descriptor, name, target):
                    return "it is not the file that was signed for"
                return os.pread(descriptor, length, offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            return error.strerror or type(error).__name__

    def _is_whole(self, descriptor: int, name: str, target: TargetFile) -> bool:
        status = os.fstat(descriptor)
        seen = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if self._verified.get(name) == seen:
            return True
        with os.fdopen(os.dup(descriptor), "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest() if status.st_size == target.length else ""
        whole = digest == sha256_of(target)
        if whole:
            self._verified[name] = seen
        else:
            self._verified.pop(name, None)
        return whole
