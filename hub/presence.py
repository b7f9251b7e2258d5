"""What units say of themselves: presence and the uplink panel's five lines, kept for the console (M19, M20)."""

from __future__ import annotations

from sqlalchemy.orm import Session

from contract.dispatch import decode
from contract.errors import RemoteError
from contract.transfer import MESSAGE_BYTES_MAX, UnitState, UplinkStatus
from hub.schema.tables import Unit


def take_state(session: Session, unit_id: str, payload: bytes, now_ms: int) -> bool:
    """Keep a unit's presence; False for the will of an older boot. Raises RemoteError."""
    state = decode(UnitState, payload, MESSAGE_BYTES_MAX)
    unit = _unit(session, unit_id)
    known = UnitState.model_validate_json(unit.presence) if unit.presence else None
    if not state.supersedes(known):
        return False
    unit.presence, unit.seen_ms = state.model_dump_json(), now_ms
    return True


def take_uplink(session: Session, unit_id: str, payload: bytes, now_ms: int) -> None:
    """Keep a unit's uplink panel. Raises RemoteError."""
    status = decode(UplinkStatus, payload, MESSAGE_BYTES_MAX)
    unit = _unit(session, unit_id)
    unit.uplink, unit.seen_ms = status.model_dump_json(), now_ms


def presence_of(unit: Unit) -> UnitState | None:
    """What the unit last said of its presence."""
    return UnitState.model_validate_json(unit.presence) if unit.presence else None


def uplink_of(unit: Unit) -> UplinkStatus | None:
    """What the unit last said of its uplink."""
    return UplinkStatus.model_validate_json(unit.uplink) if unit.uplink else None


def _unit(session: Session, unit_id: str) -> Unit:
    unit = session.get(Unit, unit_id, with_for_update=True)
    if unit is None:
        raise RemoteError(f"No unit is called '{unit_id}'.", next_step="Correct the fleet file.")
    return unit
