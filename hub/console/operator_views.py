"""What the page of operators shows: who may do what, where and until when, and who waits for a second officer (M67)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.operators import OPERATORS_MAX
from hub import register, rosters
from hub.central import Central
from hub.console.sessions import Visitor
from hub.context import HubContext
from hub.dispatches import units_in_service
from hub.fleet import Role
from hub.leases import ACTIVE, LEASE_SIGNED, REVOKED, works_at_units
from hub.operator_desk import APPROVING, GRANTED_BY_HEADS, GRANTED_BY_THE_CENTRE
from hub.operator_factors import factors_of
from hub.proposals import PIN_RESET, REINSTATEMENT
from hub.register import EVERYWHERE
from hub.schema.operator_tables import PENDING, OperatorEnrolment, OperatorHistory, OperatorLease, SignOn, UnitRoster
from hub.schema.tables import Operator, Proposal, Site

SHOWN_MAX = 300
DECIDED_MAX = 20
HISTORY_MAX = 40
Fields = dict[str, Any]


def operators(session: Session, central: Central, who: Visitor) -> Fields:
    """Operators of the visitor's region, pending and decided enrolments, and the newest lines of their history."""
    visitor = session.get_one(Operator, who.operator)
    sites = [site for site in session.scalars(select(Site).order_by(Site.code)) if _sees(session, visitor, [site.code])]
    everyone = session.scalars(select(Operator).order_by(Operator.id)).all()
    seen = [operator for operator in everyone if _sees(session, visitor, operator.sites.split(","))]
    codes = [site.code for site in sites]
    pending, decided = _enrolments(session, codes, is_open=True), _enrolments(session, codes, is_open=False)
    subjects = {operator.id for operator in seen} | {found.operator for found in pending + decided}
    may_decide = who.may(*APPROVING)
    working = [set(operator.sites.split(",")) for operator in everyone if works_at_units(operator)]

    def full(site: str) -> bool:
        return sum(bool({site, EVERYWHERE} & places) for places in working) >= OPERATORS_MAX

    return {
        "time_ms": central.context.clock.wall_ms(),
        "may_decide": may_decide,
        "may_propose": who.may(Role.DC_OFFICER),
        "operators": _operators(session, central.context, seen[:SHOWN_MAX]),
        "resets": _resets(session, {operator.id: operator for operator in seen}, who),
        "roster_max": OPERATORS_MAX,
        "left_out": max(0, len(seen) - SHOWN_MAX),
        "pending": [_enrolment(session, central, found, who) for found in pending],
        "decided": [
            {
                "operator": found.operator, "site": found.site, "enrolled_by": found.enrolled_by, "state": found.state,
                "decided_by": found.decided_by, "decided_ms": found.decided_ms, "reason": found.reason,
            }
            for found in decided[:DECIDED_MAX]
        ],
        "grantable": sorted(GRANTED_BY_THE_CENTRE if who.may(Role.DC_OFFICER) else GRANTED_BY_HEADS),
        "sites": [{"code": site.code, "name": site.name, "full": full(site.code)} for site in sites],
        "left_out_of": {code: names for code, names in rosters.left_out(session).items() if code in codes},
        "history": _history(session, subjects),
    }  # fmt: skip


def _enrolments(session: Session, sites: list[str], *, is_open: bool) -> list[OperatorEnrolment]:
    """Those at these sites: the open ones, whoever has waited longest first, or the newest of the decided ones."""
    order = OperatorEnrolment.received_ms.asc() if is_open else OperatorEnrolment.decided_ms.desc()
    state = OperatorEnrolment.state == PENDING if is_open else OperatorEnrolment.state != PENDING
    query = select(OperatorEnrolment).where(state, OperatorEnrolment.site.in_(sites)).order_by(order)
    return list(session.scalars(query.limit(SHOWN_MAX)))


def _sees(session: Session, visitor: Operator, sites: Iterable[str]) -> bool:
    return any(site == EVERYWHERE or register.works_in_region(session, visitor, site) for site in sites)


def _resets(session: Session, seen: dict[str, Operator], who: Visitor) -> list[Fields]:
    """PINs that somebody asked to be reset, and nobody has decided on yet."""
    query = select(Proposal).where(Proposal.action == PIN_RESET, Proposal.decided_ms.is_(None))
    return [
        {
            "id": found.id, "operator": found.subject, "name": seen[found.subject].name, "reason": found.reason,
            "proposed_by": found.proposed_by, "proposed_ms": found.proposed_ms,
            "own": who.operator in (found.proposed_by, found.subject),
        }
        for found in session.scalars(query.order_by(Proposal.proposed_ms)) if found.subject in seen
    ]  # fmt: skip


