"""Cards that come back and are destroyed, each step counted (M38, M47, M52).

Whoever keeps a card where it is sends it back to the office that made it; somebody else destroys it there, so that no
card ends on one person's word. Destroying the card that a record waited with lets the record be printed again: for a
holder who was turned away wrongly, never for a new capture (M48).
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.errors import RemoteError
from contract.lifecycle import CardEvent, CardState, RecordEvent, RecordState
from hub import history, register, rights
from hub.fleet import Role
from hub.issuance import Issuance
from hub.ledger import Ledger, card_known, cards_of, is_open
from hub.records import Records, known
from hub.schema.tables import Card, CardHistory, Operator

KEEPERS = (Role.SECTION_HEAD, Role.DISTRIBUTION, Role.DC_OFFICER)
DESTROYERS = (Role.SECTION_HEAD, Role.DC_OFFICER)
REASON_CHARACTERS_MIN = 5


class Returns:
    """Every method runs in the caller's transaction and raises RemoteError when refused."""

    def __init__(self, records: Records, ledger: Ledger, issuance: Issuance) -> None:
        self._records = records
        self._ledger = ledger
        self._issuance = issuance

    def send_back(self, session: Session, card_uid: str, actor: str, reason: str) -> Card:
        """A card goes back to the office that made it; the desk loses the right to hand it over."""
        card = card_known(session, card_uid)
        _check(session, actor, KEEPERS, card.place, reason)
        self._ledger.move(session, card, CardEvent.SENT_BACK, actor, {"from": card.place, "reason": reason.strip()})
        self._ledger.revoke(session, card)
        self._issuance.withdraw(session, card)
        card.place = card.made_at
        session.flush()
        return card

    def destroy(self, session: Session, card_uid: str, actor: str, reason: str) -> Card:
        """A returned or spoiled card is destroyed by another person than the one who last had to do with it."""
        card = card_known(session, card_uid)
        _check(session, actor, DESTROYERS, card.made_at, reason)
        last = history.way_of(session, CardHistory, card_uid)[-1]
        if last.actor == actor:
            raise RemoteError(
                "Whoever sent a card back or spoiled it does not destroy it.", next_step="Ask a second officer."
            )
        self._ledger.move(session, card, CardEvent.DESTROYED, actor, {"reason": reason.strip()})
        record = known(session, card.capture_id)
        left = [other for other in cards_of(session, card.capture_id) if is_open(other)]
        waits = any(other.state != CardState.RETURNED and not other.recalled for other in left)
        if record.state == RecordState.CARD_PRINTED and not waits:
            self._records.move(session, record, RecordEvent.CARD_RETURNED, actor, {"card": card_uid})
        return card


def cards_to_end(session: Session) -> list[Card]:
    """Cards that wait to be sent back or destroyed, oldest first."""
    states = (CardState.RETAINED, CardState.RETURNED, CardState.SPOILED)
    return list(session.scalars(select(Card).where(Card.state.in_(states)).order_by(Card.changed_ms).limit(200)))


def _check(session: Session, actor: str, roles: tuple[Role, ...], site: str, reason: str) -> Operator:
    operator = register.operator_with(session, actor, *roles)
    is_central = Role.DC_OFFICER in operator.roles.split(",")
    if not is_central and not rights.holds(operator, roles, site):
        raise RemoteError(f"'{actor}' does not work at {site}, where the card is.", next_step="Ask that office.")
    if len(reason.strip()) < REASON_CHARACTERS_MIN:
        raise RemoteError("The transfer record needs a reason.", next_step="Write why, in a sentence.")
    return operator
