"""An operator's second factors at rest, and how a PIN changes (M67): by the operator, or reset by two officers.

A reset takes the old PIN at once wherever it is heard, and gives nothing but time: within it the operator makes a new
PIN at a unit, with their own finger. Functions run in the caller's transaction.
"""

from __future__ import annotations

from typing import Literal

import cbor2

from contract.packet import CardUid, Model, PinBody
from contract.pins import PinState, settle
from contract.secret import SecretHash
from hub.context import HubContext
from hub.schema.tables import Operator


class Factors(Model):
    """PIN (its record), identity card and the PIN's state; empty for none."""

    pin: SecretHash = ""
    card_uid: CardUid | None = None
    pin_state: PinState = PinState()

    @property
    def awaits_pin(self) -> bool:
        """Whether the PIN was reset, and no new one has come."""
        return not self.pin and self.pin_state.set_by_ms > 0


def factors_of(context: HubContext, operator: Operator) -> Factors:
    """What an operator shows besides the finger."""
    if operator.second_factor is None:
        return Factors()
    content = context.vault.unlock(operator.second_factor, "operator-factor", operator.id)
    return Factors.model_validate(cbor2.loads(content), strict=False)


def enrol(context: HubContext, operator: Operator, pin: str, card_uid: str | None, *, anew: bool) -> None:
    """Keep the factors of an approved enrolment. anew: every earlier PIN is void, also where it is changed later."""
    state = _next_epoch(context, operator) if anew else PinState()
    _keep(context, operator, Factors(pin=pin, card_uid=card_uid, pin_state=state))


def change_pin(context: HubContext, operator: Operator, body: PinBody) -> Literal["PIN changed", "PIN superseded"]:
    """Take a change of the PIN where it is the later one; units hear either way which one stands."""
    known = factors_of(context, operator)
    pin, state = settle(known.pin, known.pin_state, body.pin, body.order, context.clock.wall_ms())
    _keep(context, operator, known.model_copy(update={"pin": pin, "pin_state": state}))
    return "PIN changed" if pin == body.pin else "PIN superseded"


def reset_pin(context: HubContext, operator: Operator, set_by_ms: int) -> None:
    """Void the PIN; a new one may be made until then."""
    state = _next_epoch(context, operator).model_copy(update={"set_by_ms": set_by_ms})
    known = factors_of(context, operator)
    _keep(context, operator, known.model_copy(update={"pin": "", "pin_state": state}))


def _next_epoch(context: HubContext, operator: Operator) -> PinState:
    """The state that begins now; the PIN that stood loses."""
    known = factors_of(context, operator)
    state = known.pin_state.without(known.pin) if known.pin else known.pin_state
    changed_ms = max(context.clock.wall_ms(), state.changed_ms + 1)
    return PinState(epoch=state.epoch + 1, changed_ms=changed_ms, superseded=state.superseded)


def _keep(context: HubContext, operator: Operator, factors: Factors) -> None:
    operator.second_factor = context.vault.lock(cbor2.dumps(factors.model_dump()), "operator-factor", operator.id)
