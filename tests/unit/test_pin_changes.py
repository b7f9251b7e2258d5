"""A PIN that was changed at a unit, or reset by the centre: what the unit takes, and what it tells the officer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contract.dispatch import encode
from contract.operators import OperatorEntry
from contract.packet import PinBody
from contract.pins import PinState, pin_digest
from contract.secret import hash_secret
from edge import sign_on
from edge.eligibility import Refusal
from edge.procedure import Refused, Retry
from edge.second_factor import OWN_PIN, TRIES_MAX, OwnPin
from edge.station import RosterOfficers
from tests.unit.edge_fakes import CARD_UID, HEAD, OPERATOR
from tests.unit.officer_fakes import HOUR_MS, OTHER, PIN, RECORD, WORK, Answer, Unit, desk_of_fakes, head, siti

THEIRS = "560218"
THEIR_RECORD = hash_secret(THEIRS, bytes(16), 2)


@pytest.fixture
async def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Unit]:
    monkeypatch.setattr(sign_on, "PIN_COST", 2)
    async with desk_of_fakes(tmp_path) as made:
        made.roster(siti(pin=RECORD), head())
        yield made


async def change(unit: Unit, old: str = PIN, new: str = OTHER) -> PinBody:
    """The officer changes the PIN here; what the hub will be told."""
    await unit.identify(purpose="new-pin")
    await unit.post(f"{WORK}/pin", pin=old)
    assert (await unit.post(f"{WORK}/pin", pin=new, again=new))["step"] == "pin_changed"
    body = unit.bench.keeper.kept[-1][2]
    assert isinstance(body, PinBody)
    return body


async def enter(unit: Unit, pin: str) -> Answer:
    await unit.identify()
    return await unit.post(f"{WORK}/pin", pin=pin)


async def test_a_change_says_when_and_on_top_of_what(unit: Unit) -> None:
    first = (await change(unit)).order
    second = (await change(unit, OTHER, THEIRS)).order
    assert first is not None and second is not None
    assert (first.epoch, first.replaces) == (0, pin_digest(RECORD))
    assert first.changed_ms == unit.bench.roster.time.now_ms()
    assert second.changed_ms > first.changed_ms  # though no time has passed
    unit.roster(siti(pin=THEIR_RECORD, pin_state=PinState(changed_ms=second.changed_ms + 5 * HOUR_MS)))
    third = (await change(unit, THEIRS, PIN)).order
    assert third is not None and third.changed_ms > second.changed_ms + 5 * HOUR_MS  # whatever the clock here says
    unit.start()
    assert (await enter(unit, PIN))["step"] == "signed_on"


async def test_a_later_change_elsewhere_takes_over_and_the_officer_is_told_until_they_know(unit: Unit) -> None:
    body = await change(unit)
    assert body.order is not None
    unit.roster(siti(pin=THEIR_RECORD, pin_state=PinState(changed_ms=body.order.changed_ms + 1)))
    begun = await unit.identify()
    assert begun["step"] == "pin" and "diganti di tempat lain" in begun["notice_id"]
    wrong = await unit.post(f"{WORK}/pin", pin=OTHER)
    assert wrong["step"] == "pin" and "diganti di tempat lain" in wrong["advice_id"] and "7" in wrong["advice_id"]
    unit.start()
    assert "void" in (await unit.identify())["notice_en"]
    assert (await unit.post(f"{WORK}/pin", pin=THEIRS))["step"] == "signed_on"
    assert (await unit.identify())["notice_id"] == ""


async def test_an_earlier_change_elsewhere_that_the_hub_heard_first_does_not_take_over(unit: Unit) -> None:
    body = await change(unit)
    assert body.order is not None
    unit.roster(siti(pin=THEIR_RECORD, pin_state=PinState(changed_ms=body.order.changed_ms - 1)))
    assert (await enter(unit, OTHER))["step"] == "signed_on"
    lost = PinState(changed_ms=body.order.changed_ms - 1, superseded=(pin_digest(body.pin),))  # the hub's word
    unit.roster(siti(pin=THEIR_RECORD, pin_state=lost))
    assert "diganti di tempat lain" in (await unit.identify())["notice_id"]


async def test_a_pin_kept_by_an_earlier_version_is_good_until_the_roster_changes(unit: Unit) -> None:
    kept = OwnPin(replaces=RECORD, pin=hash_secret(OTHER, bytes(16), 2))
    unit.bench.store.put(OWN_PIN, OPERATOR, encode(kept))
    unit.start()
    assert (await enter(unit, OTHER))["step"] == "signed_on"
    unit.roster(siti(pin=THEIR_RECORD))
    assert (await enter(unit, THEIRS))["step"] == "signed_on"


# --- reset ---


def reset(unit: Unit, hours: float = 72, **changes: object) -> OperatorEntry:
    """Siti, once two officers have reset her PIN."""
    now_ms = unit.bench.clock.now_ms
    state = PinState(epoch=1, changed_ms=now_ms, set_by_ms=now_ms + int(hours * HOUR_MS))
    return siti(pin="", pin_state=state, **changes)


async def test_after_a_reset_the_old_pin_is_void_and_a_new_one_is_chosen_with_the_own_finger(unit: Unit) -> None:
    await change(unit)  # made here, and unknown to who resets
    for _ in range(TRIES_MAX):
        await unit.post(f"{WORK}/identify", operator=OPERATOR)
        unit.bench.clock.now_ms += HOUR_MS
        unit.factors.check_pin(siti(pin=RECORD), THEIRS)
    assert (await unit.identify())["code"] == "PIN_LOCKED"
    unit.roster(reset(unit), head())
    assert (await unit.identify(person="sari"))["step"] == "finger" and await unit.on_duty() == ""
    begun = await unit.post(f"{WORK}/identify", operator=OPERATOR)
    assert "diatur ulang" in begun["notice_id"]
    assert (await unit.identify())["step"] == "new_pin" and await unit.on_duty() == ""
    assert (await unit.post(f"{WORK}/pin", pin="111111", again="111111"))["step"] == "new_pin"
    assert (await unit.post(f"{WORK}/pin", pin=THEIRS, again=THEIRS))["step"] == "signed_on"
    assert await unit.on_duty() == OPERATOR
    order = unit.bench.keeper.kept[-1][2].order
    assert (order.epoch, order.replaces) == (1, pin_digest(""))
    unit.start()
    assert (await enter(unit, OTHER))["step"] == "pin"
    assert (await unit.post(f"{WORK}/pin", pin=THEIRS))["step"] == "signed_on"


async def test_a_new_pin_is_made_in_time_or_not_at_all(unit: Unit) -> None:
    unit.roster(reset(unit, 1))
    unit.bench.clock.now_ms += HOUR_MS - 1
    assert (await unit.identify())["step"] == "new_pin"
    unit.bench.clock.now_ms += 1
    ended = await unit.identify()
    assert ended["code"] == "PIN_RESET_ENDED" and "mengatur ulang" in ended["next_step"]
    unit.bench.clock.now_ms -= 2 * HOUR_MS  # set back: nothing revives
    assert (await unit.identify(purpose="new-pin"))["code"] == "PIN_RESET_ENDED"


async def test_a_reset_takes_the_pin_alone_not_the_card(unit: Unit) -> None:
    unit.roster(reset(unit, 1, card_uid=CARD_UID))
    assert (await unit.identify())["step"] == "card"
    assert (await unit.post(f"{WORK}/card"))["step"] == "new_pin"
    unit.bench.clock.now_ms += HOUR_MS
    assert (await unit.identify())["step"] == "card"
    assert (await unit.post(f"{WORK}/card"))["step"] == "signed_on"
    unit.start(reads_cards=False)
    assert (await unit.identify())["code"] == "PIN_RESET_ENDED"


async def test_nobody_whose_pin_was_reset_lifts_a_lock_or_starts_a_station_by_the_finger_alone(unit: Unit) -> None:
    now_ms = unit.bench.clock.now_ms
    state = PinState(epoch=1, changed_ms=now_ms, set_by_ms=now_ms + HOUR_MS)
    unit.roster(siti(pin=RECORD), head(pin_state=state))
    assert (await unit.identify(HEAD, purpose="unlock", subject=OPERATOR))["code"] == "PIN_RESET"
    station = RosterOfficers(unit.bench.services, unit.factors, has_scanner=True)
    with pytest.raises(Refused) as caught:
        await station.authorise(HEAD, "section-head", {})
    assert caught.value.refusal is Refusal.PIN_RESET


async def test_a_station_says_too_that_a_pin_has_lost(unit: Unit) -> None:
    body = await change(unit)
    assert body.order is not None
    unit.roster(siti(pin=THEIR_RECORD, pin_state=PinState(changed_ms=body.order.changed_ms + 1)))
    station = RosterOfficers(unit.bench.services, unit.factors, has_scanner=True)
    unit.bench.sensors.person = OPERATOR
    with pytest.raises(Retry) as caught:
        await station.authorise(OPERATOR, "operator", {"pin": OTHER})
    assert "diganti di tempat lain" in caught.value.advice.text_id
    assert await station.authorise(OPERATOR, "operator", {"pin": THEIRS}) == OPERATOR


async def test_a_reset_that_comes_while_a_new_pin_is_chosen_wins(unit: Unit) -> None:
    await unit.identify(purpose="new-pin")
    await unit.post(f"{WORK}/pin", pin=PIN)
    unit.roster(reset(unit))
    assert (await unit.post(f"{WORK}/pin", pin=OTHER, again=OTHER))["step"] == "pin_changed"
    assert unit.bench.keeper.kept[-1][2].order.epoch == 0  # so that the hub knows it is void
    assert (await unit.identify())["step"] == "new_pin"
