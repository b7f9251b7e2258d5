"""The diary (buku harian, M10): every application and every step at this unit, who and when; sealed at rest.

It says what was done, never what was captured: no sample, no picture, no score.
"""

from __future__ import annotations

import itertools
from typing import Annotated

from pydantic import Field

from contract.clock import Clock
from contract.dispatch import decode, encode
from contract.packet import Millis, Model, Name
from edge.sealed_store import SealedStore

KIND = "diary"
ENTRY_BYTES_MAX = 4096


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
        return [decode(DiaryEntry, value, ENTRY_BYTES_MAX) for _, value in lines[:limit]]
