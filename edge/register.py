"""What the hub has told this unit, sealed at rest: register extract, notices, site keys, consigned cards.

Beside it stands what this unit knows and the register does not yet: the captures made here. A claim is written before
the packet is spooled and confirmed after it; a claim without a packet is what a power cut leaves, and is dropped at
the next start (M14: nothing captured).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from contract.dispatch import (
    ConsignedCard,
    Notice,
    RegisterEntry,
    RegisterPage,
    SiteKey,
    decode_kept,
    encode,
)
from contract.lifecycle import RecordState
from contract.packet import Model
from edge.sealed_store import Change, SealedStore

M = TypeVar("M", bound=Model)

PAGE, NOTICE, SITE_KEY = "page", "notice", "site-key"
CARD, SETTLED, CLAIM = "card", "settled", "claim"
STORED_BYTES_MAX = 4 * 1024 * 1024


class CardOutcome(StrEnum):
    """What became of a consigned card at this desk; stands against whatever is told of the card again later."""

    HANDED_OVER = "handed over"
    RETAINED = "retained"


@dataclass(frozen=True, slots=True)
class Claim:
    """A capture made on this unit: its NIK, its id, and whether its packet is known to be in the spool."""

    nik: str
    capture_id: str
    confirmed: bool


class Register:
    """The register extract in memory, everything on disk first. Writes block: call them off the event loop."""

    def __init__(self, store: SealedStore, site: str) -> None:
        self._store = store
        self._site = site
        self._pages = self._load(PAGE, RegisterPage)
        self._entries = self._indexed()
        self._notices = self._load(NOTICE, Notice)
        self._keys = {key.epoch: key for key in self._load(SITE_KEY, SiteKey).values()}
        self._cards = self._load(CARD, ConsignedCard)
        self._settled = {uid: CardOutcome(value.decode()) for uid, value in store.items(SETTLED)}
        self._claims = {nik: Claim(nik, value[1:].decode(), value[:1] == b"\x01") for nik, value in store.items(CLAIM)}

    # --- what the hub says ---

    def take_page(self, page: RegisterPage) -> bool:
        """Keep a page of the register extract; False where it is of another site or older than what is there."""
        known = self._pages.get(page.page)
        if page.site != self._site or (known is not None and page.version < known.version):
            return False
        self._store.put(PAGE, page.page, encode(page))
        self._pages[page.page] = page
        self._entries = self._indexed()
        return True

    def take_notice(self, notice: Notice) -> bool:
        """Keep the hub's answer about a capture; False where it is older than what is there."""
        known = self._notices.get(notice.capture_id)
        if known is not None and notice.version < known.version:
            return False
        self._store.put(NOTICE, notice.capture_id, encode(notice))
        self._notices[notice.capture_id] = notice
        return True

    def take_site_key(self, key: SiteKey) -> bool:
        """Keep a site key; False where it is of another site."""
        if key.site != self._site:
            return False
        self._store.put(SITE_KEY, str(key.epoch), encode(key))
        self._keys[key.epoch] = key
        return True

    def take_card(self, card: ConsignedCard) -> None:
        """Keep a consigned card; what was said of the same card before is replaced. What is settled here stands."""
        if card.card_uid in self._settled:
            return
        self._store.put(CARD, card.card_uid, encode(card))
        self._cards[card.card_uid] = card

    def drop_card(self, card_uid: str) -> None:
        """The hub no longer consigns this card here: forget it, but never what became of it at this desk."""
        self._store.remove(CARD, card_uid)
        self._cards.pop(card_uid, None)

    def settle_card(self, card_uid: str, outcome: CardOutcome) -> None:
        """A card was handed over (it leaves the list) or retained (it must not be handed over any more, M47)."""
        self._store.put(SETTLED, card_uid, outcome.encode())
        self._settled[card_uid] = outcome

    # --- what is known ---

    @property
    def site_key(self) -> SiteKey | None:
        """The site key of the newest epoch: the one that seals."""
        return self._keys[max(self._keys)] if self._keys else None

    def site_key_of(self, epoch: int) -> SiteKey | None:
        """The site key of an epoch, for opening."""
        return self._keys.get(epoch)

    def entry(self, nik: str) -> RegisterEntry | None:
        """One resident of the extract, with the newest status that the hub has told."""
        found = self._entries.get(nik)
        if found is None:
            return None
        if found.status is not RecordState.UNREGISTERED:
            return found
        claim = self._claims.get(nik)
        told = [
            notice
            for notice in self._notices.values()
            if notice.nik == nik
            and notice.cleared_of is None
            and (claim is None or notice.capture_id == claim.capture_id)
        ]
        if told:
            return found.model_copy(update={"status": max(told, key=lambda notice: notice.at_ms).status})
        return found if claim is None else found.model_copy(update={"status": RecordState.PROCESSING})

    def entries(self, limit: int) -> list[RegisterEntry]:
        """Up to `limit` residents of the extract, by NIK."""
        return [entry for nik in sorted(self._entries)[:limit] if (entry := self.entry(nik)) is not None]

    def notices(self) -> list[Notice]:
        """The hub's answers, newest first."""
        return sorted(self._notices.values(), key=lambda notice: notice.at_ms, reverse=True)

    def is_freed(self, capture_id: str) -> bool:
        """Whether the hub has said the tombstone of this capture (M23)."""
        notice = self._notices.get(capture_id)
        return notice is not None and notice.frees

    def cleared(self, nik: str) -> dict[str, str]:
        """Captures that adjudicators found to be other persons than this resident, with the appeal's id (M15)."""
        return {
            notice.cleared_of: notice.capture_id
            for notice in self._notices.values()
            if notice.nik == nik and notice.cleared_of is not None
        }

    def cards(self) -> list[ConsignedCard]:
        """The cards that lie at this desk, by name; a retained one counts as withdrawn."""
        here = [
            card.model_copy(update={"withdrawn": True}) if card.card_uid in self._settled else card
            for card in self._cards.values()
            if self._settled.get(card.card_uid) is not CardOutcome.HANDED_OVER
        ]
        return sorted(here, key=lambda card: card.name)

    def card(self, *, nik: str = "", card_uid: str = "") -> ConsignedCard | None:
        """The card of a NIK or with a chip's UID at this desk; one that is not withdrawn goes first."""
        found = [card for card in self.cards() if card.card_uid == card_uid or (nik and card.nik == nik)]
        return min(found, key=lambda card: card.withdrawn, default=None)

    # --- captures of this unit ---

    def claim_of(self, nik: str) -> Claim | None:
        """The capture made here for a NIK, where there is one."""
        return self._claims.get(nik)

    def claim_change(self, claim: Claim) -> Change:
        """The write that makes a claim durable, to be joined with others in one transaction."""
        return Change(CLAIM, claim.nik, bytes((claim.confirmed,)) + claim.capture_id.encode())

    def keep_claim(self, claim: Claim) -> None:
        """Write a claim and know it."""
        self._store.change((self.claim_change(claim),))
        self.know_claim(claim)

    def know_claim(self, claim: Claim) -> None:
        """Know a claim whose change has been written."""
        self._claims[claim.nik] = claim

    def drop_claim(self, capture_id: str) -> None:
        """Forget a claim."""
        for claim in [claim for claim in self._claims.values() if claim.capture_id == capture_id]:
            self._store.remove(CLAIM, claim.nik)
            del self._claims[claim.nik]

    def reconcile_claims(self, is_spooled: Callable[[str], bool]) -> list[str]:
        """Settle what a power cut left open: confirm a claim whose packet is there, drop the others; their ids."""
        dropped = []
        for claim in [claim for claim in self._claims.values() if not claim.confirmed]:
            if is_spooled(claim.capture_id):
                self.keep_claim(Claim(claim.nik, claim.capture_id, confirmed=True))
            else:
                self.drop_claim(claim.capture_id)
                dropped.append(claim.capture_id)
        return dropped

    def _load(self, kind: str, model: type[M]) -> dict[str, M]:
        return {name: decode_kept(model, value, STORED_BYTES_MAX) for name, value in self._store.items(kind)}

    def _indexed(self) -> dict[str, RegisterEntry]:
        return {entry.biodata.nik: entry for page in self._pages.values() for entry in page.entries}
