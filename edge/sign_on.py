"""Signing on at a unit (M67): the finger, then PIN or card where one is asked; and what an officer does there besides.

One officer is signed on at a time. It ends by signing off, after a shift or a while without work, when the lease ends,
when the hub takes the right, and with the agent: it lives in memory. An officer who changes their PIN, or lifts
another's lock, goes through the same steps.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from contract.identifiers import uuid7
from contract.packet import PacketKind, PinBody
from contract.secret import PIN_COST, SALT_BYTES, hash_secret, is_weak_pin
from edge.capture_state import Services
from edge.eligibility import Refusal
from edge.officer import OfficerMatch, identify_officer, sign_off
from edge.ports import CardProof
from edge.procedure import Action, Advice, Fields, Procedure, Refused, Retry, Row
from edge.prompts import (
    OTHER_PIN,
    PIN_SUPERSEDED,
    PIN_WAS_RESET,
    RETRY_CARD,
    RETRY_FINGER,
    WEAK_PIN,
    WRONG_CARD,
    pin_wrong,
)
from edge.roster import Officer
from edge.second_factor import Factor, FactorBook, factor_of

HEAD_ROLES = ("section-head", "dc-officer")


class Purpose(StrEnum):
    """Why an officer identifies themselves."""

    SIGN_ON = "sign-on"
    NEW_PIN = "new-pin"
    UNLOCK = "unlock"


@dataclass(slots=True)
class SignOn:
    """One officer on the way in. subject: whose lock is lifted, with that purpose; was_reset: a PIN has to be made."""

    services: Services
    factors: FactorBook
    card: CardProof | None
    officer: Officer
    factor: Factor
    purpose: Purpose
    subject: Officer | None = None
    was_reset: bool = False
    match: OfficerMatch | None = None

    @property
    def notice(self) -> Advice | None:
        """What the officer has to know of their PIN before they begin."""
        if self.was_reset:
            return PIN_WAS_RESET
        return PIN_SUPERSEDED if self.factors.is_superseded(self.officer.entry) else None

    def forget(self) -> None:
        """Drop what was proven."""
        self.match = None


async def take_finger(work: SignOn, fields: Fields) -> str:
    """The officer's finger against the roster."""
    try:
        work.match = await identify_officer(work.services, work.officer, fields)
    except Retry:
        await asyncio.to_thread(work.factors.note_failed, work.officer.operator)
        raise
    return await _proven(work) if work.factor is Factor.NONE else work.factor.value


async def take_pin(work: SignOn, fields: Fields) -> str:
    """The officer's PIN; a wrong one counts, a right one lets in."""
    if not await asyncio.to_thread(work.factors.check_pin, work.officer.entry, fields.get("pin", "")):
        raise Retry(pin_wrong(work.factors.tries_left(work.officer.entry), work.notice))
    return await _proven(work)


async def take_card(work: SignOn, _fields: Fields) -> str:
    """The officer's own e-KTP: chip and unit authenticate each other, so that a copied UID is no card."""
    if work.card is None:
        raise Refused(Refusal.SECOND_FACTOR)
    if await work.card.uid() != work.officer.entry.card_uid:
        await asyncio.to_thread(work.factors.note_failed, work.officer.operator)
        raise Retry(WRONG_CARD)
    return await _proven(work)


async def choose_pin(work: SignOn, fields: Fields) -> str:
    """A new PIN: good here at once, and at the other units when the hub has told them."""
    if work.match is None:
        return "finger"
    record = await pin_record(fields)
    order = work.factors.order_of(work.officer.entry)
    body = PinBody(operator=work.officer.operator, pin=record, order=order)
    body = body.model_copy(update={"signoff": sign_off(work.match, body.digest())})
    await work.services.keeper.keep(PacketKind.PIN, uuid7(work.services.clock), body)
    await asyncio.to_thread(work.factors.set_pin, work.officer.entry, record, order)
    if work.purpose is not Purpose.SIGN_ON:
        return "pin_changed"
    await asyncio.to_thread(work.factors.note_signed_on, work.officer.operator)
    return "signed_on"


async def pin_record(fields: Fields) -> str:
    """What is kept of a PIN that was given twice. Raises Retry for one that is easily guessed, or not the same."""
    pin = fields.get("pin", "")
    if is_weak_pin(pin):
        raise Retry(WEAK_PIN)
    if fields.get("again", "") != pin:
        raise Retry(OTHER_PIN)
    return await asyncio.to_thread(hash_secret, pin, secrets.token_bytes(SALT_BYTES), PIN_COST)


async def finish(_work: SignOn, _fields: Fields) -> str:
    """The screen is free."""
    return "finished"


async def _proven(work: SignOn) -> str:
    if work.purpose is Purpose.NEW_PIN or work.was_reset:
        return "new_pin"
    if work.purpose is Purpose.UNLOCK and work.subject is not None:
        await asyncio.to_thread(work.factors.unlock, work.subject.operator)
        return "unlocked"
    await asyncio.to_thread(work.factors.note_signed_on, work.officer.operator)
    return "signed_on"


