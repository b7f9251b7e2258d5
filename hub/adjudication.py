"""Cases: two adjudicators who do not see each other's decision, a third when they differ (M26), and what follows.

The first capture of a person stands and the later one is never printable (M27); which was first is read from the
bounds of hub.capture_order, and only where these overlap from the adjudicators themselves (M28). An appeal goes to
adjudicators who have not judged this capture before.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.errors import RemoteError
from contract.lifecycle import RecordEvent, RecordState, is_allowed
from contract.sample import Modality
from hub import clearings, history, register, verdicts
from hub.capture_order import Order, order_of
from hub.context import HubContext
from hub.fleet import Role
from hub.records import HUB, Moved, Records, known
from hub.schema.tables import Case, CaseCandidate, CaseDecision, Record, RecordHistory
from hub.search.fusion import PersonMatch
from hub.verdicts import Verdict

DECISIONS_NEEDED = 2
DECISIONS_MAX = 3
HANDOVERS_FAILED_MAX = 3
REASON_CHARACTERS_MAX = 1000


class Cause(StrEnum):
    """Why a capture went before adjudicators."""

    SIMILAR = "similar"
    UNSEARCHABLE = "no finger or eye to search by"
    NIK_CAPTURED = "NIK captured before"
    TURNED_UP = "turned up after a deletion or a declaration of loss"
    OFFICER_REVOKED = "signed off by an operator who was revoked"
    REFUSAL_APPEALED = "refusal appealed"
    APPEALED = "verdict appealed"
    EARLIER_ARRIVED = "an earlier capture arrived"
    REGION_ASKS = "the region asks"
    HANDOVER_FAILED = "the holder was turned away again and again"


@dataclass(frozen=True, slots=True)
class Opinion:
    """One decision. same_as: the candidate it names; first: whose capture came first, where only a person can tell."""

    verdict: Verdict
    same_as: str | None = None
    first: str | None = None


Recall = Callable[[Session, Record, str], None]


class Adjudication:
    """Opens, claims and decides cases. Every method runs in the caller's transaction.

    recall: takes back the card of a record that lost its place (hub.ledger).
    """

    def __init__(self, context: HubContext, records: Records, recall: Recall) -> None:
        self._context = context
        self._records = records
        self._recall = recall
        records.observe(self._watch_handovers)

    def open(self, session: Session, capture_id: str, cause: Cause, matches: Sequence[PersonMatch]) -> Case:
        """Open a case for a record in ADJUDICATE_RECORD, or for a refusal that was appealed and has no record."""
        case = Case(
            id=self._context.new_id(),
            capture_id=capture_id,
            cause=cause,
            opened_ms=self._context.clock.wall_ms(),
        )
        session.add(case)
        session.flush()
        for match in matches:
            _add_candidate(session, case, match)
        record = session.get(Record, capture_id)
        if record is not None:
            for winner in verdicts.barred_by(session, record):
                _add_candidate(session, case, _match_of_pair(session, capture_id, winner))
        return case

    def claim(self, session: Session, case_id: str, adjudicator: str) -> CaseDecision:
        """Take a seat in a case. Raises RemoteError where the adjudicator may not, or enough have taken theirs."""
        register.operator_with(session, adjudicator, Role.ADJUDICATOR)
        case = _open_case(session, case_id)
        record = session.get(Record, case.capture_id, with_for_update=True)
        seats = _decisions(session, case)
        mine = next((seat for seat in seats if seat.adjudicator == adjudicator), None)
        if mine is not None:
            return mine
        if adjudicator in _judges_before(session, case):
            raise RemoteError(
                "You have judged this capture before; an appeal needs fresh eyes.", next_step="Leave it to a colleague."
            )
        if len(self._taken(seats)) >= _seats_allowed(seats):
            raise RemoteError("This case has enough adjudicators.", next_step="Take another case.")
        if record is not None and record.state == RecordState.ADJUDICATE_RECORD:
            self._records.move(session, record, RecordEvent.CASE_CLAIMED, adjudicator, {"case": case.id})
        seat = CaseDecision(case_id=case.id, adjudicator=adjudicator, claimed_ms=self._context.clock.wall_ms())
        session.add(seat)
        session.flush()
        return seat

    def decide(self, session: Session, case_id: str, adjudicator: str, opinion: Opinion, reason: str) -> Case:
        """Enter a decision, for ever; with enough of them the case is decided and the record moves."""
        register.operator_with(session, adjudicator, Role.ADJUDICATOR)
        case = _open_case(session, case_id)
        seat = session.get(CaseDecision, (case_id, adjudicator), with_for_update=True)
        if seat is None or seat.decided_ms is not None:
            raise RemoteError("You have no open seat in this case.", next_step="Claim the case first; decide once.")
        if not reason.strip() or len(reason) > REASON_CHARACTERS_MAX:
            raise RemoteError("A decision needs a reason.", next_step="Write what you saw, in a sentence.")
        self._check_opinion(session, case, opinion)
        seat.verdict, seat.same_as, seat.first = opinion.verdict, opinion.same_as, opinion.first
        seat.reason, seat.decided_ms = reason.strip(), self._context.clock.wall_ms()
        session.flush()
        outcome = _agreed(_decisions(session, case))
        if outcome is not None:
            self._conclude(session, case, outcome)
        return case

    def appeal(self, session: Session, capture_id: str, operator: str) -> Case:
        """Open a DUPLICATE_RECORD's case again, for adjudicators who have not judged it."""
        record = known(session, capture_id)
        before = session.scalars(select(Case).where(Case.capture_id == capture_id).order_by(Case.opened_ms)).all()
        self._records.move(session, record, RecordEvent.APPEALED, operator)
        matches = _matches_of(session, before[-1]) if before else []
        return self.open(session, capture_id, Cause.APPEALED, matches)

    def region_answers(self, session: Session, capture_id: str, event: RecordEvent, operator: str) -> None:
        """The region's answer to REQUEST_VALIDATION (M29): search again, adjudicate, or the data are right."""
        if event not in (
            RecordEvent.REGION_SAYS_SEARCH,
            RecordEvent.REGION_SAYS_ADJUDICATE,
            RecordEvent.REGION_SAYS_RIGHT,
        ):
            raise RemoteError(f"'{event}' is no answer of a region.")
        record = known(session, capture_id)
        if event is not RecordEvent.REGION_SAYS_ADJUDICATE and verdicts.barred_by(session, record):
            raise RemoteError(
                "Adjudicators judged this a later capture of the same person (M27).",
                next_step="Only adjudicators can change that: answer 'adjudicate'.",
            )
        self._records.move(session, record, event, operator)
        if event is RecordEvent.REGION_SAYS_ADJUDICATE:
            before = session.scalars(select(Case).where(Case.capture_id == capture_id).order_by(Case.opened_ms)).all()
            self.open(session, capture_id, Cause.REGION_ASKS, _matches_of(session, before[-1]) if before else [])

    def _watch_handovers(self, session: Session, moved: Moved) -> None:
        """Repeated gagal of one record goes before adjudicators, on the stored samples (M48)."""
        if moved.event is not RecordEvent.HANDOVER_FAILED:
            return
        links = history.way_of(session, RecordHistory, moved.record.capture_id)
        failed = sum(link.event == RecordEvent.HANDOVER_FAILED for link in links)
        if failed % HANDOVERS_FAILED_MAX == 0:
            self.open(session, moved.record.capture_id, Cause.HANDOVER_FAILED, [])

    def _taken(self, seats: Sequence[CaseDecision]) -> list[CaseDecision]:
        """Seats that are decided, or whose holder may still decide."""
        since_ms = self._context.clock.wall_ms() - int(self._context.settings.deadlines.seat_h * 3_600_000)
        return [seat for seat in seats if seat.decided_ms is not None or seat.claimed_ms > since_ms]

    def _check_opinion(self, session: Session, case: Case, opinion: Opinion) -> None:
        if opinion.verdict is not Verdict.SAME:
            if opinion.same_as or opinion.first:
                raise RemoteError("Only 'same' names another capture.", next_step="Leave the other fields empty.")
            return
        if session.get(CaseCandidate, (case.id, opinion.same_as)) is None:
            raise RemoteError("The capture named is no candidate of this case.", next_step="Choose one that is shown.")
        is_refusal = session.get(Record, case.capture_id) is None
        is_open = not is_refusal and self.order_is_open(session, case.capture_id, opinion.same_as or "")
        if is_open != (opinion.first is not None):
            raise RemoteError(
                "Say which capture was first exactly where the bounds leave it open.",
                next_step="Look at the two captures' times.",
            )
        if opinion.first not in (None, case.capture_id, opinion.same_as):
            raise RemoteError("The capture named as first is neither of the two.", next_step="Choose one of the two.")

    def order_is_open(self, session: Session, capture_id: str, other_id: str) -> bool:
        """Whether the bounds of two captures overlap, so that a person has to say which was first."""
        one, other = known(session, capture_id), known(session, other_id)
        return order_of(verdicts.time_of(one), verdicts.time_of(other)) is Order.UNKNOWN

    def _conclude(self, session: Session, case: Case, outcome: Opinion) -> None:
        case.verdict, case.same_as, case.first = outcome.verdict, outcome.same_as, outcome.first
        case.decided_ms = self._context.clock.wall_ms()
        session.flush()
        record = session.get(Record, case.capture_id, with_for_update=True)
        if record is None:  # a refusal's appeal: there is no capture to move, the site is told the verdict (M15)
            if outcome.verdict is Verdict.DIFFERENT:
                clearings.clear_refused(session, self._context, case)
            return
        if case.cause == Cause.HANDOVER_FAILED:
            return  # the record stays as it is, with its capture: the verdict itself is the answer (M48)
        note = {"case": case.id}
        if outcome.verdict is Verdict.VALIDATION:
            self._records.move(session, record, RecordEvent.VALIDATION_ASKED, HUB, note)
        elif outcome.verdict is Verdict.DIFFERENT:
            # Two persons under one NIK: whoever does not stand for it cannot be printed; the region has to look.
            event = RecordEvent.JUDGED_DIFFERENT if self._printable(session, record) else RecordEvent.VALIDATION_ASKED
            self._records.move(session, record, event, HUB, note)
        else:
            self._conclude_same(session, case, record, known(session, outcome.same_as or ""), outcome)

    def _conclude_same(self, session: Session, case: Case, record: Record, other: Record, outcome: Opinion) -> None:
        """The first capture stands (M27); a later one that got ahead of it is called back (M28).

        Where the earlier one stands no more, and nothing else of the person does, the later one stands in its place:
        a deletion frees a person, it does not shut them out (M23). Of a deactivated one the region knows more.
        """
        note = {"case": case.id}
        if not verdicts.is_first(record, other, outcome.first):
            event = RecordEvent.JUDGED_SAME
            if not verdicts.person_stands(session, other.capture_id, record):
                is_free = other.state != RecordState.INACTIVE and self._printable(session, record)
                event = RecordEvent.JUDGED_FIRST if is_free else RecordEvent.VALIDATION_ASKED
            self._records.move(session, record, event, HUB, note)
            return
        if record.nik_digest == other.nik_digest and self._records.stands(session, other):
            self._records.yield_place(session, other, record)
        event = RecordEvent.JUDGED_FIRST if self._printable(session, record) else RecordEvent.VALIDATION_ASKED
        self._records.move(session, record, event, HUB, note)
        self._call_back(session, record, other, note)

    def _call_back(self, session: Session, record: Record, other: Record, note: dict[str, str]) -> None:
        """`other` came after `record`: its way to a card ends before adjudicators, wherever it had got to (M28)."""
        turned = _match_of_pair(session, other.capture_id, record.capture_id)
        if is_allowed(RecordState(other.state), RecordEvent.EARLIER_CAPTURE_ARRIVED):
            self._records.move(session, other, RecordEvent.EARLIER_CAPTURE_ARRIVED, HUB, note)
            self.open(session, other.capture_id, Cause.EARLIER_ARRIVED, [turned])
            self._recall(session, other, "an earlier capture stands")
            return
        query = select(Case).where(Case.capture_id == other.capture_id, Case.decided_ms.is_(None))
        for under_way in session.scalars(query).all():
            _add_candidate(session, under_way, turned)

    def _printable(self, session: Session, record: Record) -> bool:
        """Whether a verdict may lead this capture to PRINT_READY_RECORD: it stands, and no earlier one bars it."""
        return self._records.stands(session, record) and not verdicts.barred_by(session, record)


