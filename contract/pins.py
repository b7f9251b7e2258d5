"""Which PIN of an operator stands where units that cannot hear of each other change it, or where it is reset (M67).

A change says when it was made, by the unit's trusted time and always later than the change that was known there; the
later one stands, in whatever order they arrive. A reset, and an enrolment anew, begin an epoch: what was changed with a
PIN of an earlier epoch is void, however late it was. Unit and hub use this one rule; the hub's word ends all doubt.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import Field

from contract.packet import Digest, Millis, Model, PinOrder

CLOCK_SLACK_MS = 300_000
SUPERSEDED_MAX = 8


class PinState(Model):
    """What the hub says of an operator's PIN, beside the PIN's record.

    epoch: resets and enrolments anew so far; changed_ms: when the PIN that stands was made; set_by_ms: until when a
    PIN may be made after a reset, 0 where the epoch did not begin with one; superseded: `pin_digest` of the latest
    records that lost against another.
    """

    epoch: Annotated[int, Field(ge=0, le=2**31)] = 0
    changed_ms: Millis = 0
    set_by_ms: Millis = 0
    superseded: Annotated[tuple[Digest, ...], Field(max_length=SUPERSEDED_MAX)] = ()

    def without(self, pin: str) -> PinState:
        """The state once a record has lost."""
        kept = tuple(digest for digest in self.superseded if digest != pin_digest(pin))
        return self.model_copy(update={"superseded": (*kept, pin_digest(pin))[-SUPERSEDED_MAX:]})


def pin_digest(pin: str) -> bytes:
    """SHA-256 of a PIN's record; of nothing where there is none."""
    return hashlib.sha256(pin.encode()).digest()


def takes_over(order: PinOrder, state: PinState) -> bool:
    """Whether a change takes the place of the PIN that stands."""
    makes_the_first = order.replaces == pin_digest("")
    if order.epoch != state.epoch or (makes_the_first and 0 < state.set_by_ms < order.changed_ms):
        return False
    return order.changed_ms > state.changed_ms


def settle(pin: str, state: PinState, changed: str, order: PinOrder | None, now_ms: int) -> tuple[str, PinState]:
    """The PIN and its state once the hub heard of a change. pin, changed: records; now_ms: the hub's time.

    Nobody can have changed a PIN in the future: a unit whose clock runs ahead is believed only where it knew of the PIN
    that stands. A unit that names no order is believed where nobody else has named one.
    """
    if order is None:
        return (changed, state) if state == PinState() else (pin, state.without(changed))
    if order.changed_ms > now_ms + CLOCK_SLACK_MS:
        is_on_top = order.replaces == pin_digest(pin)
        order = order.model_copy(update={"changed_ms": max(now_ms, state.changed_ms + 1) if is_on_top else 0})
    if not takes_over(order, state):
        return pin, state if changed == pin else state.without(changed)
    lost = state.without(pin) if pin and order.replaces != pin_digest(pin) else state
    return changed, lost.model_copy(update={"changed_ms": order.changed_ms})
