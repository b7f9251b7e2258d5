"""The site's own 1:N (M15): templates of every capture of this site, sealed at rest, shared between its units.

A capture of this unit enters in the same write as its claim, is searched at once, and is published to the site until
the broker has echoed it back; the other units' captures arrive the same way. Any unit of the site could write any
entry, so an entry is believed little: the first one of a capture stands, none touches this unit's own captures or
claims, and only the hub's notice removes one (M23). What is searched lies in the comparison worker's memory; what
lasts lies in the sealed store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from contract.dispatch import GalleryEntry, decode_kept, encode
from contract.errors import RekamError, RemoteError, TransientError
from edge.register import Register
from edge.sealed_store import Change, SealedStore

KIND = "gallery"
ENTRY_BYTES_MAX = 256 * 1024
LOAD_BATCH = 500
_PEERS, _OWN, _OWN_SHARED = b"\x00", b"\x01", b"\x02"

log = structlog.get_logger("edge.site_gallery")


class SearchMemory(Protocol):
    """The worker's searchable gallery."""

    @property
    def stamp(self) -> str:
        """Who makes the templates of this unit."""
        ...

    async def remember(self, entries: Mapping[str, Mapping[int, bytes]]) -> None:
        """Put captures into it. Raises RekamError where one cannot be searched; then none is kept for a restart."""
        ...

    async def forget(self, capture_id: str) -> None:
        """Take a capture out of it."""
        ...


class SiteGallery:
    """The captures of one site, on one unit. Used on the event loop."""

    def __init__(self, store: SealedStore, memory: SearchMemory, register: Register) -> None:
        self._store = store
        self._memory = memory
        self._register = register
        self._unshared: dict[str, GalleryEntry] = {}

    def __len__(self) -> int:
        return self._store.count(KIND)

    async def load(self) -> int:
        """Give everything at rest to the worker; how many captures it searches. One that is no good is left out."""
        entries = [entry for entry in await asyncio.to_thread(self._stored) if self._is_ours(entry)]
        loaded = 0
        for start in range(0, len(entries), LOAD_BATCH):
            loaded += await self._load_batch(entries[start : start + LOAD_BATCH])
        return loaded

    def own_change(self, entry: GalleryEntry) -> Change:
        """The write that keeps a capture of this unit, to be joined with its claim's."""
        return Change(KIND, entry.capture_id, _OWN + encode(entry))

    async def add_own(self, entry: GalleryEntry) -> None:
        """A capture of this unit has been kept: search it from now on, and share it."""
        self._unshared[entry.capture_id] = entry
        try:
            await self._memory.remember({entry.capture_id: entry.templates})
        except TransientError:  # the worker was lost; this call finds the next one
            await self._memory.remember({entry.capture_id: entry.templates})

    def unshared(self) -> list[GalleryEntry]:
        """Captures of this unit that the site has not been seen to hold, and that the hub has not freed."""
        return [entry for name, entry in self._unshared.items() if not self._register.is_freed(name)]

    async def take(self, entry: GalleryEntry) -> None:
        """What some unit of the site says of a capture. Raises RekamError where its templates cannot be searched."""
        if entry.tombstone or self._register.is_freed(entry.capture_id):
            return
        known = await asyncio.to_thread(self._store.get, KIND, entry.capture_id)
        if known is not None:
            await self._compare(entry, known)
            return
        if self._is_ours(entry):
            await self._memory.remember({entry.capture_id: entry.templates})
        else:
            log.warning("templates of another extractor are kept, not searched", extractor=entry.extractor)
        await asyncio.to_thread(self._store.put, KIND, entry.capture_id, _PEERS + encode(entry))

    async def remove(self, capture_id: str) -> bool:
        """The hub freed the NIK: nothing of the capture refuses anybody any more (M23). Whether it was this unit's."""
        known = await asyncio.to_thread(self._store.get, KIND, capture_id)
        self._unshared.pop(capture_id, None)
        await asyncio.to_thread(self._store.remove, KIND, capture_id)
        await asyncio.to_thread(self._register.drop_claim, capture_id)
        await self._memory.forget(capture_id)
        return known is not None and known[:1] != _PEERS

    async def _compare(self, entry: GalleryEntry, known: bytes) -> None:
        """The echo of an own capture ends its sharing; another text of a known capture is not taken."""
        if known[1:] != encode(entry):
            log.warning("another text of a known capture is ignored", capture_id=entry.capture_id)
            if known[:1] != _PEERS:  # the broker keeps somebody else's word for ours: say ours again at the next line
                self._unshared[entry.capture_id] = decode_kept(GalleryEntry, known[1:], ENTRY_BYTES_MAX)
            return
        self._unshared.pop(entry.capture_id, None)
        if known[:1] == _OWN:
            await asyncio.to_thread(self._store.put, KIND, entry.capture_id, _OWN_SHARED + known[1:])

    async def _load_batch(self, entries: Sequence[GalleryEntry]) -> int:
        """Give captures to the worker together, or where one of them is no good one by one; how many it took."""
        try:
            await self._memory.remember({entry.capture_id: entry.templates for entry in entries})
            return len(entries)
        except RekamError as error:
            if len(entries) == 1:
                log.warning(
                    "a capture of the site cannot be searched", capture_id=entries[0].capture_id, **_said(error)
                )
                return 0
        return sum([await self._load_batch([entry]) for entry in entries])

    def _is_ours(self, entry: GalleryEntry) -> bool:
        return entry.extractor == self._memory.stamp

    def _stored(self) -> list[GalleryEntry]:
        entries = []
        for name, value in list(self._store.items(KIND)):
            if self._register.is_freed(name):  # the power went between the hub's notice and the removal
                self._store.remove(KIND, name)
                self._register.drop_claim(name)
                continue
            try:
                entry = decode_kept(GalleryEntry, value[1:], ENTRY_BYTES_MAX)
            except RemoteError as error:
                log.warning("a stored capture cannot be read", capture_id=name, **_said(error))
                continue
            entries.append(entry)
            if value[:1] == _OWN:
                self._unshared[name] = entry
        return entries


def _said(error: RekamError) -> dict[str, str]:
    return {"error": type(error).__name__, "reason": error.message}
