"""The procedure's clocks per capture against the service standards (mutu baku, M65), and what stands still (M23).

Units time their own steps; what the centre does is read from the record's history. Pure but for the queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.lifecycle import RecordState
from contract.packet import StepClock
from hub import history
from hub.config import DeadlinesSection
from hub.schema.tables import ClockStep, Record, RecordHistory

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
_R = RecordState


@dataclass(frozen=True, slots=True)
class Standard:
    """One line of the standards: from the first entry into one of `start` to the first into `end`."""

    name: str
    label_id: str
    start: RecordState
    end: RecordState
    limit_ms: int


STANDARDS = (
    Standard(
        "search-and-notice",
        "Pencarian 1:N dan pemberitahuan",
        _R.RECEIVED_AT_CENTRAL,
        _R.PRINT_READY_RECORD,
        24 * HOUR_MS,
    ),
    Standard("print", "Pencetakan kartu", _R.CARD_SHIPPED, _R.CARD_PRINTED, 24 * HOUR_MS),
    Standard("whole", "Seluruhnya", _R.BIO_CAPTURED, _R.CARD_ISSUED, 24 * HOUR_MS),
)
STEP_LIMITS_MS = {
    "papers": 2 * MINUTE_MS,
    "capture": 4 * MINUTE_MS,
    "encode": 4 * MINUTE_MS,
    "print": 4 * MINUTE_MS,
    "verify": 2 * MINUTE_MS,
    "handover": 1 * MINUTE_MS,
}


@dataclass(frozen=True, slots=True)
class Lap:
    """A measured clock. limit_ms: 0 where the standards name none."""

    name: str
    started_ms: int
    ended_ms: int
    limit_ms: int

    @property
    def duration_ms(self) -> int:
        """How long it took."""
        return max(0, self.ended_ms - self.started_ms)

    @property
    def within(self) -> bool:
        """Whether the standard was kept."""
        return not self.limit_ms or self.duration_ms <= self.limit_ms


@dataclass(frozen=True, slots=True)
class Stall:
    """A record that sits still longer than its state allows."""

    capture_id: str
    state: RecordState
    waited_ms: int
    limit_ms: int


def keep(session: Session, source: str, capture_id: str, steps: Sequence[StepClock]) -> None:
    """Keep a report's timed steps; the same report twice changes nothing."""
    for step in steps:
        session.merge(
            ClockStep(
                source=source,
                step=step.step,
                started_ms=step.started_ms,
                ended_ms=step.ended_ms,
                capture_id=capture_id,
            )
        )
    session.flush()


def laps_of(session: Session, capture_id: str) -> list[Lap]:
    """A capture's clocks: the units' steps in order, then the centre's lines that have both ends."""
    query = select(ClockStep).where(ClockStep.capture_id == capture_id).order_by(ClockStep.started_ms)
    laps = [
        Lap(row.step, row.started_ms, row.ended_ms, STEP_LIMITS_MS.get(row.step, 0)) for row in session.scalars(query)
    ]
    first: dict[str, int] = {}
    for link in history.way_of(session, RecordHistory, capture_id):
        first.setdefault(link.to_state, link.at_ms)
    if laps and _R.BIO_CAPTURED in first:
        first[_R.BIO_CAPTURED] = min(first[_R.BIO_CAPTURED], laps[0].started_ms)
    laps += [
        Lap(line.name, first[line.start], first[line.end], line.limit_ms)
        for line in STANDARDS
        if line.start in first and line.end in first
    ]
    return laps


def stalls(session: Session, deadlines: DeadlinesSection, now_ms: int) -> list[Stall]:
    """Records that wait longer than their state allows, the longest first."""
    limits = limits_ms(deadlines)
    query = select(Record).where(Record.state.in_([str(state) for state in limits]))
    found = [
        Stall(record.capture_id, state, now_ms - record.changed_ms, limits[state])
        for record in session.scalars(query)
        if now_ms - record.changed_ms > limits[state := RecordState(record.state)]
    ]
    return sorted(found, key=lambda stall: -stall.waited_ms)


def limits_ms(deadlines: DeadlinesSection) -> dict[RecordState, int]:
    """How long a record may stay in each state where somebody or something has to act."""
    hours = {
        _R.RECEIVED_AT_CENTRAL: deadlines.checks_h,
        _R.ENROLL_FAILURE_AT_CENTRAL: deadlines.adjudication_h,
        _R.ENROLL_FAILURE_AT_REGIONAL: deadlines.adjudication_h,
        _R.SENT_FOR_DEDUP: deadlines.search_h,
        _R.SEARCH_FAILURE_AT_CENTRAL: deadlines.search_h,
        _R.ADJUDICATE_RECORD: deadlines.adjudication_h,
        _R.ADJUDICATE_IN_PROCESS: deadlines.adjudication_h,
        _R.REQUEST_VALIDATION: deadlines.adjudication_h,
        _R.PRINT_READY_RECORD: deadlines.printing_h,
        _R.SENT_FOR_CARD_PRINTING: deadlines.printing_h,
        _R.CARD_SHIPPED: deadlines.printing_h,
        _R.CARD_PRINTED: deadlines.handover_h,
    }
    return {state: int(limit * HOUR_MS) for state, limit in hours.items()}
