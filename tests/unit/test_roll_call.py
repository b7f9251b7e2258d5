"""After the hub or the broker was away, the hub's picture of its units is what they have said since."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from contract import topics
from contract.channel_mqtt import Backoff, Disconnected
from contract.clock import SystemClock
from contract.dispatch import decode, encode
from contract.transfer import MESSAGE_BYTES_MAX, UnitState
from edge.presence import Presence
from hub import outbox, presence
from hub.roll_call import GRACE_MS, RollCall
from hub.schema.tables import Outbox, Unit
from tests.hub_world import DATABASES, DESK, KIOSK, SetClock, World, biodata, build_world


@pytest.fixture(params=DATABASES)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    for world in build_world(tmp_path, request.param):
        world.register(biodata(1))  # brings the fleet with it
        yield world


def say(world: World, unit: str, state: str = "online", sequence: int = 1, now_ms: int = 1) -> bool:
    message = UnitState.model_validate({"state": state, "boot": 5, "software": "x", "sequence": sequence, "time_ms": 1})
    with world.central.context.database.transaction() as session:
        return presence.take_state(session, unit, encode(message), now_ms)


def online(world: World) -> set[str]:
    with world.central.context.database.reading() as session:
        said = {unit.id: presence.presence_of(unit) for unit in session.scalars(select(Unit))}
    return {name for name, state in said.items() if state is not None and state.state == "online"}


def test_who_was_not_heard_is_off_the_line_until_it_speaks(world: World) -> None:
    for unit in (DESK, KIOSK):
        say(world, unit)
    with world.central.context.database.transaction() as session:
        assert presence.mark_absent(session, {KIOSK}) == 1
        assert presence.mark_absent(session, {KIOSK}) == 0
    assert online(world) == {KIOSK}
    assert say(world, DESK) and online(world) == {DESK, KIOSK}  # the broker repeats what is retained


def test_who_was_shut_out_is_off_the_line_whatever_the_broker_retains_of_it(world: World) -> None:
    for unit in (DESK, KIOSK):
        say(world, unit)
    with world.central.context.database.transaction() as session:
        session.get_one(Unit, DESK).state = "suspended"
        world.central.fleet.bar(session, DESK, "stolen")
    assert online(world) == {KIOSK}
    assert say(world, DESK) and online(world) == {KIOSK}
    assert say(world, DESK, sequence=2) and online(world) == {KIOSK}


def test_what_the_broker_repeats_is_no_new_word_of_a_silent_unit(world: World) -> None:
    say(world, DESK, "offline", now_ms=1000)
    assert say(world, DESK, "offline", now_ms=9000)  # the hub came back
    with world.central.context.database.reading() as session:
        assert session.get_one(Unit, DESK).seen_ms == 1000
    say(world, DESK, sequence=2, now_ms=9500)
    with world.central.context.database.reading() as session:
        assert session.get_one(Unit, DESK).seen_ms == 9500


def test_the_will_of_the_newest_connection_is_believed_and_one_of_an_earlier_is_not(world: World) -> None:
    unit = Presence(DESK, "x", SystemClock())
    wills = []
    for _connection in range(2):
        wills.append(decode(UnitState, unit.will().payload, MESSAGE_BYTES_MAX))
        unit._sequence += 1  # as it announces itself
        announced = unit._state(unit._sequence, online=True)
        assert wills[-1].supersedes(announced)
    assert not wills[0].supersedes(announced)


def test_the_roll_is_called_once_a_connection_after_the_grace() -> None:
    clock = SetClock()
    roll = RollCall(clock)
    roll.hear("early")  # what is retained comes before the handlers of the connect are asked
    roll.begin()
    assert roll.due() is None and roll.lost_ms is None
    clock.pass_ms(GRACE_MS)
    roll.hear("late")
    assert roll.due() == {"early", "late"}
    roll.note_called()
    assert roll.due() is None
    roll.lose()
    lost_ms = roll.lost_ms
    clock.pass_ms(5)
    roll.lose()  # an attempt that failed
    assert roll.lost_ms == lost_ms and roll.due() is None
    roll.begin()
    clock.pass_ms(GRACE_MS)
    assert roll.due() == set()


def test_a_message_for_each_unit_replaces_the_one_before_and_no_other_topic(world: World) -> None:
    units = [DESK, KIOSK]
    with world.central.context.database.transaction() as session:
        before = len(session.scalars(select(Outbox)).all())
        for payload in (b"1", b"2"):
            outbox.post_to_each(session, topics.DN_CHECKPOINT, payload, 7, units)
        rows = session.scalars(select(Outbox).order_by(Outbox.id)).all()
        newest = [(row.topic, row.payload, row.retain, row.published_ms) for row in rows[-2:]]
    assert len(rows) == before + 2
    assert newest == [(topics.DN_CHECKPOINT.at(unit=unit), b"2", True, None) for unit in units]


def test_a_closed_port_is_asked_often_and_a_broker_in_trouble_ever_more_seldom() -> None:
    backoff = Backoff(first_s=1.0, max_s=60.0)
    longest = [
        (backoff.wait_s(failures, max, nobody_listens=True), backoff.wait_s(failures, max)) for failures in (1, 4, 9)
    ]
    assert longest == [(1.0, 1.0), (4.0, 8.0), (4.0, 60.0)]
    assert Disconnected.before_it_began(ConnectionRefusedError()).nobody_listens
    assert not Disconnected.before_it_began(TimeoutError()).nobody_listens
