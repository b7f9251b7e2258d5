"""What the console shows, read from the database into plain values; pages and the JSON API show the same.

No personal data leave this module but where a function says so.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from contract.errors import RemoteError
from contract.lifecycle import CardState, RecordState
from contract.lifecycle import UnitState as UnitLife
from hub import alarms, clocks, history, ledger, outbox, register, verdicts
from hub.capture_order import Order, order_of
from hub.central import Central
from hub.enrolment_checks import ADVICE, Failure
from hub.fleet import Role
from hub.notices import biodata_as_captured
from hub.presence import presence_of, uplink_of
from hub.schema.tables import (
    Card,
    CardHistory,
    Case,
    CaseCandidate,
    CaseDecision,
    HistoryLink,
    Operator,
    Packet,
    PrintOrder,
    Proposal,
    Record,
    RecordHistory,
    Site,
    Unit,
)

LIST_MAX = 200
ALARMS_SHOWN = 8
# Who works with residents and their data; adjudicators see what a case shows, others see where records are.
READERS = frozenset({Role.OPERATOR, Role.FRONT_DESK, Role.ADB, Role.SECTION_HEAD, Role.DC_OFFICER})
Fields = dict[str, Any]


def overview(session: Session, central: Central) -> Fields:
    """Counts of records and cards, stalls, units with their uplinks, blanks, and what waits for a person."""
    context = central.context
    now = context.clock.wall_ms()
    records = {row[0]: row[1] for row in session.execute(select(Record.state, func.count()).group_by(Record.state))}
    cards = {row[0]: row[1] for row in session.execute(select(Card.state, func.count()).group_by(Card.state))}
    stalls = clocks.stalls(session, context.settings.deadlines, now)
    fleet = select(Unit).where(Unit.state != UnitLife.RETIRED)
    return {
        "records": {str(state): records.get(state, 0) for state in RecordState},
        "cards": {str(state): cards.get(state, 0) for state in CardState},
        "live_cards": session.scalar(select(func.count()).where(Card.live.is_(True))) or 0,
        "captures_searched": len(central.dedup.gallery),
        "stalls": [asdict(stall) for stall in stalls[:LIST_MAX]],
        "units": [_unit(unit, now) for unit in session.scalars(fleet.order_by(Unit.id))],
        "blanks": [{**asdict(b), "left": b.left, "balances": b.balances} for b in ledger.balances(session)],
        "packets": session.scalar(select(func.count()).select_from(Packet)) or 0,
        "quarantined": session.scalar(select(func.count()).where(Packet.quarantine != "")) or 0,
        "open_cases": session.scalar(select(func.count()).where(Case.decided_ms.is_(None))) or 0,
        "open_proposals": session.scalar(select(func.count()).where(Proposal.decided_ms.is_(None))) or 0,
        "outbox": outbox.waiting(session),
        "alarms": alarms.newest(session, ALARMS_SHOWN),
        "alarms_unseen": alarms.unseen(session),
        "time_ms": now,
    }


def records(session: Session, state: str) -> list[Fields]:
    """The newest records, of one state or of all; no personal data."""
    query = select(Record).order_by(Record.changed_ms.desc()).limit(LIST_MAX)
    if state:
        query = query.where(Record.state == state)
    return [_record(record) for record in session.scalars(query)]


def record(session: Session, central: Central, capture_id: str, reader: str) -> Fields:
    """One record with its way, clocks, cards, orders, cases. Raises RemoteError.

    reader: an operator's id. Name, NIK and the other biodata are there for those who work with the region's residents.
    """
    found = session.get(Record, capture_id)
    if found is None:
        raise RemoteError("No record of this capture is known here.", next_step="Check the capture id.")
    operator = session.get_one(Operator, reader)
    is_theirs = READERS & set(operator.roles.split(",")) and register.works_in_region(session, operator, found.site)
    advice = ADVICE[Failure(found.failure)] if found.failure else ("", "")
    cards = ledger.cards_of(session, capture_id)
    orders = session.scalars(select(PrintOrder).where(PrintOrder.capture_id == capture_id).order_by(PrintOrder.made_ms))
    cases = session.scalars(select(Case).where(Case.capture_id == capture_id).order_by(Case.opened_ms))
    return {
        **_record(found),
        "biodata": biodata_as_captured(central.context, found).model_dump() if is_theirs else None,
        "stands": central.records.stands(session, found),
        "advice_id": advice[0],
        "advice_en": advice[1],
        "earliest_ms": found.earliest_ms,
        "latest_ms": found.latest_ms,
        "history": [_link(link) for link in history.way_of(session, RecordHistory, capture_id)],
        "clocks": [{**asdict(lap), "within": lap.within} for lap in clocks.laps_of(session, capture_id)],
        "cards": [_card(session, card) for card in cards],
        "orders": [
            {"job_id": o.job_id, "card_number": o.card_number, "station": o.station, "desk": o.desk, "state": o.state}
            for o in orders
        ],
        "cases": [_case(case) for case in cases],
    }


def cases(session: Session, visitor: str) -> list[Fields]:
    """Open cases, oldest first, then the newest decided ones; with what the visitor has to do with each."""
    opened = session.scalars(select(Case).where(Case.decided_ms.is_(None)).order_by(Case.opened_ms)).all()
    decided = session.scalars(
        select(Case).where(Case.decided_ms.is_not(None)).order_by(Case.decided_ms.desc()).limit(50)
    ).all()
    return [{**_case(case), "seat": _seat(session, case, visitor)} for case in (*opened, *decided)]


def case(session: Session, central: Central, case_id: str, visitor: str) -> Fields:
    """One case with its candidates; other adjudicators' decisions only once it is decided (M26)."""
    found = session.get(Case, case_id)
    if found is None:
        raise RemoteError("There is no such case.", next_step="Go back to the list of cases.")
    candidates = session.scalars(
        select(CaseCandidate).where(CaseCandidate.case_id == case_id).order_by(CaseCandidate.value.desc())
    ).all()
    decisions = session.scalars(
        select(CaseDecision).where(CaseDecision.case_id == case_id, CaseDecision.decided_ms.is_not(None))
    ).all()
    shown = decisions if found.decided_ms is not None else [d for d in decisions if d.adjudicator == visitor]
    return {
        **_case(found),
        "seat": _seat(session, found, visitor),
        "decided_by": len(decisions),
        "candidates": [_candidate(session, central, found, row) for row in candidates],
        "decisions": [
            {
                "adjudicator": d.adjudicator,
                "verdict": d.verdict,
                "same_as": d.same_as,
                "first": d.first,
                "reason": d.reason,
                "decided_ms": d.decided_ms,
            }
            for d in shown
        ],
    }