def _operators(session: Session, context: HubContext, shown: list[Operator]) -> list[Fields]:
    leases = {row.operator: row for row in session.scalars(select(OperatorLease))}
    signed_on: dict[str, list[SignOn]] = {}
    for row in session.scalars(select(SignOn)):
        signed_on.setdefault(row.operator, []).append(row)
    open_proposals = select(Proposal.subject).where(Proposal.action == REINSTATEMENT, Proposal.decided_ms.is_(None))
    proposed = set(session.scalars(open_proposals))
    heard = _heard(session)
    factors = {operator.id: factors_of(context, operator) for operator in shown}
    return [
        {
            "id": operator.id,
            "name": operator.name,
            "roles": operator.roles.split(","),
            "sites": [site for site in operator.sites.split(",") if site],
            "state": REVOKED if operator.revoked else ACTIVE if works_at_units(operator) else "console",
            "lease_until_ms": leases[operator.id].until_ms if operator.id in leases else None,
            "last_ms": max((row.last_ms for row in signed_on.get(operator.id, [])), default=0),
            "last_unit": max(signed_on.get(operator.id, []), key=lambda row: row.last_ms).unit
            if signed_on.get(operator.id)
            else "",
            "failed": sum(row.failed for row in signed_on.get(operator.id, [])),
            "locked_at": sorted(row.unit for row in signed_on.get(operator.id, []) if row.locked),
            "second_factor": bool(factors[operator.id].pin or factors[operator.id].card_uid),
            "pin": bool(factors[operator.id].pin) or factors[operator.id].awaits_pin,
            "set_by_ms": factors[operator.id].pin_state.set_by_ms if factors[operator.id].awaits_pin else 0,
            "reinstatement": operator.id in proposed,
            "unheard": [
                unit for site in operator.sites.split(",") for unit in heard.get(site, [])
                if operator.revoked or factors[operator.id].awaits_pin
            ],
        }
        for operator in shown
    ]  # fmt: skip


def _heard(session: Session) -> dict[str, list[str]]:
    """Units that do not hold the newest roster yet, by site."""
    rosters = {row.unit: row for row in session.scalars(select(UnitRoster))}
    behind: dict[str, list[str]] = {}
    for unit in units_in_service(session):
        row = rosters.get(unit.id)
        if row is not None and row.held < row.version:
            behind.setdefault(unit.site, []).append(unit.id)
            behind.setdefault(EVERYWHERE, []).append(unit.id)
    return behind


def _enrolment(session: Session, central: Central, found: OperatorEnrolment, who: Visitor) -> Fields:
    body = central.operators.body_of(found)
    known = session.get(Operator, found.operator)
    others = [name for name in found.similar.split(",") if name and name != found.operator]
    return {
        "id": found.id,
        "operator": found.operator,
        "name": body.name,
        "unit": found.unit,
        "site": found.site,
        "roles": list(body.roles),
        "fingers": [{"position": sample.position, "quality": sample.quality} for sample in body.fingers],
        "second_factor": [kind for kind, there in (("PIN", body.pin), ("e-KTP", body.card_uid)) if there],
        "enrolled_by": found.enrolled_by,
        "received_ms": found.received_ms,
        "enroller_revoked": found.warning == REVOKED,
        "similar": [{"operator": name, "sites": _sites_of(session, name)} for name in others],
        "replaces": known is not None,
        "other_fingers": known is not None and found.operator not in found.similar.split(","),
        "own": who.operator in (found.enrolled_by, found.operator, *others),
    }


def _sites_of(session: Session, name: str) -> list[str]:
    """Where an operator works, who may be none of the visitor's region: whom to ask."""
    found = session.get(Operator, name)
    return [site for site in found.sites.split(",") if site] if found is not None else []


def _history(session: Session, names: set[str]) -> list[Fields]:
    """The newest lines about these operators. That leases were signed, daily and for everybody, would hide the rest."""
    wanted = (OperatorHistory.event != LEASE_SIGNED, OperatorHistory.subject.in_(names))
    query = select(OperatorHistory).where(*wanted).order_by(OperatorHistory.sequence.desc()).limit(HISTORY_MAX)
    return [
        {"operator": link.subject, "event": link.event, "at_ms": link.at_ms, "actor": link.actor}
        | {name: value for name, value in json.loads(link.note).items() if name in ("count", "reason")}
        for link in session.scalars(query)
    ]
