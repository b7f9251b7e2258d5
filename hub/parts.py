"""Packets that are still arriving: a file of chunks and a durable bitmap each, under the unit that sends them.

The bitmap never claims a chunk that is not on the disk: chunks are synced first, then the bitmap takes its name. What
the bitmap claimed once is still there after a power cut, so that a unit on a thin line never starts over. A bitmap that
is torn, or a part whose bytes do not have the packet's SHA-256, is thrown away: the unit still has everything.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import structlog
from pydantic import Field

from contract.channel_disk import DRAFT_SUFFIX, Disk, SyncSite, write_all
from contract.clock import Clock
from contract.dispatch import decode, encode
from contract.errors import DeviceError, RemoteError, TransientError
from contract.identifiers import PID_PATTERN
from contract.packet import Millis, Model
from contract.topics import NAME_PATTERN
from contract.transfer import (
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    CHUNKS_MAX,
    Chunk,
    Length,
    Observer,
    Offer,
    Step,
    chunk_count,
    unobserved,
)

FLUSH_CHUNKS = 32  # 2 MB of full chunks: an ordinary packet on a fast line is made durable once, at its end
FLUSH_AFTER_MS = 2_000
log = structlog.get_logger("parts")
_MAP_BYTES_MAX = CHUNKS_MAX + 256
_PART, _MAP = ".part", ".map"


class QuotaReached(TransientError):
    """The unit has as much under way as it may; it asks again after `retry_after_ms`."""

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__("The unit has too much under way.")
        self.retry_after_ms = retry_after_ms


@dataclass(frozen=True, slots=True)
class Quota:
    """What one unit may have under way, and for how long a part may lie unfinished and untouched."""

    parts_max: int = 4
    bytes_max: int = 64 * 1024 * 1024
    age_ms_max: int = 48 * 3600 * 1000
    retry_after_ms: int = 30_000


class PartMap(Model):
    """The bitmap file: CBOR of this, then CRC-32 of it (u32 BE). bits: one byte a chunk, 1 where it is on the disk."""

    length: Length
    chunk: Annotated[int, Field(ge=CHUNK_BYTES_MIN, le=CHUNK_BYTES_MAX)]
    touched_ms: Millis
    bits: Annotated[bytes, Field(min_length=1, max_length=CHUNKS_MAX)]


@dataclass(slots=True)
class Part:
    """One packet under way."""

    unit: str
    pid: str
    path: Path
    length: int
    chunk: int
    descriptor: int
    touched_ms: int
    arrived: bytearray
    unflushed: int = 0
    flushed_ms: int = 0

    @property
    def missing(self) -> list[int]:
        """Indices of chunks that have not arrived."""
        return [index for index, here in enumerate(self.arrived) if not here]

    @property
    def complete(self) -> bool:
        """Whether every chunk has arrived."""
        return all(self.arrived)

    def expected_bytes(self, index: int) -> int:
        """How long chunk `index` must be."""
        return min(self.chunk, self.length - index * self.chunk)


@dataclass
class PartStore:
    """All parts of all units in `folder`. One thread uses it."""

    folder: Path
    clock: Clock
    quota: Quota = field(default_factory=Quota)
    disk: Disk = field(default_factory=Disk)
    observe: Observer = unobserved
    _parts: dict[tuple[str, str], Part] = field(default_factory=dict)
    _new_folders: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.disk.make_folder(self.folder, SyncSite.PART_ROOT)
        self.disk.sync_folder(self.folder, SyncSite.PART_FOLDER)  # what an earlier life made and promised nothing of
        for unit_folder in sorted(path for path in self.folder.iterdir() if path.is_dir()):
            if NAME_PATTERN.fullmatch(unit_folder.name):
                self._recover(unit_folder)

    def find(self, unit: str, pid: str) -> Part | None:
        """The part that `unit` is sending under `pid`."""
        return self._parts.get((unit, pid))

    def open(self, unit: str, pid: str, offer: Offer) -> Part:
        """The part for an offer, with what arrived before where the offer is cut the same way. Raises QuotaReached."""
        part = self._parts.get((unit, pid))
        if part is not None and (part.length, part.chunk) == (offer.length, offer.chunk):
            return part
        if part is not None:
            self.discard(part)
        self._check_quota(unit, offer.length)
        path = self.folder / unit / (pid + _PART)
        if self.disk.new_folder(path.parent):
            self._new_folders.add(path.parent)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            os.ftruncate(descriptor, offer.length)
        except OSError as error:
            raise _full(error) from None
        now_ms = self.clock.wall_ms()
        part = Part(unit, pid, path, offer.length, offer.chunk, descriptor, now_ms, bytearray(offer.count))
        part.flushed_ms = now_ms
        self._parts[unit, pid] = part
        self.observe(Step.PART_OPENED, pid)
        return part

    def write(self, part: Part, chunk: Chunk) -> bool:
        """Write a chunk; False where it had arrived before. Raises RemoteError where it does not fit the part."""
        if chunk.index >= len(part.arrived) or len(chunk.data) != part.expected_bytes(chunk.index):
            raise RemoteError(f"Chunk {chunk.index} does not fit its packet.")
        if part.arrived[chunk.index]:
            return False
        try:
            write_all(part.descriptor, chunk.data, chunk.index * part.chunk)
        except OSError as error:
            raise _full(error) from None
        part.arrived[chunk.index] = 1
        part.unflushed += 1
        part.touched_ms = self.clock.wall_ms()
        self.observe(Step.CHUNK_WRITTEN, part.pid)
        if part.unflushed >= FLUSH_CHUNKS and not part.complete:
            self.flush(part)
        return True

    def flush(self, part: Part) -> None:
        """Make what has arrived durable: chunks first, then the bitmap that claims them. Raises DeviceError."""
        self._sync(part, SyncSite.PART_BYTES)
        claim = encode(
            PartMap(length=part.length, chunk=part.chunk, touched_ms=part.touched_ms, bits=bytes(part.arrived))
        )
        path = part.path.with_suffix(_MAP)
        if path.parent in self._new_folders:  # nothing was promised of it so far: most packets come in one go
            self.disk.sync_folder(self.folder, SyncSite.PART_FOLDER)
            self._new_folders.discard(path.parent)
        draft = self.disk.write_draft(path, claim + zlib.crc32(claim).to_bytes(4), SyncSite.PART_MAP)
        self.disk.publish_draft(draft, path, SyncSite.PART_NAME)
        part.unflushed, part.flushed_ms = 0, self.clock.wall_ms()
        self.observe(Step.PART_DURABLE, part.pid)

    def tick(self) -> None:
        """Flush slow parts, and throw away those that nobody has touched for the quota's age."""
        now_ms = self.clock.wall_ms()
        for part in list(self._parts.values()):
            if now_ms - part.touched_ms > self.quota.age_ms_max:
                self.discard(part)
            elif part.unflushed and now_ms - part.flushed_ms >= FLUSH_AFTER_MS:
                self.flush(part)

    def finish(self, part: Part, target: Path) -> None:
        """Move a complete part to `target`, durably. Raises RemoteError, and forgets it, where its SHA-256 is wrong."""
        if self._digest(part) != part.pid:
            self.discard(part)
            raise RemoteError("The chunks do not make up the packet that was offered; all are asked for again.")
        self.observe(Step.PART_COMPLETE, part.pid)
        self._sync(part, SyncSite.PACKET_BYTES)
        self.disk.publish_draft(part.path, target, SyncSite.PACKET_NAME)
        self.observe(Step.BLOB_DURABLE, part.pid)
        self.discard(part)

    def discard(self, part: Part) -> None:
        """Forget a part and its files."""
        os.close(part.descriptor)
        part.path.unlink(missing_ok=True)
        part.path.with_suffix(_MAP).unlink(missing_ok=True)
        del self._parts[part.unit, part.pid]

    def close(self) -> None:
        """Flush everything and close the files."""
        for part in list(self._parts.values()):
            if part.unflushed:
                try:
                    self.flush(part)
                except DeviceError as error:
                    log.warning("part not kept", unit=part.unit, **error.diagnostics())
            if self._parts.get((part.unit, part.pid)) is part:
                os.close(part.descriptor)
        self._parts.clear()

    def _sync(self, part: Part, site: SyncSite) -> None:
        """Sync a part, or forget it: after a failed sync the system may call lost pages clean, and a retry lies."""
        try:
            self.disk.sync_file(part.descriptor, site)
        except DeviceError:
            self.discard(part)
            raise

    def _digest(self, part: Part) -> str:
        with os.fdopen(os.dup(part.descriptor), "rb") as file:
            file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _check_quota(self, unit: str, length: int) -> None:
        own = [part for part in self._parts.values() if part.unit == unit]
        if len(own) >= self.quota.parts_max or sum(part.length for part in own) + length > self.quota.bytes_max:
            raise QuotaReached(self.quota.retry_after_ms)

    def _recover(self, folder: Path) -> None:
        """Take up what a stopped hub left in one unit's folder; whatever is not whole is removed."""
        for path in folder.iterdir():
            pid = path.stem
            map_path = path.with_suffix(_MAP)
            if path.suffix != _PART or not PID_PATTERN.fullmatch(pid):
                if path.suffix == DRAFT_SUFFIX or not path.with_suffix(_PART).exists():
                    path.unlink(missing_ok=True)
                continue
            claim = _read_map(map_path)
            if claim is None or path.stat().st_size != claim.length:
                path.unlink()
                map_path.unlink(missing_ok=True)
                continue
            descriptor = os.open(path, os.O_RDWR)
            part = Part(
                folder.name, pid, path, claim.length, claim.chunk, descriptor, claim.touched_ms, bytearray(claim.bits)
            )
            part.flushed_ms = claim.touched_ms
            self._parts[folder.name, pid] = part


def _read_map(path: Path) -> PartMap | None:
    try:
        with path.open("rb") as file:
            stored = file.read(_MAP_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    if not 4 < len(stored) <= _MAP_BYTES_MAX or zlib.crc32(stored[:-4]) != int.from_bytes(stored[-4:]):
        return None
    try:
        claim = decode(PartMap, stored[:-4], _MAP_BYTES_MAX)
    except RemoteError:
        return None
    return claim if len(claim.bits) == chunk_count(claim.length, claim.chunk) else None


def _full(error: OSError) -> DeviceError:
    return DeviceError(
        f"The hub's disk does not take the packet ({error.strerror}).",
        next_step="Make room on the hub; the units keep what they have and offer it again.",
    )
