"""Operators' leases: signed, renewed long before they end, and every one of them in the history (M67, M69).

One lease an operator, good for all their sites: it is signed once and travels in every roster. A lease whose operator's
roles, sites or key have changed since is replaced at once.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.operators import Lease, sign_lease
from hub import history
from hub.context import HubContext
from hub.history import Note
from hub.register import DAY_MS
from hub.schema.operator_tables import OperatorHistory, OperatorLease
from hub.schema.tables import Operator

ACTIVE, REVOKED, UNKNOWN = "active", "revoked", "–"
HUB = "hub"
LEASE_SIGNED = "lease signed"


def note(session: Session, context: HubContext, operator: str, event: str, actor: str, states: str, what: Note) -> None:
    """A line in the operators' history. states: before and after, with a blank between them."""
    before, _, after = states.partition(" ")
    history.append(
        session, OperatorHistory, subject=operator, event=event, from_state=before, to_state=after or before,
        at_ms=context.clock.wall_ms(), actor=actor, note=what,
    )  # fmt: skip


def works_at_units(operator: Operator) -> bool:
    """Whether somebody has what a lease needs: a key for sign-offs, a place, and nobody has revoked them."""
    return bool(operator.public_key and operator.private_key and operator.sites) and not operator.revoked


def lease_of(session: Session, context: HubContext, operator: Operator, *, renewed: bool = False) -> OperatorLease:
    """The operator's lease; a new one where there is none, where the rights are others now, or where asked for."""
    row = session.get(OperatorLease, operator.id)
    key = hashlib.sha256(operator.public_key).digest()
    if (
        row is not None
        and not renewed
        and (row.roles, row.sites, row.key_sha256) == (operator.roles, operator.sites, key)
    ):
        return row
    now_ms = context.clock.wall_ms()
    lease = Lease(
        operator=operator.id,
        roles=tuple(operator.roles.split(",")),
        sites=tuple(operator.sites.split(",")),
        from_ms=now_ms,
        until_ms=now_ms + operator.lease_days * DAY_MS,
        sequence=row.sequence + 1 if row is not None else 1,
        key_sha256=key,
    )
    if row is None:
        row = OperatorLease(operator=operator.id)
        session.add(row)
    row.sequence, row.roles, row.sites, row.key_sha256 = lease.sequence, operator.roles, operator.sites, key
    row.from_ms, row.until_ms, row.signed = lease.from_ms, lease.until_ms, sign_lease(lease, context.keys.statement)
    session.flush()
    what: Note = {
        "sequence": lease.sequence,
        "until_ms": lease.until_ms,
        "roles": operator.roles,
        "sites": operator.sites,
    }
    note(session, context, operator.id, LEASE_SIGNED, HUB, ACTIVE, what)
    return row


def renew_due(session: Session, context: HubContext) -> list[str]:
    """Renew what has run for a day, or for half its time where that is less; who got a new lease.

    A lease from the future was signed by a clock that ran ahead, and would outlive its days: it is signed anew.
    """
    now_ms = context.clock.wall_ms()
    leases = {row.operator: row for row in session.scalars(select(OperatorLease))}
    found = []
    for operator in session.scalars(select(Operator).where(Operator.revoked.is_(False)).order_by(Operator.id)):
        row = leases.get(operator.id)
        due_ms = min(DAY_MS, operator.lease_days * DAY_MS // 2)
        if row is not None and works_at_units(operator) and not 0 <= now_ms - row.from_ms < due_ms:
            lease_of(session, context, operator, renewed=True)
            found.append(operator.id)
    return found
