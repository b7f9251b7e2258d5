"""The procedure's clocks per capture against the service standards (mutu baku, M65), and what stands still (M23).

Units time their own steps; what the centre does is read from the record's history. Pure but for the queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.lifecycle import RecordState
from contract.packet import PacketKind, StepClock
from hub import history
from hub.config import DeadlinesSection
from hub.schema.tables import ClockStep, Record, RecordHistory

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
_R = RecordState


@dataclass(frozen=True, slots=True)
class DeskStandard:
    """A line of the standards that people at a unit can keep: the time of these steps of one kind of report."""

    name: str
    label_id: str
    kind: PacketKind
    steps: frozenset[str]
    limit_ms: int


@dataclass(frozen=True, slots=True)
class CentreStandard:
    """A line of the standards between two states: from the first entry into `start` to the first into `end`."""

    name: str
    label_id: str
    start: RecordState
    end: RecordState
    limit_ms: int


DESK_STANDARDS = (
    DeskStandard("papers", "Pemeriksaan berkas", PacketKind.ENROLMENT, frozenset({"biodata"}), 2 * MINUTE_MS),
    DeskStandard(
        "capture to sent",
        "Perekaman sampai terkirim",
        PacketKind.ENROLMENT,
        frozenset(
            {"photo", "signature", "fingers", "irises", "search", "verify", "attest", "sign_off", "seal"}
            | {"exception_photo", "second_officer"}
        ),
        4 * MINUTE_MS,
    ),
    DeskStandard(
        "encode and print",
        "Encode dan cetak",
        PacketKind.PERSONALISATION,
        frozenset({"encode", "preview", "printing", "turn"}),
        4 * MINUTE_MS,
    ),
    DeskStandard(
        "verification", "Verifikasi", PacketKind.HANDOVER, frozenset({"card", "data", "verify"}), 2 * MINUTE_MS
    ),
    DeskStandard(
        "archive and handover",
        "Arsip dan penyerahan",
        PacketKind.HANDOVER,
        frozenset({"old_card", "receipt", "result_berhasil", "result_gagal"}),
        1 * MINUTE_MS,
    ),
)
CENTRE_STANDARDS = (
    CentreStandard(
        "1:N and notice", "Pencarian 1:N dan pemberitahuan", _R.RECEIVED_AT_CENTRAL, _R.PRINT_READY_RECORD, 24 * HOUR_MS
    ),
    CentreStandard("the whole", "Seluruhnya", _R.BIO_CAPTURED, _R.CARD_ISSUED, 24 * HOUR_MS),
)


@dataclass(frozen=True, slots=True)
class Lap:
    """A clock as measured. name, label_id: of the standard, or a step that no standard names (limit_ms 0 then)."""

    name: str
    label_id: str
    duration_ms: int
    limit_ms: int

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


def keep(session: Session, source: str, kind: PacketKind, capture_id: str, steps: Sequence[StepClock]) -> None:
    """Keep a report's timed steps; the same report twice changes nothing."""
    for step in steps:
        session.merge(
            ClockStep(
                source=source,
                step=step.step,
                started_ms=step.started_ms,
                ended_ms=step.ended_ms,
                kind=kind,
                capture_id=capture_id,
            )
        )
    session.flush()


def laps_of(session: Session, capture_id: str) -> list[Lap]:
    """A capture's clocks in the procedure's order: desk lines, centre lines, then steps that no line names."""
    rows = list(
        session.scalars(select(ClockStep).where(ClockStep.capture_id == capture_id).order_by(ClockStep.started_ms))
    )
    laps, named = [], set()
    for line in DESK_STANDARDS:
        found = [row for row in rows if row.kind == line.kind and row.step in line.steps]
        named.update(found)
        if found:
            laps.append(Lap(line.name, line.label_id, sum(_duration_ms(row) for row in found), line.limit_ms))
    first: dict[str, int] = {}
    for link in history.way_of(session, RecordHistory, capture_id):
        first.setdefault(link.to_state, link.at_ms)
    # The hub hears of a capture when it arrives; the unit's own first step says when it began.
    if rows and _R.BIO_CAPTURED in first:
        first[_R.BIO_CAPTURED] = min(first[_R.BIO_CAPTURED], rows[0].started_ms)
    for span in CENTRE_STANDARDS:
        if span.start in first and span.end in first:
            took_ms = max(0, first[span.end] - first[span.start])
            laps.append(Lap(span.name, span.label_id, took_ms, span.limit_ms))
    return laps + [Lap(f"{row.kind}: {row.step}", "", _duration_ms(row), 0) for row in rows if row not in named]


def _duration_ms(row: ClockStep) -> int:
    return max(0, row.ended_ms - row.started_ms)


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