def _add_candidate(session: Session, case: Case, match: PersonMatch) -> None:
    """Show one more capture in a case, unless it is shown there already."""
    if session.get(CaseCandidate, (case.id, match.capture_id)) is None:
        detail = json.dumps(match.labelled)
        session.add(CaseCandidate(case_id=case.id, capture_id=match.capture_id, value=match.value, detail=detail))
        session.flush()


def _match_of_pair(session: Session, capture_id: str, other_id: str) -> PersonMatch:
    """How alike two captures were found, as the case that judged them shows it, with `other_id` as the candidate."""
    case = verdicts.verdicts_on(session, capture_id)[other_id]
    shown = other_id if case.capture_id == capture_id else capture_id
    match = next(match for match in _matches_of(session, case) if match.capture_id == shown)
    return PersonMatch(other_id, match.value, match.single)


def _open_case(session: Session, case_id: str) -> Case:
    case = session.get(Case, case_id, with_for_update=True)
    if case is None or case.decided_ms is not None:
        raise RemoteError("There is no such open case.", next_step="Reload the list of cases.")
    return case


def _decisions(session: Session, case: Case) -> list[CaseDecision]:
    query = select(CaseDecision).where(CaseDecision.case_id == case.id).order_by(CaseDecision.claimed_ms)
    return list(session.scalars(query))


