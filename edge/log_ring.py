"""The unit's own log, for whoever looks for a fault later: the newest lines, sealed at rest, in bounded room.

A processor of structlog copies each line into a short queue, and a task of the agent writes the queue into slots of a
sealed store, a warning at once and the rest every few seconds; the oldest slot is overwritten. The log never holds
values of variables. What could still be a NIK, a key or a picture is struck out here as well: a line leaves the unit.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import deque
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

import structlog
from pydantic import Field

from contract.clock import Clock
from contract.dispatch import decode, encode
from contract.errors import DeviceError, RekamError
from contract.packet import Model
from contract.unit_command import LINE_FIELDS_CHARACTERS_MAX, LINES_MAX, Level, LogLine, LogPage, LogsAsk
from edge.sealed_store import SealedStore

LINES_PER_SLOT, SLOTS = 64, 128
QUEUE_MAX = 1000
WRITE_EVERY_S = 3.0
PAGE_BYTES_MAX, LINE_OVERHEAD_BYTES = 200 * 1024, 100
FILE, KIND = "log.db", "log"
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error", "critical")
GRAVE = frozenset(LEVELS[2:])
EVENT_CHARACTERS_MAX = 120
TOKEN_CHARACTERS_SHOWN = 8
STRUCK = "…"
_SECRETS = (
    re.compile(r"\d{16}"),  # a NIK, wherever it stands
    re.compile(r"-----BEGIN.*", re.DOTALL),
    re.compile(r"(?<=://)[^/@\s]*@"),
)
_LONG_TOKEN = re.compile(r"[\w+/-]{41,}")  # ids and serial numbers are shorter
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # would command a terminal
_HEX = re.compile(r"[0-9A-Fa-f]+")
_OWN = frozenset({"event", "level", "timestamp"})
log = structlog.get_logger("edge.log_ring")


class Slot(Model):
    """One slot of the ring. number: which filling of it this is, over the unit's life."""

    number: int
    lines: tuple[LogLine, ...] = Field(max_length=LINES_PER_SLOT)


