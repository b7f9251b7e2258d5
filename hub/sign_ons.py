"""Who signed on at which unit, and how often it failed (M67, M69): counted by the units, written here as it grows."""

from __future__ import annotations

from sqlalchemy.orm import Session

from contract.dispatch import decode
from contract.errors import RemoteError
from contract.operators import SIGN_ONS_BYTES_MAX, SignOnCount, SignOns
from hub import leases, rights
from hub.context import HubContext
from hub.fleet import Role
from hub.leases import ACTIVE
from hub.schema.operator_tables import SignOn
from hub.schema.tables import Operator, Unit


def take(session: Session, context: HubContext, unit_id: str, payload: bytes) -> None:
    """Keep a unit's counts; what failed since the last time is a line in the history. Raises RemoteError.

    A unit speaks of those who may work there, or might before a revocation; of others it has nothing to say.
    """
    said = decode(SignOns, payload, SIGN_ONS_BYTES_MAX)
    unit = session.get(Unit, unit_id)
    if unit is None:
        raise RemoteError(f"No unit is called '{unit_id}'.", next_step="Correct the fleet file.")
    for count in said.counts:
        operator = session.get(Operator, count.operator)
        if operator is not None and rights.holds(operator, Role, unit.site):
            _take_one(session, context, unit_id, count)


def _take_one(session: Session, context: HubContext, unit_id: str, count: SignOnCount) -> None:
    row = session.get(SignOn, (unit_id, count.operator), with_for_update=True)
    if row is None:
        row = SignOn(unit=unit_id, operator=count.operator, last_ms=0, signed_on=0, failed=0, locked=False)
        session.add(row)
    begins_anew = count.failed < row.failed or count.signed_on < row.signed_on  # a unit that was set up again
    failed = count.failed - (0 if begins_anew else row.failed)
    if failed:
        _note(session, context, count.operator, "sign-on failed", unit_id, {"count": failed})
    if count.locked != row.locked:
        _note(session, context, count.operator, "PIN locked" if count.locked else "PIN unlocked", unit_id, {})
    row.last_ms, row.signed_on, row.failed, row.locked = count.last_ms, count.signed_on, count.failed, count.locked
    session.flush()


def _note(session: Session, context: HubContext, operator: str, event: str, unit_id: str, what: dict[str, int]) -> None:
    leases.note(session, context, operator, event, unit_id, ACTIVE, {"unit": unit_id, **what})
