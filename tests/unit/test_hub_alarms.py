"""What units report of their boxes stands in their histories once, in a chain that shows whoever changed it (M69)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.dispatch import encode
from contract.errors import RemoteError
from contract.identifiers import uuid7
from contract.transfer import UnitAlarm
from edge.enclosure_watch import ALARMING
from edge.panel_words import ALARMS as BOARD_ALARMS
from edge.screens.app import PAPERS
from hub import history, presence
from hub.console import views
from hub.console.words import ALARMS_ID, PAPERS_ID, in_indonesian
from hub.schema.commissioning_tables import UnitHistory
from tests.hub_world import DATABASES, DESK, World, biodata, build_world


@pytest.fixture(params=DATABASES)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    yield from build_world(tmp_path, request.param)


def alarm(world: World, kind: str = "door-opened") -> UnitAlarm:
    clock = world.central.context.clock
    return UnitAlarm(alarm_id=uuid7(clock), kind=kind, source="enclosure", at_ms=clock.wall_ms(), detail="")


def test_an_alarm_is_kept_once_however_often_it_is_said(world: World) -> None:
    world.register(biodata(1))  # brings the fleet with it
    first, second = alarm(world), alarm(world, "too-hot")
    with world.central.context.database.transaction() as session:
        before = history.verify(session, UnitHistory)
        assert presence.take_alarm(session, DESK, encode(first), 1_000)
        assert not presence.take_alarm(session, DESK, encode(first), 2_000)
        assert presence.take_alarm(session, DESK, encode(second), 3_000)
        assert history.verify(session, UnitHistory) == before + 2
        shown = views.overview(session, world.central)["alarms"]
    assert [(line["unit"], line["kind"]) for line in shown] == [(DESK, "too-hot"), (DESK, "door-opened")]


def test_every_alarm_that_a_unit_raises_has_indonesian_words() -> None:
    assert {contact.value for contact in ALARMING} | {"too-hot"} | BOARD_ALARMS <= set(ALARMS_ID)
    assert set(PAPERS) <= set(PAPERS_ID)
    assert in_indonesian("something-new") == "something-new"


def test_a_stranger_and_garbage_are_refused(world: World) -> None:
    with world.central.context.database.transaction() as session:
        with pytest.raises(RemoteError):
            presence.take_alarm(session, "stranger", encode(alarm(world)), 1)
        for garbage in (b"", b"\xff" * 40, encode(alarm(world)) + b"x", b"\xa0"):
            with pytest.raises(RemoteError):
                presence.take_alarm(session, DESK, garbage, 1)


@given(garbage=st.binary(max_size=400))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_are_anything_but_an_alarm_or_refused(
    tmp_path_factory: pytest.TempPathFactory, garbage: bytes
) -> None:
    if not _worlds:
        _worlds.append(next(build_world(tmp_path_factory.mktemp("hub"), "sqlite")))
    with _worlds[0].central.context.database.transaction() as session, pytest.raises(RemoteError):
        presence.take_alarm(session, DESK, garbage, 1)


_worlds: list[World] = []