def proposals(session: Session) -> list[Fields]:
    """Two-person actions, open ones first."""
    query = select(Proposal).order_by(Proposal.decided_ms.is_not(None), Proposal.proposed_ms.desc()).limit(LIST_MAX)
    return [
        {column.name: getattr(row, column.name) for column in Proposal.__table__.columns}
        for row in session.scalars(query)
    ]


def quarantine(session: Session) -> list[Fields]:
    """Packets that a person has to look at, newest first (M18)."""
    query = select(Packet).where(Packet.quarantine != "").order_by(Packet.received_ms.desc()).limit(LIST_MAX)
    return [
        {
            "pid": packet.pid,
            "carrier": packet.carrier,
            "signer": packet.signer,
            "kind": packet.kind,
            "event_id": packet.event_id,
            "length": packet.length,
            "received_ms": packet.received_ms,
            "reason": packet.quarantine,
        }
        for packet in session.scalars(query)
    ]


def cards(session: Session) -> list[Fields]:
    """Physical cards, the ones that moved last first."""
    query = select(Card).order_by(Card.changed_ms.desc()).limit(LIST_MAX)
    return [_card(session, card) for card in session.scalars(query)]


def _unit(unit: Unit, now_ms: int) -> Fields:
    presence, uplink = presence_of(unit), uplink_of(unit)
    return {
        "id": unit.id,
        "site": unit.site,
        "role": unit.role,
        "state": unit.state,
        "online": presence is not None and presence.state == "online",
        "seen_ago_s": (now_ms - unit.seen_ms) // 1000 if unit.seen_ms else None,
        "uplink": uplink.model_dump() if uplink is not None else None,
    }


def _record(record: Record) -> Fields:
    return {
        "capture_id": record.capture_id,
        "state": record.state,
        "site": record.site,
        "unit": record.unit,
        "failure": record.failure,
        "received_ms": record.received_ms,
        "changed_ms": record.changed_ms,
        "appeal_of": record.appeal_of,
    }


def _card(session: Session, card: Card) -> Fields:
    return {
        "card_uid": card.card_uid,
        "card_number": card.card_number,
        "capture_id": card.capture_id,
        "state": card.state,
        "place": card.place,
        "live": card.live,
        "recalled": card.recalled,
        "history": [_link(link) for link in history.way_of(session, CardHistory, card.card_uid)],
    }


def _link(link: HistoryLink) -> Fields:
    return {
        "sequence": link.sequence,
        "event": link.event,
        "from_state": link.from_state,
        "to_state": link.to_state,
        "at_ms": link.at_ms,
        "actor": link.actor,
        "note": json.loads(link.note),
    }


def _case(case: Case) -> Fields:
    return {
        "id": case.id,
        "capture_id": case.capture_id,
        "cause": case.cause,
        "opened_ms": case.opened_ms,
        "decided_ms": case.decided_ms,
        "verdict": case.verdict,
        "same_as": case.same_as,
        "first": case.first,
    }


def _seat(session: Session, case: Case, visitor: str) -> str:
    seat = session.get(CaseDecision, (case.id, visitor))
    if seat is None:
        return "none"
    return "decided" if seat.decided_ms is not None else "claimed"


def _candidate(session: Session, central: Central, case: Case, row: CaseCandidate) -> Fields:
    """A candidate with what is known of the order of the two captures (M28)."""
    probe, other = session.get(Record, case.capture_id), session.get_one(Record, row.capture_id)
    site = session.get(Site, other.site)
    first = ""
    if probe is not None:
        order = order_of(verdicts.time_of(probe), verdicts.time_of(other))
        first = {Order.FIRST: probe.capture_id, Order.SECOND: other.capture_id, Order.UNKNOWN: ""}[order]
    return {
        "capture_id": row.capture_id,
        "value": round(row.value, 1),
        "detail": json.loads(row.detail),
        "state": other.state,
        "site": site.name if site is not None else other.site,
        "earliest_ms": other.earliest_ms,
        "latest_ms": other.latest_ms,
        "first": first,
        "order_is_open": probe is not None and not first,
    }
