"""The only writer of record states. A record is a capture; a NIK points to the one that stands (M13, M14, M22).

Every change goes through `contract.lifecycle.advance` *and* through the guards below, which look at what a table of
states cannot see: which capture stands, whether two persons agreed, whether the record ever passed PRINT_READY_RECORD.
Each change appends to the record's history in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from contract import lifecycle
from contract.clock import Clock
from contract.errors import RemoteError
from contract.lifecycle import IllegalTransition, RecordEvent, RecordState
from hub import history, verdicts
from hub.history import Note
from hub.schema.tables import Case, Proposal, Record, RecordHistory, Resident

Advance = Callable[[RecordState, RecordEvent], RecordState]
Guard = Callable[[Session, Record, RecordEvent], None]
HUB = "hub"
DELETION, LOSS = "deletion", "loss"
# In the note of CHECKS_PASSED: the sign-off verifies, and its officer was revoked since; a person has to look.
SIGN_OFF, REVOKED = "sign-off", "revoked"
# In the same note: what of the biodata the operator found the portrait not to fit (M29).
PORTRAIT = "portrait"
# In the same note: right and left eye looked swapped, and the operator said that they are not.
IRISES, NOT_SWAPPED = "irises", "looked swapped; the operator says that they are not"

_PRINT_EVENTS = (RecordEvent.PRINT_DATA_SENT, RecordEvent.CARD_RELEASED, RecordEvent.HANDED_OVER)
_JUDGED = (RecordEvent.JUDGED_DIFFERENT, RecordEvent.JUDGED_FIRST)
_TO_PRINT_READY = (RecordEvent.NO_CANDIDATE, *_JUDGED, RecordEvent.REGION_SAYS_RIGHT)
_AUTHORISED = {RecordEvent.DELETION_AUTHORISED: DELETION, RecordEvent.LOSS_DECLARED: LOSS}
_CLAIMS = (
    *(RecordEvent.CAPTURE_COMPLETED, RecordEvent.PACKET_RECEIVED, RecordEvent.REPROCESSED, RecordEvent.SEARCH_RETRIED),
    *(RecordEvent.REGION_SAYS_SEARCH, RecordEvent.REGION_SAYS_ADJUDICATE),
)
ON_THE_WAY = (RecordEvent.CAPTURE_COMPLETED, RecordEvent.PACKET_QUEUED, RecordEvent.PACKET_SENT)


@dataclass(frozen=True, slots=True)
class Moved:
    """One transition that was made."""

    record: Record
    event: RecordEvent
    before: RecordState
    after: RecordState


Observer = Callable[[Session, Moved], None]


class Records:
    """Moves records. Observers run in the same transaction; `advance` is the table's function, `guard` refuses."""

    def __init__(self, clock: Clock, advance: Advance = lifecycle.advance, guard: Guard | None = None) -> None:
        self._clock = clock
        self._advance = advance
        self._guard = guard or guard_record
        self._observers: list[Observer] = []

    def observe(self, observer: Observer) -> None:
        """Call `observer` after each transition, within its transaction."""
        self._observers.append(observer)

    def add(self, session: Session, record: Record) -> None:
        """Enter a capture that the hub has never seen, in the state every record starts in."""
        if session.get(Record, record.capture_id) is not None:
            raise RemoteError("This capture is known already.", next_step="Move the record that is there.")
        record.state = RecordState.UNREGISTERED
        record.changed_ms = self._clock.wall_ms()
        session.add(record)
        session.flush()

    def move(
        self, session: Session, record: Record, event: RecordEvent, actor: str = HUB, note: Note | None = None
    ) -> RecordState:
        """Advance a record. Raises IllegalTransition where table or guard refuses; nothing is changed then."""
        before = RecordState(record.state)
        after = self._advance(before, event)
        self._guard(session, record, event)
        now = self._clock.wall_ms()
        history.append(
            session,
            RecordHistory,
            subject=record.capture_id,
            event=event,
            from_state=before,
            to_state=after,
            at_ms=now,
            actor=actor,
            note=note or {},
        )
        record.state, record.changed_ms = after, now
        self._keep_pointer(session, record, event, after)
        for observer in self._observers:
            observer(session, Moved(record, event, before, after))
        return after

    def arrive(self, session: Session, record: Record, actor: str) -> None:
        """What a received packet proves of its capture: completed, queued, sent, received (M22's first rows)."""
        steps = {RecordState.UNREGISTERED: 0, RecordState.BIO_CAPTURED: 1, RecordState.PROCESSING: 2}
        for event in ON_THE_WAY[steps.get(RecordState(record.state), len(ON_THE_WAY)) :]:
            self.move(session, record, event, actor)
        self.move(session, record, RecordEvent.PACKET_RECEIVED, note={"pid": record.pid})

    def stands(self, session: Session, record: Record) -> bool:
        """Whether this capture is the one that its NIK points to."""
        return stands(session, record)

    def yield_place(self, session: Session, record: Record, successor: Record) -> None:
        """Let `successor` stand for its NIK in place of `record`, after a verdict on which of them came first."""
        resident = session.get(Resident, record.nik_digest, with_for_update=True)
        if resident is None or record.nik_digest != successor.nik_digest or resident.standing != record.capture_id:
            raise RemoteError("Only the standing capture of a NIK can yield to another of the same NIK.")
        resident.standing = successor.capture_id
        session.flush()

    def _keep_pointer(self, session: Session, record: Record, event: RecordEvent, after: RecordState) -> None:
        """Point the NIK to a capture that arrives first, and free the NIK on an authorised deletion or loss.

        A NIK that nobody stands for when a capture goes on its way again (it was not registered yet when the capture
        first arrived, or the capture that stood was deleted since) is that capture's from then on.
        """
        if event not in _CLAIMS and event not in _AUTHORISED:
            return
        resident = session.get(Resident, record.nik_digest, with_for_update=True)
        if resident is None:
            return
        if event in _CLAIMS and resident.standing is None:
            resident.standing = record.capture_id
        if after is RecordState.UNREGISTERED and event in _AUTHORISED and resident.standing == record.capture_id:
            resident.standing = None


