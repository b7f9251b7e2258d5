"""What units report of their boxes stands in their histories once, in a chain that shows whoever changed it (M69)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from contract.dispatch import encode
from contract.errors import RemoteError
from contract.identifiers import uuid7
from contract.transfer import UnitAlarm
from edge.enclosure_watch import ALARMING
from edge.panel_words import ALARMS as BOARD_ALARMS
from edge.screens.app import PAPERS
from hub import alarms, history
from hub.console import views
from hub.console.application import create_application
from hub.console.words import ALARMS_ID, PAPERS_ID, in_indonesian
from hub.schema.commissioning_tables import UnitHistory
from hub.schema.database import MIGRATIONS, Database
from hub.schema.tables import Unit
from tests.hub_world import (
    DATABASES,
    DAY_MS,
    DESK,
    KIOSK,
    OFFICERS,
    OPERATOR,
    SECRET,
    SetClock,
    World,
    biodata,
    build_world,
)
from tests.postgres import new_database


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
        assert alarms.take(session, DESK, encode(first), 1_000)[1]
        assert not alarms.take(session, DESK, encode(first), 2_000)[1]
        assert alarms.take(session, DESK, encode(second), 3_000)[1]
        assert history.verify(session, UnitHistory) == before + 2
        shown = views.overview(session, world.central)["alarms"]
    assert [(line["unit"], line["kind"]) for line in shown] == [(DESK, "too-hot"), (DESK, "door-opened")]


def test_what_an_officer_has_seen_is_dropped_in_time_and_nothing_else_is(world: World) -> None:
    world.register(biodata(1))
    told = [alarm(world), alarm(world, "too-hot"), alarm(world, "help-asked")]
    with world.central.context.database.transaction() as session:
        for at_ms, one in enumerate(told):
            alarms.take(session, DESK, encode(one), at_ms)
        alarms.note_seen(session, DESK, told[0].alarm_id, OFFICERS[0], 5 * DAY_MS)
        alarms.note_seen(session, DESK, told[0].alarm_id, OFFICERS[1], 6 * DAY_MS)
        alarms.note_seen(session, DESK, told[1].alarm_id, OFFICERS[1], 90 * DAY_MS)
        with pytest.raises(RemoteError):
            alarms.note_seen(session, KIOSK, told[2].alarm_id, OFFICERS[0], 1)
        assert [line["seen_by"] for line in alarms.newest(session, 9)] == ["", OFFICERS[1], OFFICERS[0]]
        assert alarms.unseen(session) == 1
        assert alarms.drop_old(session, 90, 96 * DAY_MS) == 1
        assert alarms.drop_old(session, 90, 2000 * DAY_MS) == 1
        assert [line["kind"] for line in alarms.newest(session, 9)] == ["help-asked"]
        assert history.verify(session, UnitHistory) >= len(told)  # the unit's history has them all for good


@pytest.mark.parametrize("database", DATABASES)
def test_alarms_of_before_the_table_are_entered_as_not_seen(tmp_path: Path, database: str) -> None:
    url = (
        f"sqlite:///{tmp_path / 'hub.db'}"
        if database == "sqlite"
        else new_database(lambda url: _upgraded(url, "0007").close())
    )
    store = _upgraded(url, "0007")
    note = {"alarm_id": uuid7(SetClock()), "source": "enclosure", "detail": "", "unit_at_ms": 7}
    with store.transaction() as session:
        session.execute(text("INSERT INTO site (code, name, region, sign_on) VALUES ('9901-A', 'x', '9901', 'finger')"))
        session.add(
            Unit(id=DESK, site="9901-A", role="desk", state="in service", sign_public_pem="", open_public_pem="")
        )
        session.flush()
        history.append(
            session, UnitHistory, subject=DESK, event="alarm too-hot", from_state="in service", to_state="in service",
            at_ms=9, actor=DESK, note=note,
        )  # fmt: skip
    store.upgrade()
    with store.reading() as session:
        found = alarms.newest(session, 9)
    assert [(line["unit"], line["alarm_id"], line["kind"], line["heard_ms"], line["seen_ms"]) for line in found] == [
        (DESK, note["alarm_id"], "too-hot", 9, None)
    ]
    store.close()


def _upgraded(url: str, revision: str) -> Database:
    store = Database(url, durability="OFF")
    with store.engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    return store


def test_the_page_shows_what_nobody_has_seen_and_an_officer_deals_with_it(world: World) -> None:
    world.register(biodata(1))
    one = alarm(world)
    with world.central.context.database.transaction() as session:
        alarms.take(session, DESK, encode(one), 1)
    client = TestClient(create_application(world.central), follow_redirects=False)
    way = f"/api/units/{DESK}/alarms/{one.alarm_id}/seen"
    client.post("/api/login", json={"operator": OPERATOR, "secret": SECRET})
    assert "1 belum dilihat" in client.get("/").text
    assert client.post(way, json={}).status_code >= 400
    client.post("/api/login", json={"operator": OFFICERS[0], "secret": SECRET})
    assert client.post(way, json={}).json()["alarm_id"] == one.alarm_id
    assert "belum dilihat" not in client.get("/").text


def test_every_alarm_that_a_unit_raises_has_indonesian_words() -> None:
    assert {contact.value for contact in ALARMING} | {"too-hot"} | BOARD_ALARMS <= set(ALARMS_ID)
    assert set(PAPERS) <= set(PAPERS_ID)
    assert in_indonesian("something-new") == "something-new"


def test_a_stranger_and_garbage_are_refused(world: World) -> None:
    with world.central.context.database.transaction() as session:
        with pytest.raises(RemoteError):
            alarms.take(session, "stranger", encode(alarm(world)), 1)
        for garbage in (b"", b"\xff" * 40, encode(alarm(world)) + b"x", b"\xa0"):
            with pytest.raises(RemoteError):
                alarms.take(session, DESK, garbage, 1)


@given(garbage=st.binary(max_size=400))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_are_anything_but_an_alarm_or_refused(
    tmp_path_factory: pytest.TempPathFactory, garbage: bytes
) -> None:
    if not _worlds:
        _worlds.append(next(build_world(tmp_path_factory.mktemp("hub"), "sqlite")))
    with _worlds[0].central.context.database.transaction() as session, pytest.raises(RemoteError):
        alarms.take(session, DESK, garbage, 1)


_worlds: list[World] = []