class LogRing:
    """Lines wait in memory until `open` gives them a store; then `run` writes them. Thread-safe where lines come in."""

    def __init__(self, clock: Clock, *, slots: int = SLOTS) -> None:
        self._clock = clock
        self._slots = slots
        self._waiting: deque[tuple[int, Level, str, str]] = deque(maxlen=QUEUE_MAX)
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._store: SealedStore | None = None
        self._newest = Slot(number=0, lines=())
        self._dropped = 0
        self._grave: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def __call__(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A processor of structlog that keeps a copy of each line; it never raises, blocks or logs."""
        level = event.get("level")
        kept: Level = level if level in LEVELS else "info"
        fields = " ".join(f"{name}={_plain(value)}" for name, value in event.items() if name not in _OWN)
        line = (self._clock.wall_ms(), kept, _shown(str(event.get("event", "")), EVENT_CHARACTERS_MAX), fields)
        with self._lock:
            self._dropped += len(self._waiting) == QUEUE_MAX
            self._waiting.append((*line[:3], _shown(fields, LINE_FIELDS_CHARACTERS_MAX)))
        if kept in GRAVE and self._grave is not None:
            loop, wake = self._grave
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(wake.set)
        return event

    def open(self, folder: Path, key: bytes) -> None:
        """Take up the ring of earlier starts. A file that cannot be read is begun anew. Raises DeviceError."""
        path = folder / FILE
        try:
            store = SealedStore(path, key)
            self._newest = max(_filled(store), key=lambda slot: slot.number, default=self._newest)
        except RekamError as error:
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            store = SealedStore(path, key)
            log.warning("the log was begun anew", **error.diagnostics())
        self._store = store

    async def run(self) -> None:
        """Write what comes, until cancelled; then once more. A disk that fails costs the log, not the unit."""
        wake = asyncio.Event()
        self._grave = (asyncio.get_running_loop(), wake)
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(WRITE_EVERY_S):
                        await wake.wait()
                wake.clear()
                await asyncio.to_thread(self.write)
        finally:
            self._grave = None
            self.write()

    def write(self) -> None:
        """Put what waits into the ring."""
        with self._turn:
            if self._store is None:
                return
            with self._lock:
                waiting = list(self._waiting)
                self._waiting.clear()
            try:
                self._put(self._store, waiting)
            except RekamError:
                with self._lock:
                    self._dropped += len(waiting)

    def _put(self, store: SealedStore, waiting: list[tuple[int, Level, str, str]]) -> None:
        while waiting:
            slot = self._newest
            if len(slot.lines) == LINES_PER_SLOT or not slot.number:
                slot = Slot(number=slot.number + 1, lines=())
            room = LINES_PER_SLOT - len(slot.lines)
            first = (slot.number - 1) * LINES_PER_SLOT + len(slot.lines) + 1
            fresh = tuple(
                LogLine(sequence=first + place, at_ms=at_ms, level=level, event=event, fields=fields)
                for place, (at_ms, level, event, fields) in enumerate(waiting[:room])
            )
            slot = Slot(number=slot.number, lines=(*slot.lines, *fresh))
            store.put(KIND, str(slot.number % self._slots), encode(slot))
            self._newest, waiting = slot, waiting[room:]

    def page(self, ask: LogsAsk) -> LogPage:
        """A page of the lines so far. Raises RekamError."""
        self.write()
        if self._store is None:
            raise DeviceError("The log is not open.", next_step="Ask again when the unit has started.")
        return read_page(self._store, ask, self._clock.wall_ms(), self._dropped)

    def close(self) -> None:
        """Write what waits and close the file."""
        self.write()
        store, self._store = self._store, None
        if store is not None:
            store.close()


def read_page(store: SealedStore, ask: LogsAsk, now_ms: int, dropped: int = 0) -> LogPage:
    """The lines that are asked for, the oldest first; at most LINES_MAX. Raises RekamError."""
    since_ms = now_ms - ask.since_s * 1000 if ask.since_s else 0
    wanted = LEVELS.index(ask.level)
    held = [line for slot in sorted(_filled(store), key=lambda slot: slot.number) for line in slot.lines]
    found = [
        line
        for line in held
        if line.sequence > ask.after and line.at_ms >= since_ms and LEVELS.index(line.level) >= wanted
    ]
    lines = _that_fit(found[:LINES_MAX])
    more = len(lines) < len(found)
    return LogPage(
        lines=lines,
        looked_to=lines[-1].sequence if more else max(held[-1].sequence if held else 0, ask.after),
        more=more,
        oldest=held[0].sequence if held else 0,
        dropped=dropped,
        unit_ms=now_ms,
    )


def _that_fit(lines: list[LogLine]) -> tuple[LogLine, ...]:
    """The first lines, as many as one message takes."""
    ends = accumulate(LINE_OVERHEAD_BYTES + len(f"{line.event}{line.fields}".encode()) for line in lines)
    return tuple(line for line, end in zip(lines, ends, strict=True) if end <= PAGE_BYTES_MAX)


def _filled(store: SealedStore) -> Iterator[Slot]:
    for _, encoded in store.items(KIND):
        yield decode(Slot, encoded)


def _plain(value: object) -> str:
    """A value as it may stand in a line: texts and numbers; of anything else, what it is."""
    if isinstance(value, str | int | float | bool) or value is None:
        return str(value).replace("\n", " | ")
    return f"({type(value).__name__})"


def _shown(text: str, characters_max: int) -> str:
    """A text without what looks like a number of a person, a key or a picture; its end where it is too long."""
    text = _UNSEEN.sub("\ufffd", text)
    for secret in _SECRETS:
        text = secret.sub(STRUCK, text)
    text = _LONG_TOKEN.sub(_without_keys, text)
    return text if len(text) <= characters_max else STRUCK + text[1 - characters_max :]


def _without_keys(found: re.Match[str]) -> str:
    """A long token without its tail where it is hexadecimal or base64: a key, a template, a picture; a path stays."""
    token = found[0]
    kinds = [any(test(character) for character in token) for test in (str.isupper, str.islower, str.isdigit)]
    return token[:TOKEN_CHARACTERS_SHOWN] + STRUCK if all(kinds) or _HEX.fullmatch(token) else token