SIGN_ON: Mapping[str, Row[SignOn]] = {
    "finger": Row("Sidik jari", "Finger", {"capture": Action(take_finger)}, retry_id=RETRY_FINGER),
    "pin": Row("PIN", "PIN", {"pin": Action(take_pin)}, shown=False),
    "card": Row("Kartu", "Card", {"card": Action(take_card)}, shown=False, retry_id=RETRY_CARD),
    "new_pin": Row("PIN baru", "New PIN", {"pin": Action(choose_pin)}, shown=False),
    "signed_on": Row("Masuk", "Signed on", {"finish": Action(finish)}, ends=True),
    "pin_changed": Row("PIN diganti", "PIN changed", {"finish": Action(finish)}, ends=True, shown=False),
    "unlocked": Row("Kunci dibuka", "Unlocked", {"finish": Action(finish)}, ends=True, shown=False),
    "cancelled": Row("Dibatalkan", "Cancelled", {"finish": Action(finish)}, ends=True, shown=False),
    "finished": Row("Selesai", "Finished", ends=True, shown=False),
}


@dataclass(frozen=True, slots=True)
class _SignedOn:
    officer: str
    since_ms: int


class SignOnDesk:
    """Who is signed on at this unit. Lives on the event loop."""

    def __init__(self, services: Services, factors: FactorBook, card: CardProof | None) -> None:
        self.factors = factors
        self.card = card
        self._services = services
        self._signed_on: _SignedOn | None = None
        self._worked_ms = 0
        self._open: Procedure[SignOn] | None = None

    @property
    def officer(self) -> Officer | None:
        """The officer who is signed on, with the rights of now; None where that has ended."""
        known = self._signed_on
        if known is None:
            return None
        policy, now_ms = self._services.policy, self._services.clock.monotonic_ms()
        is_over = now_ms - known.since_ms >= policy.sign_on_h * 3_600_000
        is_idle = now_ms - self._worked_ms >= policy.sign_on_idle_min * 60_000
        found = self._services.roster.may_work(known.officer)
        if is_over or is_idle or isinstance(found, Refusal):
            self._signed_on = None
            return None
        return found

    @property
    def procedure(self) -> Procedure[SignOn] | None:
        """The sign-on that is under way, or the last one that nobody has closed."""
        return self._open

    def require(self, operator: str, *roles: str) -> Officer:
        """The officer who is signed on, where that is `operator` and holds one of `roles`. Raises Refused."""
        found = self._services.roster.may_work(operator, *roles)
        if isinstance(found, Refusal):
            raise Refused(found)
        officer = self.officer
        if officer is None or officer.operator != operator:
            raise Refused(Refusal.SIGN_ON_FIRST)
        self.touch()
        return officer

    def touch(self) -> None:
        """Work goes on, so the sign-on does."""
        self._worked_ms = self._services.clock.monotonic_ms()

    def sign_off(self) -> None:
        """Nobody is signed on any more."""
        self._signed_on = None

    async def start(self, operator: str, purpose: Purpose, subject: str = "") -> Procedure[SignOn]:
        """Begin to identify an officer. Raises Refused where they may not, or lack what is asked."""
        if self._open is not None and self._open.busy:
            raise Refused(Refusal.BUSY)
        services = self._services
        officer = services.roster.may_work(operator, *(HEAD_ROLES if purpose is Purpose.UNLOCK else ()))
        if isinstance(officer, Refusal):
            await asyncio.to_thread(services.roster.time.keep, at_once=True)  # what has ended stays ended
            raise Refused(officer)
        other = services.roster.officer(subject) if purpose is Purpose.UNLOCK else None
        if purpose is Purpose.UNLOCK and (other is None or other.operator == operator):
            raise Refused(Refusal.OPERATOR_UNKNOWN, "Another officer than the locked one lifts the lock.")
        was_reset = await self._must_choose(officer, purpose)
        factor = self._factor(officer, has_none=purpose is Purpose.NEW_PIN or was_reset)
        if factor is Factor.PIN:
            self.factors.check_open(officer.entry)
        work = SignOn(services, self.factors, self.card, officer, factor, purpose, other, was_reset)
        self._open = Procedure(
            SIGN_ON, "finger", work, services.clock, cancel_devices=self._cancel_devices, forget=SignOn.forget
        )
        self._open.on_step = self._on_step
        return self._open

    async def _must_choose(self, officer: Officer, purpose: Purpose) -> bool:
        """Whether the PIN was reset, so that a new one is made now. Raises Refused where the time for that is over."""
        left_ms = self.factors.left_to_choose_ms(officer.entry)
        reads_own_card = officer.entry.card_uid is not None and self.card is not None
        if left_ms == 0 and (purpose is Purpose.NEW_PIN or not reads_own_card):
            await asyncio.to_thread(self._services.roster.time.keep, at_once=True)  # what has ended stays ended
            raise Refused(Refusal.PIN_RESET_ENDED)
        return bool(left_ms) and purpose is not Purpose.UNLOCK

    def _factor(self, officer: Officer, *, has_none: bool) -> Factor:
        """What is asked besides the finger. has_none: where there is no PIN, a new one is about to be made."""
        entry = officer.entry.model_copy(update={"pin": self.factors.pin_of(officer.entry)})
        if has_none and not entry.pin:  # there is nothing yet to ask for
            return Factor.CARD if entry.card_uid is not None and self.card is not None else Factor.NONE
        return factor_of(self._services.roster.sign_on, entry, reads_cards=self.card is not None)

    def close(self) -> None:
        """Nobody looks at the last sign-on any more."""
        self._open = None

    def _on_step(self, step: str) -> None:
        if step == "signed_on" and self._open is not None:
            self.touch()
            self._signed_on = _SignedOn(self._open.context.officer.operator, self._worked_ms)

    def _cancel_devices(self) -> None:
        self._services.sensors.cancel()
        if self.card is not None:
            self.card.cancel()