def _judges_before(session: Session, case: Case) -> set[str]:
    query = (
        select(CaseDecision.adjudicator)
        .join(Case, Case.id == CaseDecision.case_id)
        .where(Case.capture_id == case.capture_id, Case.id != case.id)
    )
    return set(session.scalars(query))


def _seats_allowed(seats: Sequence[CaseDecision]) -> int:
    """Two seats; a third once two have decided and differ."""
    decided = [seat for seat in seats if seat.decided_ms is not None]
    return DECISIONS_MAX if len(decided) >= DECISIONS_NEEDED else DECISIONS_NEEDED


def _agreed(seats: Sequence[CaseDecision]) -> Opinion | None:
    """What at least two say; validation by the region where three say three things; None while it is open."""
    opinions = [
        Opinion(Verdict(seat.verdict), seat.same_as, seat.first) for seat in seats if seat.decided_ms is not None
    ]
    if len(opinions) < DECISIONS_NEEDED:
        return None
    opinion, votes = Counter(opinions).most_common(1)[0]
    if votes >= DECISIONS_NEEDED:
        return opinion
    return Opinion(Verdict.VALIDATION) if len(opinions) >= DECISIONS_MAX else None


def _matches_of(session: Session, case: Case) -> list[PersonMatch]:
    """A case's candidates as they were found, best first."""
    query = select(CaseCandidate).where(CaseCandidate.case_id == case.id).order_by(CaseCandidate.value.desc())
    return [PersonMatch(row.capture_id, row.value, single_of(row.detail)) for row in session.scalars(query)]


def single_of(detail: str) -> dict[tuple[Modality, int], float]:
    """The single scores of a candidate from its stored detail."""
    single: dict[tuple[Modality, int], float] = {}
    for label, value in json.loads(detail).items():
        kind, position = label.split(" ")
        single[Modality(kind), int(position)] = float(value)
    return single
