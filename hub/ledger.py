"""Physical cards and blanks: where each is, that every count balances, and that one NIK has one live card (M38).

The only writer of card states. Blanks are counted by movements; a card has a row from the moment its chip is known.
For each place: blanks received = blanks left + cards made there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from contract import lifecycle
from contract.errors import RemoteError
from contract.lifecycle import CardEvent, CardState, IllegalTransition, RecordState, is_allowed
from hub import history
from hub.context import HubContext
from hub.history import Note
from hub.records import HUB
from hub.schema.tables import BlankMovement, Card, CardHistory, Record, Site

CardAdvance = Callable[[CardState, CardEvent], CardState]
USED = "used for a card"
GONE = (CardState.DESTROYED, CardState.SPOILED)


@dataclass(frozen=True, slots=True)
class Balance:
    """A place's count. received: blanks that came in; used: blanks used;
    made: cards made there."""

    place: str
    received: int
    used: int
    made: int

    @property
    def left(self) -> int:
        """Blanks that must lie there now."""
        return self.received - self.used

    @property
    def balances(self) -> bool:
        """Whether every used blank became exactly one card, and none came from nowhere."""
        return self.used == self.made and self.left >= 0


class Ledger:
    """Moves cards. Every method runs in the caller's transaction."""

    def __init__(self, context: HubContext, advance: CardAdvance = lifecycle.advance) -> None:
        self._context = context
        self._advance = advance

    def receive_blanks(self, session: Session, place: str, count: int, cause: str, actor: str) -> None:
        """Blanks came to a place (or left it, below zero). Raises RemoteError for a place or count that cannot be."""
        if session.get(Site, place) is None or count == 0 or abs(count) > 1_000_000 or not cause.strip():
            raise RemoteError("Blanks need a known place, a count and a cause.", next_step="Correct the entry.")
        if count < 0 and balance_of(session, place).left + count < 0:
            raise RemoteError("More blanks would leave than lie there.", next_step="Count the stock again.")
        self._move_blanks(session, place, count, cause.strip(), actor)

    def enter(self, session: Session, card: Card, actor: str) -> None:
        """A blank of `card.made_at` was put on the reader: it has a name now."""
        if session.get(Card, card.card_uid) is not None:
            raise RemoteError(
                f"Chip {card.card_uid} is in the ledger already.", next_step="Keep the card; look up where it belongs."
            )
        card.state, card.live = CardState.BLANK, False
        card.made_ms = card.changed_ms = self._context.clock.wall_ms()
        session.add(card)
        self._move_blanks(session, card.made_at, -1, USED, actor)

    def move(self, session: Session, card: Card, event: CardEvent, actor: str = HUB, note: Note | None = None) -> None:
        """Advance a card and append to its history. Raises IllegalTransition."""
        before = CardState(card.state)
        after = self._advance(before, event)
        now = self._context.clock.wall_ms()
        history.append(
            session,
            CardHistory,
            subject=card.card_uid,
            event=event,
            from_state=before,
            to_state=after,
            at_ms=now,
            actor=actor,
            note=note or {},
        )
        card.state, card.changed_ms = after, now
        if after is not CardState.HELD:
            card.live = False
        session.flush()

    def activate(self, session: Session, card: Card) -> None:
        """Make this card the one live card of its NIK; the one before is revoked in the same transaction."""
        record = session.get(Record, card.capture_id)
        if card.state != CardState.HELD or card.recalled or record is None or record.state != RecordState.CARD_ISSUED:
            raise _refused(card, "only a card that was handed over, of a record that is CARD_ISSUED, goes live (M51)")
        session.execute(
            update(Card)
            .where(Card.nik_digest == card.nik_digest, Card.card_uid != card.card_uid, Card.live.is_(True))
            .values(live=False)
        )
        card.live = True
        try:
            session.flush()
        except IntegrityError:
            raise _refused(card, "another card of this NIK is live") from None

    def revoke(self, session: Session, card: Card) -> None:
        """The chip is no longer valid, wherever the card is, and must come back."""
        card.live, card.recalled = False, True
        session.flush()

    def _move_blanks(self, session: Session, place: str, count: int, cause: str, actor: str) -> None:
        now = self._context.clock.wall_ms()
        session.add(BlankMovement(place=place, count=count, cause=cause, actor=actor, at_ms=now))
        session.flush()


def cards_of(session: Session, capture_id: str) -> list[Card]:
    """All cards ever made of a capture, oldest first."""
    return list(session.scalars(select(Card).where(Card.capture_id == capture_id).order_by(Card.made_ms)))


def card_known(session: Session, card_uid: str) -> Card:
    """A card by its chip. Raises RemoteError for one the ledger does not have."""
    card = session.get(Card, card_uid, with_for_update=True)
    if card is None:
        raise RemoteError(
            f"No card with chip {card_uid} is in the ledger.",
            next_step="Keep the card back and report it to the centre.",
        )
    return card


def balance_of(session: Session, place: str) -> Balance:
    """The count of blanks and cards of one place."""
    at_place = BlankMovement.place == place
    received = session.scalar(select(func.sum(BlankMovement.count)).where(at_place, BlankMovement.cause != USED))
    used = session.scalar(select(func.sum(BlankMovement.count)).where(at_place, BlankMovement.cause == USED))
    made = session.scalar(select(func.count()).select_from(Card).where(Card.made_at == place))
    return Balance(place, received=int(received or 0), used=-int(used or 0), made=made or 0)


def balances(session: Session) -> list[Balance]:
    """Every place's count, by its code."""
    return [balance_of(session, site) for site in session.scalars(select(Site.code).order_by(Site.code))]


def is_open(card: Card) -> bool:
    """Whether a card still exists somewhere and could be handed over or come back."""
    return CardState(card.state) not in GONE


def may(card: Card, event: CardEvent) -> bool:
    """Whether the table allows this event now."""
    return is_allowed(CardState(card.state), event)


def _refused(card: Card, why: str) -> IllegalTransition:
    return IllegalTransition(
        f"Chip {card.card_uid} stays as it is: {why}.", next_step="Nothing was changed. Look at the card's history."
    )
