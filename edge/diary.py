"""The diary (buku harian, M10): every application and every step at this unit, who and when; sealed at rest.

It says what was done, never what was captured: no sample, no picture, no score.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from typing import Annotated

import structlog
from pydantic import Field

from contract.clock import Clock
from contract.dispatch import decode_kept, encode
from contract.errors import RekamError
from contract.packet import Millis, Model, Name
from edge.sealed_store import SealedStore

KIND = "diary"
ENTRY_BYTES_MAX = 4096
BOX_LINES_MAX, HOUR_MS = 120, 3_600_000  # lines of the box in any hour

log = structlog.get_logger("edge.diary")


class DiaryEntry(Model):
    """One line. work: enrolment or handover; step: the step that was reached, or the code of a refusal."""

    at_ms: Millis
    work: Name
    step: Name
    nik: Annotated[str, Field(max_length=16)]
    operator: Annotated[str, Field(max_length=64)]
    session_id: Annotated[str, Field(max_length=36)] = ""


class Diary:
    """Lines in the order of writing. Blocks on the disk: call it off the event loop."""

    def __init__(self, store: SealedStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._numbers = itertools.count(1 + max((int(name) for name, _ in store.items(KIND)), default=0))

    def note(self, work: str, step: str, nik: str, operator: str, session_id: str = "") -> None:
        """Write a line, durably."""
        entry = DiaryEntry(
            at_ms=self._clock.wall_ms(), work=work, step=step, nik=nik, operator=operator, session_id=session_id
        )
        self._store.put(KIND, str(next(self._numbers)), encode(entry))

    def latest(self, limit: int) -> list[DiaryEntry]:
        """The newest lines, newest first."""
        lines = sorted(((int(name), value) for name, value in self._store.items(KIND)), reverse=True)
        return [decode_kept(DiaryEntry, value, ENTRY_BYTES_MAX) for _, value in lines[:limit]]


class BoxLines:
    """How often the box may write: a contact that chatters does not fill the disk."""

    def __init__(self) -> None:
        self._times_ms: deque[int] = deque(maxlen=BOX_LINES_MAX)

    def may_write(self, now_ms: int) -> bool:
        """Whether a line may be written now; it then counts."""
        if len(self._times_ms) == BOX_LINES_MAX and now_ms - self._times_ms[0] < HOUR_MS:
            return False
        self._times_ms.append(now_ms)
        return True


class DiaryPen:
    """Writes lines beside the event loop, in their order; a line that cannot be written stops nobody."""

    def __init__(self) -> None:
        self._writing: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    def write(self, diary: Diary, *fields: str) -> None:
        """Begin to write a line."""
        task = asyncio.create_task(self._write(diary, *fields))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def finish(self) -> None:
        """Wait until everything is written."""
        await asyncio.gather(*self._writing, return_exceptions=True)

    async def _write(self, diary: Diary, *fields: str) -> None:
        try:
            async with self._turn:
                await asyncio.to_thread(diary.note, *fields)
        except RekamError as error:
            log.warning("diary line not written", **error.diagnostics())
