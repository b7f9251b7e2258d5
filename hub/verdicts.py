"""What adjudicators have said of two captures, and what follows for the later one: it is never printable (M27).

The newest verdict on a pair counts. A verdict "same person" makes one of the two the later capture, for as long as
anything of that person stands that did not itself come after it; it is undone only by a case about that very pair that
was opened afterwards. Where nothing of the person stands any more (the first capture was deleted by two persons, M23),
the later capture is free again: nobody is shut out for ever.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import or_, select, union
from sqlalchemy.orm import Session

from contract.lifecycle import RecordState
from hub.capture_order import CaptureTime, Order, order_of
from hub.schema.tables import Case, CaseCandidate, Record

STANDS_NO_MORE = (RecordState.UNREGISTERED, RecordState.DUPLICATE_RECORD, RecordState.INACTIVE)


class Verdict(StrEnum):
    """What an adjudicator may say."""

    DIFFERENT = "different"
    SAME = "same"
    VALIDATION = "validation"


def time_of(record: Record) -> CaptureTime:
    """What is known about when a capture happened."""
    return CaptureTime(record.unit, record.sequence, record.earliest_ms, record.latest_ms)


def is_first(record: Record, other: Record, said: str | None) -> bool:
    """Whether `record` came first: by the bounds, and where these overlap, as the adjudicators said (M28)."""
    order = order_of(time_of(record), time_of(other))
    return said == record.capture_id if order is Order.UNKNOWN else order is Order.FIRST


def verdicts_on(session: Session, capture_id: str) -> dict[str, Case]:
    """Captures that were judged together with this one, each with the newest case that decided about the pair."""
    about = union(
        select(Case.id).where(Case.capture_id == capture_id),
        select(CaseCandidate.case_id).where(CaseCandidate.capture_id == capture_id),
    )
    query = (
        select(Case, CaseCandidate.capture_id)
        .join(CaseCandidate, CaseCandidate.case_id == Case.id)
        .where(Case.decided_ms.is_not(None), Case.id.in_(select(about.subquery().c[0])))
        .where(or_(Case.capture_id == capture_id, CaseCandidate.capture_id == capture_id))
        .order_by(Case.decided_ms, Case.opened_ms, Case.id)
    )
    found: dict[str, Case] = {}
    for case, candidate in session.execute(query):
        other = candidate if case.capture_id == capture_id else case.capture_id
        before = found.get(other)
        is_same = case.verdict == Verdict.SAME and case.same_as == candidate
        is_fresh = before is None or case.opened_ms >= (before.decided_ms or 0)
        if is_same or (case.verdict == Verdict.DIFFERENT and is_fresh):
            found[other] = case
    return found


def same_person(session: Session, capture_id: str) -> dict[str, Case]:
    """The captures that were judged to be of the same person as this one, each with its case."""
    found = verdicts_on(session, capture_id)
    return {other: case for other, case in found.items() if case.verdict == Verdict.SAME}


def lost_to(session: Session, record: Record) -> list[str]:
    """The captures against which this one was judged the later, and still is."""
    lost = []
    for other_id, case in same_person(session, record.capture_id).items():
        other = session.get(Record, other_id)
        if other is not None and is_first(other, record, case.first):
            lost.append(other_id)
    return lost


def person_stands(session: Session, capture_id: str, record: Record) -> bool:
    """Whether anything stands of the person of `capture_id` that did not come after `record`."""
    later = set(same_person(session, record.capture_id)) - set(lost_to(session, record)) - {capture_id}
    seen, waiting = {record.capture_id}, [capture_id]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        found = session.get(Record, one)
        if found is not None and found.state not in STANDS_NO_MORE and one not in later:
            return True
        waiting.extend(same_person(session, one))
    return False


def barred_by(session: Session, record: Record) -> list[str]:
    """Earlier captures of the person for whose sake this one may not be printed; none where it may (M27)."""
    return [other for other in lost_to(session, record) if person_stands(session, other, record)]
