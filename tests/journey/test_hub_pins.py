"""PINs at the hub: the later change stands however it arrives, a reset takes two officers; on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from contract.errors import RemoteError
from contract.packet import PinBody, PinOrder
from contract.pins import pin_digest
from contract.secret import hash_secret
from hub.console.application import create_application
from hub.schema.tables import Proposal
from tests.hub_world import (
    ADJUDICATORS,
    DATABASES,
    DAY_MS,
    DESK,
    HANDOVER,
    HEAD,
    OFFICERS,
    OPERATOR,
    SECRET,
    SITE_A,
    World,
    biodata,
    build_world,
)
from tests.journey.test_hub_operators import PIN, Follower, approve, body, events, quarantined, revoke, word

OLD, MINE, THEIRS = (hash_secret(pin, b"salt salt salt s", 2) for pin in ("482913", "739105", "560218"))
HOUR_MS = DAY_MS // 24


@pytest.fixture(params=DATABASES)
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    for built in build_world(tmp_path, request.param):
        built.register(biodata(1))
        approve(built, built.send(DESK, body(OPERATOR, pin=OLD)), OFFICERS[0])
        yield built


def changed(world: World, unit: str, pin: str, ago_ms: int, replaces: str = OLD, epoch: int = 1) -> None:
    """The operator's change arrives from a unit that has been off-line since."""
    order = PinOrder(epoch=epoch, replaces=pin_digest(replaces), changed_ms=world.clock.wall_ms() - ago_ms)
    made = PinBody(operator=OPERATOR, pin=pin, order=order)
    world.send(unit, made.model_copy(update={"signoff": word(made.digest(), OPERATOR)}))


def ask(world: World, by: str, operator: str = OPERATOR) -> Proposal:
    with world.central.context.database.transaction() as session:
        return world.central.proposals.propose(session, "pin-reset", operator, "forgot it on leave", by)


def decide(world: World, proposal: Proposal, by: str, *, confirm: bool = True) -> None:
    with world.central.context.database.transaction() as session:
        world.central.proposals.decide(session, proposal.id, by, confirm=confirm)


def test_a_change_of_weeks_ago_does_not_override_a_later_one(world: World) -> None:
    elsewhere, here = Follower(world, HANDOVER).listen(), Follower(world, DESK).listen()
    world.clock.pass_ms(21 * DAY_MS)
    changed(world, HANDOVER, THEIRS, HOUR_MS)
    assert here.hear_delta().entry(OPERATOR).pin == THEIRS
    changed(world, DESK, MINE, 20 * DAY_MS)  # made before, and heard after
    assert elsewhere.hear_delta().entry(OPERATOR).pin == here.hear_delta().entry(OPERATOR).pin == THEIRS
    assert here.entry(OPERATOR).pin_stands.superseded[-1] == pin_digest(MINE)  # so that its unit says so
    assert events(world, OPERATOR)[-1] == ("PIN superseded", OPERATOR) and quarantined(world) == []


def test_a_later_change_that_comes_later_stands_and_its_loser_is_named(world: World) -> None:
    world.clock.pass_ms(DAY_MS)
    changed(world, DESK, MINE, 20 * HOUR_MS)
    changed(world, HANDOVER, THEIRS, HOUR_MS)
    entry = Follower(world, DESK).listen().entry(OPERATOR)
    assert entry.pin == THEIRS and entry.pin_stands.superseded[-1] == pin_digest(MINE)


def test_a_unit_whose_clock_runs_ahead_does_not_win_by_it(world: World) -> None:
    world.clock.pass_ms(DAY_MS)
    changed(world, HANDOVER, THEIRS, HOUR_MS)
    changed(world, DESK, MINE, -5 * DAY_MS)
    assert Follower(world, DESK).listen().entry(OPERATOR).pin == THEIRS
    changed(world, DESK, MINE, -5 * DAY_MS, replaces=THEIRS)  # who knew of it is believed, as of now
    entry = Follower(world, DESK).listen().entry(OPERATOR)
    assert (entry.pin, entry.pin_stands.changed_ms) == (MINE, world.clock.wall_ms())


def test_taken_anew_voids_what_is_changed_with_the_pin_before(world: World) -> None:
    approve(world, world.send(DESK, body(OPERATOR, pin=PIN)), OFFICERS[0])
    world.clock.pass_ms(DAY_MS)
    changed(world, HANDOVER, MINE, HOUR_MS)
    assert Follower(world, DESK).listen().entry(OPERATOR).pin == PIN
    changed(world, HANDOVER, MINE, HOUR_MS, epoch=9)
    assert quarantined(world) == ["A PIN was changed after a reset that nobody knows of here."]


