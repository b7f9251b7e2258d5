"""Taking rights from units, and giving them back: one that was stolen, lost or is at rest (M66).

A unit that is not in service is sent nothing: what the broker held for it is cleared, its answers and packets are
refused or quarantined, and its site goes on under a new key that it never gets. Every method runs in the caller's
transaction. Operators' rights are hub.operator_desk's.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from sqlalchemy import select
from sqlalchemy.event import listen
from sqlalchemy.orm import Session

from contract import topics
from contract.dispatch import SiteKey
from contract.errors import RemoteError
from contract.lifecycle import UnitEvent, UnitState, advance
from contract.seal import KEY_BYTES, unlock
from hub import approvals, certificates, dispatches, greetings, history, outbox, presence, register
from hub.context import HubContext
from hub.fleet import Role
from hub.history import Note
from hub.print_orders import OrderState, PrintOrders
from hub.schema.commissioning_tables import UnitHistory
from hub.schema.tables import Outbox, PrintOrder, Unit
from hub.schema.tables import SiteKey as SiteKeyRow

REASON_CHARACTERS_MIN = 5
_SITE_TOPICS = (topics.SITE_REGISTER, topics.SITE_NOTICE, topics.SITE_GALLERY)
_SECRET_TOPICS = (topics.DN_SITE_KEY, topics.DN_ROSTER, topics.DN_ROSTER_DELTA, topics.DN_JOB)
_ORDERED = (UnitEvent.SUSPENDED, UnitEvent.RESUMED, UnitEvent.RETIRED)
log = structlog.get_logger("fleet")


class FleetControl:
    """What a dc-officer may do to units.

    on_barred: called in process when certificates were revoked, so that the broker hears of it at once.
    """

    def __init__(self, context: HubContext, orders: PrintOrders) -> None:
        self._context = context
        self._orders = orders
        self.on_barred: Callable[[], None] = lambda: None

    def move_unit(self, session: Session, unit_id: str, event: UnitEvent, actor: str, reason: str) -> Unit:
        """Suspend, resume or retire a unit. Raises RemoteError for anything else, or where the table refuses."""
        _check_right(session, actor, reason)
        unit = session.get(Unit, unit_id, with_for_update=True)
        if unit is None or event not in _ORDERED:
            raise RemoteError("No such unit, or no such order to it.", next_step="Choose both from the list.")
        self.move(session, unit, event, actor, {"reason": reason.strip()})
        return unit

    def move(self, session: Session, unit: Unit, event: UnitEvent, actor: str, note: Note) -> None:
        """Move a unit by its table, write its history, and do what the move brings with it.

        Whose right it is was asked before. Raises IllegalTransition where the table refuses.
        """
        before = UnitState(unit.state)
        unit.state = advance(before, event)
        history.append(
            session,
            UnitHistory,
            subject=unit.id,
            event=event,
            from_state=before,
            to_state=unit.state,
            at_ms=self._context.clock.wall_ms(),
            actor=actor,
            note=note,
        )
        session.flush()
        if unit.state == UnitState.IN_SERVICE:
            greetings.greet_unit(session, self._context, unit)
            self._orders.send_next(session, unit.id)
        elif before is UnitState.IN_SERVICE:
            self._cut_off(session, unit)
        if event is UnitEvent.RETIRED:
            self.bar(session, unit.id, f"retired by {actor}")
        log.warning("unit moved", unit=unit.id, unit_event=str(event), actor=actor, note=dict(note))

    def bar(self, session: Session, holder: str, reason: str) -> int:
        """Revoke every certificate of a unit or technician; returns how many. The broker hears of it at once.

        A box that was approved under this name and is not born yet needs another approval before it may ask again.
        """
        ended = certificates.revoke(session, holder, reason, self._context.clock.wall_ms())
        approvals.withdraw(session, holder)
        presence.mark_shut_out(session, holder)
        listen(session, "after_commit", lambda _session: self.on_barred(), once=True)
        return ended

    def _cut_off(self, session: Session, unit: Unit) -> None:
        """Clear what waits for the unit at the broker; its print job waits for it here; its site gets a new key."""
        now = self._context.clock.wall_ms()
        for topic in _SECRET_TOPICS:
            outbox.post(session, topic, b"", now, unit=unit.id)
        lying = select(PrintOrder).where(PrintOrder.station == unit.id, PrintOrder.state == OrderState.SENT)
        for order in session.scalars(lying).all():
            order.state, order.changed_ms = OrderState.QUEUED, now
        self._rotate_site_key(session, unit.site)

    def _rotate_site_key(self, session: Session, site: str) -> None:
        """A new epoch: its key to the site's units in service, then everything retained for the site under it."""
        context, now = self._context, self._context.clock.wall_ms()
        epoch, old = dispatches.newest_site_key(session, context, site)
        key = context.random_bytes(KEY_BYTES)
        locked = context.vault.lock(key, "site_key", f"{site}/{epoch + 1}")
        session.add(SiteKeyRow(site=site, epoch=epoch + 1, key=locked, made_ms=now))
        session.flush()
        message = SiteKey(site=site, epoch=epoch + 1, key=key)
        for unit in dispatches.units_in_service(session):
            if unit.site == site:
                dispatches.post_to_unit(session, context, topics.DN_SITE_KEY, message, unit.id)
        held = select(Outbox).where(Outbox.topic.startswith(f"s/{site}/"), Outbox.retain.is_(True))
        for row in session.scalars(held.order_by(Outbox.id)).all():
            for topic in _SITE_TOPICS:
                names = topic.parse(row.topic)
                if names is not None and row.payload:
                    plain = unlock(row.payload[dispatches.EPOCH_BYTES :], old, row.topic.encode())
                    payload = dispatches.under_site_key(epoch + 1, key, row.topic, plain)
                    outbox.post(session, topic, payload, now, **names)


def _check_right(session: Session, actor: str, reason: str) -> None:
    register.operator_with(session, actor, Role.DC_OFFICER)
    if len(reason.strip()) < REASON_CHARACTERS_MIN:
        raise RemoteError("Moving a unit needs a reason.", next_step="Write why, in a sentence.")
