"""A new operator is taken with their own fingers, once, and with an officer's word; nothing stays behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from contract.packet import OperatorBody, PacketKind
from contract.sample import FingerPosition
from contract.secret import secret_matches
from edge import operator_enrolment, sign_on
from tests.unit.edge_fakes import (
    CARD_UID,
    HEAD,
    OPERATOR,
    chip,
)
from tests.unit.officer_fakes import PIN, RECORD, WORK, Answer, Unit, desk_of_fakes, head, siti


@pytest.fixture
async def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Unit]:
    monkeypatch.setattr(sign_on, "PIN_COST", 2)
    async with desk_of_fakes(tmp_path) as made:
        yield made


async def enrol(unit: Unit, person: str = "rina", **changes: Any) -> Answer:
    """The head begins, and the person in front of the unit is `person`."""
    if await unit.on_duty() != HEAD:
        unit.roster(siti(), head())
        assert (await unit.identify(HEAD))["step"] == "signed_on"
    unit.bench.sensors.person = person
    fields = {"operator": "op-rina", "name": "Rina Contoh", "roles": ["operator"], **changes}
    return await unit.post(f"{WORK}/enrol", **fields)


async def test_a_new_operator_is_taken_with_two_fingers_and_sealed(unit: Unit) -> None:
    found = await enrol(unit)
    assert found["ask"]["position"] == 2 and found["who"] == "Rina Contoh"
    assert (await unit.post(f"{WORK}/capture"))["ask"]["position"] == 7
    assert (await unit.post(f"{WORK}/capture"))["actions"] == ["with_pin", "with_card", "without", "cancel"]
    await unit.post(f"{WORK}/with_pin")
    assert (await unit.post(f"{WORK}/pin", pin=PIN, again=PIN))["step"] == "sign_off"
    assert (await unit.post(f"{WORK}/capture"))["advice_id"] and unit.bench.keeper.kept == []
    unit.bench.sensors.person = HEAD
    done = await unit.post(f"{WORK}/capture")
    assert done["step"] == "enrolled" and done["result"]["receipt"] is None
    ((kind, _, body),) = unit.bench.keeper.kept
    assert kind is PacketKind.OPERATOR and isinstance(body, OperatorBody)
    assert body.templates == {2: b"rina/2", 7: b"rina/7"} and secret_matches(PIN, body.pin)
    assert body.signoff is not None and body.signoff.operator == HEAD
    assert "op-rina" not in {officer["operator"] for officer in await unit.get("/api/officers")}
    assert unit.officers.work.context.taken == {}  # type: ignore[union-attr]


async def test_who_is_an_operator_already_is_not_taken_as_another(unit: Unit) -> None:
    await enrol(unit, person=OPERATOR)
    assert (await unit.post(f"{WORK}/capture"))["problem"]["message"].startswith("These fingers belong")
    await unit.post(f"{WORK}/cancel")
    unit.bench.sensors.person = HEAD
    unit.roster(siti(), head())
    await unit.identify(HEAD)
    again = await enrol(unit, person=OPERATOR, operator=OPERATOR)  # taken anew, as themselves
    assert again["step"] == "fingers" and (await unit.post(f"{WORK}/capture"))["ask"]["position"] == 7


async def test_one_finger_is_not_taken_for_two_and_another_may_be_given(unit: Unit) -> None:
    await enrol(unit)
    await unit.post(f"{WORK}/capture")
    unit.bench.sensors.fingers = {FingerPosition.LEFT_INDEX: ("rina", 2)}
    assert (await unit.post(f"{WORK}/capture"))["advice_id"]
    other = await unit.post(f"{WORK}/other")
    assert other["ask"]["position"] == 1
    unit.bench.sensors.quality = 5
    assert (await unit.post(f"{WORK}/capture"))["advice_id"]
    unit.bench.sensors.quality = 80
    assert (await unit.post(f"{WORK}/capture"))["step"] == "factor"


async def test_a_card_is_bound_to_the_fingers_on_its_chip(unit: Unit) -> None:
    await enrol(unit)
    for action in ("capture", "capture", "with_card"):
        found = await unit.post(f"{WORK}/{action}")
    unit.proof.content = chip(person="sari")
    assert (await unit.post(f"{WORK}/card"))["advice_id"]
    unit.proof.content = chip(person="rina")
    found = await unit.post(f"{WORK}/card")
    unit.bench.sensors.person = HEAD
    await unit.post(f"{WORK}/capture")
    assert found["step"] == "sign_off" and unit.bench.keeper.kept[-1][2].card_uid == CARD_UID  # type: ignore[union-attr]


async def test_only_a_head_enrols_and_only_roles_of_units(unit: Unit) -> None:
    fields: dict[str, Any] = {"operator": "op-rina", "name": "Rina Contoh", "roles": ["operator"]}
    assert (await unit.post(f"{WORK}/enrol", **fields))["code"] == "SIGN_ON_FIRST"
    await unit.identify()
    assert (await unit.post(f"{WORK}/enrol", **fields))["code"] == "SIGN_ON_FIRST"
    for changes in ({"roles": ["adjudicator"]}, {"operator": HEAD}, {"roles": []}, {"name": "x"}, {"operator": "a b"}):
        assert (await enrol(unit, **changes))["code"] == "INVALID"


async def test_nobody_is_enrolled_whom_no_unit_of_the_site_could_hold(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit.roster(siti(), head())
    await unit.identify(HEAD)
    monkeypatch.setattr(operator_enrolment, "OPERATORS_MAX", 2)
    full = await enrol(unit)
    assert full["code"] == "ROSTER_FULL" and "mencabut" in full["next_step"]
    assert (await enrol(unit, operator=OPERATOR))["step"] == "fingers"  # anew: one as before


async def test_an_enrolment_leaves_nothing_behind_when_cancelled(unit: Unit) -> None:
    await enrol(unit)
    await unit.post(f"{WORK}/capture")
    assert (await unit.capture())["code"] in {"BUSY", "OPERATOR_UNKNOWN"} and not unit.desk.is_free
    assert (await unit.post(f"{WORK}/cancel"))["step"] == "cancelled"
    assert unit.bench.keeper.kept == [] and unit.officers.work.context.taken == {}  # type: ignore[union-attr]
    assert unit.desk.is_free


async def test_a_policy_that_asks_for_more_offers_no_way_without(unit: Unit) -> None:
    unit.roster(siti(), head(pin=RECORD), sign_on="finger+pin")
    await unit.identify(HEAD)
    await unit.post(f"{WORK}/pin", pin=PIN)
    await enrol(unit)
    await unit.post(f"{WORK}/capture")
    assert "without" not in (await unit.post(f"{WORK}/capture"))["actions"]