def test_a_forgotten_pin_is_reset_by_two_and_made_anew_by_its_owner(world: World) -> None:
    units = [Follower(world, unit).listen() for unit in (DESK, HANDOVER)]
    asked = ask(world, HEAD)
    with pytest.raises(RemoteError, match="what they proposed"):
        decide(world, asked, HEAD)
    with pytest.raises(RemoteError, match="may not act"):
        decide(world, asked, ADJUDICATORS[0])
    assert units[0].hear_delta().entry(OPERATOR).pin == OLD
    decide(world, asked, OFFICERS[0])
    for unit in units:
        entry = unit.hear_delta().entry(OPERATOR)
        assert (entry.pin, entry.pin_stands.epoch) == ("", 2)
        assert entry.pin_stands.set_by_ms == world.clock.wall_ms() + 72 * HOUR_MS
    changed(world, DESK, MINE, -HOUR_MS // 60)  # by the old PIN at a unit that has not heard: void, though later
    assert units[0].hear_delta().entry(OPERATOR).pin == ""
    world.clock.pass_ms(71 * HOUR_MS)
    changed(world, HANDOVER, THEIRS, HOUR_MS, replaces="", epoch=2)
    assert units[0].hear_delta().entry(OPERATOR).pin == THEIRS
    assert [event for event, _ in events(world, OPERATOR)][-3:] == ["PIN reset", "PIN superseded", "PIN changed"]
    assert ("PIN reset", f"{HEAD}+{OFFICERS[0]}") in events(world, OPERATOR)


def test_a_pin_that_is_made_too_late_after_a_reset_is_none(world: World) -> None:
    decide(world, ask(world, HEAD), OFFICERS[0])
    world.clock.pass_ms(80 * HOUR_MS)
    changed(world, DESK, MINE, HOUR_MS, replaces="", epoch=2)
    assert Follower(world, DESK).listen().entry(OPERATOR).pin == ""
    decide(world, ask(world, OFFICERS[1]), HEAD)  # once more
    changed(world, DESK, MINE, 0, replaces="", epoch=3)
    assert Follower(world, DESK).listen().entry(OPERATOR).pin == ""  # not later than the reset
    world.clock.pass_ms(HOUR_MS)
    changed(world, DESK, THEIRS, 0, replaces="", epoch=3)
    assert Follower(world, DESK).listen().entry(OPERATOR).pin == THEIRS


def test_who_may_ask_for_a_reset_and_for_whom(world: World) -> None:
    approve(world, world.send(DESK, body("kasi-lain", 9)), OFFICERS[0], ["section-head"])
    for by, operator, match in (
        (OPERATOR, OPERATOR, "may not act"),
        (ADJUDICATORS[0], OPERATOR, "may not act"),
        (HEAD, "kasi-lain", "not yours to replace"),  # whose rights the centre gives
        ("kasi-lain", "kasi-lain", "."),
        (HEAD, "nobody", "Nobody is known"),
        (OFFICERS[0], OFFICERS[1], "has no PIN"),
    ):
        with pytest.raises(RemoteError, match=match):
            ask(world, by, operator)
    asked = ask(world, HEAD)
    with pytest.raises(RemoteError, match="proposed already"):
        ask(world, OFFICERS[0])
    decide(world, asked, OFFICERS[0], confirm=False)
    assert Follower(world, DESK).listen().entry(OPERATOR).pin == OLD
    asked = ask(world, HEAD)
    revoke(world, OPERATOR)
    with pytest.raises(RemoteError, match="was revoked"):
        decide(world, asked, OFFICERS[0])
    decide(world, asked, OFFICERS[0], confirm=False)  # it does not stand in the way for good


def test_the_consoles_doors_for_a_reset(world: World) -> None:
    client = TestClient(create_application(world.central))
    door, form = "/api/operators/pin-reset", {"operator": OPERATOR, "reason": "forgot it on leave"}
    assert client.post(door, json=form).status_code == 401
    client.post("/api/login", json={"operator": HEAD, "secret": SECRET})
    for bad in ({}, form | {"reason": ""}, form | {"operator": "../x"}, form | {"x": 1}):
        assert client.post(door, json=bad).status_code == 422
    made = client.post(door, json=form).json()["proposal"]
    (waiting,) = client.get("/api/operators").json()["resets"]
    assert waiting["own"] and waiting["proposed_by"] == HEAD
    assert client.post(f"/api/proposals/{made}/decision", json={"confirm": True}).status_code == 409
    client.post("/api/login", json={"operator": OFFICERS[0], "secret": SECRET})
    assert client.post(f"/api/proposals/{made}/decision", json={"confirm": True}).json()["confirmed"]
    seen = client.get("/api/operators").json()
    row = next(row for row in seen["operators"] if row["id"] == OPERATOR)
    assert row["set_by_ms"] > seen["time_ms"] and DESK in row["unheard"] and seen["resets"] == []
    assert SITE_A in row["sites"] or "*" in row["sites"]
