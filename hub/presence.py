"""What units say of themselves: presence and the uplink panel's five lines, kept for the console (M19, M20)."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract import lifecycle
from contract.dispatch import decode
from contract.errors import RemoteError
from contract.packet import Millis
from contract.transfer import MESSAGE_BYTES_MAX, UnitState, UplinkStatus
from hub import certificates
from hub.schema.commissioning_tables import UnitSetup
from hub.schema.tables import Unit

_LOCKED, _READ = "locked units", "read setups"


class HeardUplink(UplinkStatus):
    """A unit's uplink panel as it is kept. heard_ms: when, by the hub's clock; 0 in rows of before it was kept."""

    heard_ms: Millis = 0

    def oldest_age_now_s(self, now_ms: int) -> int:
        """How old the oldest waiting packet is by now: it goes on ageing while its unit is silent."""
        if not self.pending:
            return 0
        return self.oldest_age_s + (max(0, now_ms - self.heard_ms) // 1000 if self.heard_ms else 0)


def take_state(session: Session, unit_id: str, payload: bytes, now_ms: int) -> bool:
    """Keep a unit's presence; False for the will of an older boot. Raises RemoteError.

    What the broker retains of a unit that was shut out since says for ever that it is on its line.
    """
    state = decode(UnitState, payload, MESSAGE_BYTES_MAX)
    unit = unit_named(session, unit_id)
    if unit.state != lifecycle.UnitState.IN_SERVICE and not certificates.has_living(session, unit_id):
        state = state.model_copy(update={"state": "offline"})
    known = UnitState.model_validate_json(unit.presence) if unit.presence else None
    if not state.supersedes(known):
        return False
    if state != known:  # the broker repeats what is retained whenever the hub comes back: that is no new word
        unit.presence, unit.seen_ms = state.model_dump_json(), now_ms
    return True


def mark_absent(session: Session, heard: Collection[str]) -> int:
    """Call every unit off the line that says it is on it, and is not among those `heard` since; returns how many.

    What it says next counts again: its sequence is not behind.
    """
    marked = 0
    for unit in session.scalars(select(Unit).where(Unit.presence != "")):
        said = presence_of(unit)
        if unit.id not in heard and said is not None and said.state == "online":
            unit.presence = said.model_copy(update={"state": "offline"}).model_dump_json()
            marked += 1
    return marked


def mark_shut_out(session: Session, unit_id: str) -> None:
    """Call a unit off the line whose session the broker ends: it may not publish its will any more."""
    unit = session.get(Unit, unit_id, with_for_update=True)
    said = presence_of(unit) if unit is not None else None
    if unit is not None and said is not None:
        unit.presence = said.model_copy(update={"state": "offline"}).model_dump_json()


def take_uplink(session: Session, unit_id: str, payload: bytes, now_ms: int) -> None:
    """Keep a unit's uplink panel. Raises RemoteError."""
    status = decode(UplinkStatus, payload, MESSAGE_BYTES_MAX)
    unit = unit_named(session, unit_id)
    heard = HeardUplink.model_validate({**dict(status), "heard_ms": now_ms})
    unit.uplink, unit.seen_ms = heard.model_dump_json(), now_ms


def presence_of(unit: Unit) -> UnitState | None:
    """What the unit last said of its presence."""
    return UnitState.model_validate_json(unit.presence) if unit.presence else None


def uplink_of(unit: Unit) -> HeardUplink | None:
    """What the unit last said of its uplink, and when."""
    return HeardUplink.model_validate_json(unit.uplink) if unit.uplink else None


def lock_units(session: Session, names: Collection[str]) -> None:
    """Lock these units' rows at once, for all that is taken of them in this transaction, and read their settings.

    In the order of their names, so that two who do so wait for each other and do not lock each other out.
    """
    query = select(Unit).where(Unit.id.in_(names)).order_by(Unit.id).with_for_update()
    session.info[_LOCKED] = {unit.id: unit for unit in session.scalars(query)}
    setups = select(UnitSetup).where(UnitSetup.unit.in_(names))
    session.info[_READ] = session.scalars(setups).all()  # held, so that the session finds them by their keys


def locked_unit(session: Session, unit_id: str) -> Unit | None:
    """A unit's row, locked until the transaction ends; None for a unit the fleet does not have."""
    held: dict[str, Unit] = session.info.get(_LOCKED, {})
    return held.get(unit_id) or session.get(Unit, unit_id, with_for_update=True)


def unit_named(session: Session, unit_id: str) -> Unit:
    """The unit that speaks, its row locked. Raises RemoteError for one the fleet does not have."""
    unit = locked_unit(session, unit_id)
    if unit is None:
        raise RemoteError(f"No unit is called '{unit_id}'.", next_step="Correct the fleet file.")
    return unit
