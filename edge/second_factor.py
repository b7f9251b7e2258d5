"""What an operator shows besides the finger (M67): which factor is asked, the PIN's tries, and what the hub is told.

A try counts, durably, before it is compared: neither a restart nor a power cut gives one back, and a clock that is set
back shortens no wait (edge.trusted_time). After too many in a row the PIN is locked until another officer lifts it, or
the hub sends another PIN. A PIN that was changed here is good here before the hub's roster brings it, until it turns
out that another change was later, or the PIN was reset (contract.pins).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import StrEnum

from contract.dispatch import decode_kept, encode
from contract.operators import OPERATORS_MAX, OperatorEntry, SignOnCount, SignOnPolicy, SignOns
from contract.packet import Millis, Model, Name, PinOrder
from contract.pins import pin_digest, takes_over
from contract.secret import SecretHash, secret_matches
from edge.eligibility import Refusal
from edge.procedure import Refused
from edge.sealed_store import Change, SealedStore
from edge.trusted_time import TrustedTime

TALLY, OWN_PIN = "sign-on", "own-pin"
FREE_TRIES, TRIES_MAX = 3, 8
FIRST_WAIT_MS = 30_000
PUT_BACK_MS = 3_600_000  # more than a lost mark of the time explains: the clock that set a wait ran ahead
VALUE_BYTES_MAX = 2048


class Factor(StrEnum):
    """The second thing that is asked for."""

    NONE = "none"
    PIN = "pin"
    CARD = "card"


class Tally(Model):
    """One operator's sign-ons on this unit. failed: all of them, ever; in_a_row: wrong PINs since the last right one.

    of_pin: the PIN's record that in_a_row counts for: another PIN begins anew.
    """

    operator: Name
    last_ms: Millis = 0
    signed_on: int = 0
    failed: int = 0
    in_a_row: int = 0
    wait_until_ms: Millis = 0
    of_pin: SecretHash = ""

    @property
    def locked(self) -> bool:
        """Whether no PIN is taken any more."""
        return self.in_a_row >= TRIES_MAX


class OwnPin(Model):
    """A PIN that was changed at this unit.

    replaces: the roster's record then; order: as the hub is told it, None from before changes had one.
    """

    replaces: SecretHash
    pin: SecretHash
    order: PinOrder | None = None

    def stands(self, entry: OperatorEntry) -> bool:
        """Whether it is good still: nothing changed since in the roster, or what did is from before this."""
        state = entry.pin_stands
        if pin_digest(self.pin) in state.superseded or (self.order is not None and self.order.epoch != state.epoch):
            return False
        return self.replaces == entry.pin or (self.order is not None and takes_over(self.order, state))


def factor_of(policy: SignOnPolicy, entry: OperatorEntry, *, reads_cards: bool) -> Factor:
    """What this operator shows besides the finger. Raises Refused where they lack what is asked.

    An operator who has a second factor shows it everywhere; a site may ask it of everybody. A card is asked where the
    unit can read one, and the PIN elsewhere.
    """
    has_card = entry.card_uid is not None and reads_cards
    is_reset = entry.pin_stands.set_by_ms > 0
    if policy is SignOnPolicy.FINGER and not entry.pin and entry.card_uid is None and not is_reset:
        return Factor.NONE
    if has_card and (policy is not SignOnPolicy.FINGER_AND_PIN or not entry.pin):
        return Factor.CARD
    if entry.pin and not (policy is SignOnPolicy.FINGER_AND_CARD and reads_cards):
        return Factor.PIN
    raise Refused(Refusal.PIN_RESET if is_reset and not entry.pin else Refusal.SECOND_FACTOR)


class FactorBook:
    """Tries and PINs at rest. Thread-safe; every method that writes blocks: call it off the event loop."""

    def __init__(self, store: SealedStore, time: TrustedTime) -> None:
        self._store = store
        self._time = time
        self._lock = threading.Lock()
        self._tallies = {name: decode_kept(Tally, value, VALUE_BYTES_MAX) for name, value in store.items(TALLY)}
        self._own = {name: decode_kept(OwnPin, value, VALUE_BYTES_MAX) for name, value in store.items(OWN_PIN)}
        self.on_change: Callable[[], None] = lambda: None

    def pin_of(self, entry: OperatorEntry) -> str:
        """The record of the PIN that is good here now, or ''."""
        own = self._own.get(entry.operator)
        return own.pin if own is not None and own.stands(entry) else entry.pin

    def is_superseded(self, entry: OperatorEntry) -> bool:
        """Whether a PIN that was changed here lost against another, and the officer has not shown that one yet."""
        own = self._own.get(entry.operator)
        return own is not None and own.pin != entry.pin and not own.stands(entry)

    def order_of(self, entry: OperatorEntry) -> PinOrder:
        """The order of a change that is made now: later than every change that this unit knows of."""
        state, own = entry.pin_stands, self._own.get(entry.operator)
        known_ms = own.order.changed_ms if own is not None and own.order is not None and own.stands(entry) else 0
        changed_ms = max(self._time.now_ms(), state.changed_ms + 1, known_ms + 1)
        return PinOrder(epoch=state.epoch, replaces=pin_digest(self.pin_of(entry)), changed_ms=changed_ms)

    def left_to_choose_ms(self, entry: OperatorEntry) -> int | None:
        """How long a new PIN may still be made after a reset; None where none has to be."""
        until_ms = entry.pin_stands.set_by_ms
        return max(0, until_ms - self._time.now_ms()) if until_ms and not self.pin_of(entry) else None

    def check_pin(self, entry: OperatorEntry, pin: str) -> bool:
        """Compare a PIN. Raises Refused where it has to wait, or is locked."""
        stored = self.pin_of(entry)
        with self._lock:
            tally = self._tally(entry.operator, stored)
            self._refuse_now(tally)
            tries = tally.in_a_row + 1
            wait_ms = _wait_ms(tries)
            until_ms = self._time.now_ms() + wait_ms if wait_ms else 0
            self._write(tally, in_a_row=tries, failed=tally.failed + 1, wait_until_ms=until_ms, of_pin=stored)
        if not secret_matches(pin, stored):
            self.on_change()
            return False
        with self._lock:
            self._write(tally, in_a_row=0, wait_until_ms=0, of_pin=stored)
        if self.is_superseded(entry):  # told, and understood
            self._store.remove(OWN_PIN, entry.operator)
            self._own.pop(entry.operator, None)
        return True

    def check_open(self, entry: OperatorEntry) -> None:
        """Raise Refused where no PIN is taken now: it has to wait, or is locked."""
        with self._lock:
            self._refuse_now(self._tally(entry.operator, self.pin_of(entry)))

    def tries_left(self, entry: OperatorEntry) -> int:
        """How many wrong PINs are left until it is locked."""
        return TRIES_MAX - self._tally(entry.operator, self.pin_of(entry)).in_a_row

    def note_failed(self, operator: str) -> None:
        """A finger or a card that was not the operator's."""
        with self._lock:
            tally = self._tallies.get(operator) or Tally(operator=operator)
            self._write(tally, failed=tally.failed + 1)
        self.on_change()

    def note_signed_on(self, operator: str) -> None:
        """The operator is at work."""
        with self._lock:
            tally = self._tallies.get(operator) or Tally(operator=operator)
            self._write(tally, signed_on=tally.signed_on + 1, last_ms=self._time.now_ms())
        self.on_change()

    def unlock(self, operator: str) -> None:
        """Another officer lifts the lock."""
        with self._lock:
            tally = self._tallies.get(operator)
            if tally is not None:
                self._write(tally, in_a_row=0, wait_until_ms=0)
        self.on_change()

    def is_locked(self, entry: OperatorEntry) -> bool:
        """Whether no PIN of this operator is taken any more."""
        return self._tally(entry.operator, self.pin_of(entry)).locked

    def set_pin(self, entry: OperatorEntry, pin: str, order: PinOrder) -> None:
        """Keep a PIN that was changed here. pin: its record."""
        own = OwnPin(replaces=entry.pin, pin=pin, order=order)
        self._store.change((Change(OWN_PIN, entry.operator, encode(own)),))
        self._own[entry.operator] = own

    def report(self) -> SignOns:
        """The counts, for the hub; of the latest operators, where more than it takes have ever stood here."""
        shared = ("operator", "last_ms", "signed_on", "failed", "locked")
        latest = sorted(self._tallies.values(), key=lambda tally: tally.last_ms, reverse=True)[:OPERATORS_MAX]
        counts = [SignOnCount(**{name: getattr(tally, name) for name in shared}) for tally in latest]
        return SignOns(counts=tuple(sorted(counts, key=lambda count: count.operator)))

    def _tally(self, operator: str, pin: str) -> Tally:
        tally = self._tallies.get(operator) or Tally(operator=operator)
        return tally if tally.of_pin == pin else tally.model_copy(update={"in_a_row": 0, "wait_until_ms": 0})

    def _refuse_now(self, tally: Tally) -> None:
        if tally.locked:
            raise Refused(Refusal.PIN_LOCKED)
        left_ms = tally.wait_until_ms - self._time.now_ms()
        if 0 < left_ms <= _wait_ms(tally.in_a_row) + PUT_BACK_MS:
            raise Refused(Refusal.PIN_WAITS)

    def _write(self, tally: Tally, **changes: object) -> None:
        written = tally.model_copy(update=changes)
        self._store.put(TALLY, tally.operator, encode(written))
        self._tallies[tally.operator] = written


def _wait_ms(tries: int) -> int:
    """How long the PIN waits after so many wrong ones in a row."""
    return FIRST_WAIT_MS << (tries - FREE_TRIES) if tries >= FREE_TRIES else 0
