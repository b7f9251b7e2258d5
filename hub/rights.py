"""Who may do what: which kinds of units send which packets, and which officers stand behind them (M11, M34, M43).

A unit's screen asks for the same; what it sends is judged here again, because a unit can be stolen, and a key copied.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.orm import Session

from hub.fleet import Role
from hub.schema.tables import Operator, Unit

CAPTURE_UNITS = frozenset({"kiosk", "desk", "mobile"})
STATION_UNITS = frozenset({"station"})
HANDOVER_UNITS = frozenset({"handover", "desk", "mobile"})
HANDOVER_ROLES = (Role.OPERATOR, Role.FRONT_DESK)
EVERYWHERE = "*"


def holds(operator: Operator, roles: Iterable[Role], site: str) -> bool:
    """Whether an operator holds one of `roles` and works at this site; says nothing of a revocation."""
    works_here = bool({site, EVERYWHERE} & set(operator.sites.split(",")))
    return works_here and bool(set(roles) & set(operator.roles.split(",")))


def wrong_unit(session: Session, unit_id: str, site: str, roles: frozenset[str]) -> str:
    """Why a unit may not send this kind of report from this site, or ''."""
    unit = session.get(Unit, unit_id)
    if unit is None or unit.role not in roles:
        return f"Unit {unit_id} is no {' or '.join(sorted(roles))}: it may not report this."
    if unit.site != site:
        return f"Unit {unit_id} reports from {site}, and stands at {unit.site}."
    return ""


def wrong_officer(session: Session, operator_id: str | None, site: str, *roles: Role) -> str:
    """Why this officer may not stand behind a report from this site, or ''."""
    operator = session.get(Operator, operator_id) if operator_id else None
    if operator is None:
        return f"Nobody is known as '{operator_id or ''}'."
    if operator.revoked:
        return f"{operator_id} was revoked."
    return "" if holds(operator, roles, site) else f"{operator_id} is no {' or '.join(roles)} at {site}."
