"""The site's own 1:N (M15): templates of every capture of this site, sealed at rest, shared between its units.

A capture of this unit enters in the same write as its claim, is searched at once, and is published to the site until
the broker has echoed it back; the other units' captures and the hub's tombstones arrive the same way (M23). What is
searched lies in the comparison worker's memory; what lasts lies in the sealed store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

import structlog

from contract.dispatch import GalleryEntry, decode, encode
from edge.register import Register
from edge.sealed_store import Change, SealedStore

KIND = "gallery"
ENTRY_BYTES_MAX = 256 * 1024
LOAD_BATCH = 500
_OWN, _SHARED = b"\x01", b"\x00"

log = structlog.get_logger("edge.site_gallery")


class SearchMemory(Protocol):
    """The worker's searchable gallery."""

    @property
    def stamp(self) -> str:
        """Who makes the templates of this unit."""
        ...

    async def remember(self, entries: Mapping[str, Mapping[int, bytes]]) -> None:
        """Put captures into it."""
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
        """Give everything at rest to the worker; how many captures there are."""
        entries = await asyncio.to_thread(self._stored)
        searchable = {entry.capture_id: entry.templates for entry in entries if self._is_ours(entry)}
        captures = list(searchable)
        for start in range(0, len(captures), LOAD_BATCH):
            await self._memory.remember({name: searchable[name] for name in captures[start : start + LOAD_BATCH]})
        return len(captures)

    def own_change(self, entry: GalleryEntry) -> Change:
        """The write that keeps a capture of this unit, to be joined with its claim's."""
        return Change(KIND, entry.capture_id, _OWN + encode(entry))

    async def add_own(self, entry: GalleryEntry) -> None:
        """A capture of this unit has been kept: search it from now on, and share it."""
        self._unshared[entry.capture_id] = entry
        await self._memory.remember({entry.capture_id: entry.templates})

    def unshared(self) -> list[GalleryEntry]:
        """Captures of this unit that the site has not been seen to hold."""
        return list(self._unshared.values())

    async def take(self, entry: GalleryEntry) -> None:
        """What the site says of a capture: keep it, or forget it where it is a tombstone."""
        if entry.tombstone:
            await self.remove(entry.capture_id)
            return
        self._unshared.pop(entry.capture_id, None)
        await asyncio.to_thread(self._store.put, KIND, entry.capture_id, _SHARED + encode(entry))
        if self._is_ours(entry):
            await self._memory.remember({entry.capture_id: entry.templates})
        else:
            log.warning("templates of another extractor are kept, not searched", extractor=entry.extractor)

    async def remove(self, capture_id: str) -> None:
        """The NIK was freed: nothing of the capture refuses anybody any more (M23)."""
        self._unshared.pop(capture_id, None)
        await asyncio.to_thread(self._store.remove, KIND, capture_id)
        await asyncio.to_thread(self._register.drop_capture, capture_id)
        await self._memory.forget(capture_id)

    def _is_ours(self, entry: GalleryEntry) -> bool:
        return entry.extractor == self._memory.stamp

    def _stored(self) -> list[GalleryEntry]:
        entries = []
        for name, value in self._store.items(KIND):
            entry = decode(GalleryEntry, value[1:], ENTRY_BYTES_MAX)
            entries.append(entry)
            if value[:1] == _OWN:
                self._unshared[name] = entry
        return entries