def guard_record(session: Session, record: Record, event: RecordEvent) -> None:
    """What a table of states cannot see. Raises IllegalTransition."""
    if event in _TO_PRINT_READY or event in _PRINT_EVENTS:
        if not stands(session, record):
            raise _refused(record, event, "another capture stands for this NIK, or none may (M14)")
        if _open_cases(session, record):
            raise _refused(record, event, "adjudicators have not decided yet (M26)")
        if verdicts.barred_by(session, record):
            raise _refused(record, event, "it was judged a later capture of the same person (M27)")
    if event in _PRINT_EVENTS and not _cleared(session, record):
        raise _refused(record, event, "the record did not pass PRINT_READY_RECORD (M32)")
    if event in _AUTHORISED and not _two_persons(session, record, _AUTHORISED[event]):
        raise _refused(record, event, "two persons have to agree first (M23)")


def stands(session: Session, record: Record) -> bool:
    """Whether this capture is the one that its NIK points to."""
    resident = session.get(Resident, record.nik_digest)
    return resident is not None and resident.standing == record.capture_id


def is_printable(session: Session, record: Record) -> bool:
    """Whether print data of this capture may go to a station now (M32): on its way there, standing, and clear."""
    on_the_way = record.state in (RecordState.PRINT_READY_RECORD, RecordState.SENT_FOR_CARD_PRINTING)
    is_clear = on_the_way and _cleared(session, record) and not _open_cases(session, record)
    return is_clear and stands(session, record) and not verdicts.barred_by(session, record)


def standing_record(session: Session, nik_digest: str) -> Record | None:
    """The capture that stands for a NIK, if any."""
    resident = session.get(Resident, nik_digest)
    return session.get(Record, resident.standing) if resident is not None and resident.standing else None


def status_of(session: Session, resident: Resident) -> RecordState:
    """The status of a NIK: its standing capture's state, or UNREGISTERED."""
    record = session.get(Record, resident.standing) if resident.standing else None
    return RecordState(record.state) if record is not None else RecordState.UNREGISTERED


def known(session: Session, capture_id: str) -> Record:
    """The record of a capture. Raises RemoteError for one that the hub does not know."""
    record = session.get(Record, capture_id, with_for_update=True)
    if record is None:
        raise RemoteError("No capture has this id here.", next_step="Check the id; look whether its packet is held.")
    return record


def _open_cases(session: Session, record: Record) -> bool:
    query = select(func.count()).where(Case.capture_id == record.capture_id, Case.decided_ms.is_(None))
    return bool(session.scalar(query))


def _cleared(session: Session, record: Record) -> bool:
    """Whether PRINT_READY_RECORD was reached after the last time that the record went before adjudicators."""
    links = history.way_of(session, RecordHistory, record.capture_id)
    last = {link.to_state: link.sequence for link in links}
    return last.get(RecordState.PRINT_READY_RECORD, 0) > last.get(RecordState.ADJUDICATE_RECORD, 0)


def _two_persons(session: Session, record: Record, action: str) -> bool:
    query = select(Proposal).where(
        Proposal.subject == record.capture_id, Proposal.action == action, Proposal.confirmed.is_(True)
    )
    return any(
        proposal.decided_by is not None and proposal.decided_by != proposal.proposed_by
        for proposal in session.scalars(query)
    )


def _refused(record: Record, event: RecordEvent, why: str) -> IllegalTransition:
    return IllegalTransition(
        f"'{event}' is refused for capture {record.capture_id}: {why}.",
        next_step="Nothing was changed. Look at the record's page for what it waits for.",
    )
