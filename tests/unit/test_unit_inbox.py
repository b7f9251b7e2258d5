"""What a fleet says at once is committed together, answered only then, and what fails of it takes nothing with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from contract.channel_mqtt import Disconnected
from contract.errors import RemoteError
from hub import presence, unit_inbox
from hub.commissioning import Said
from hub.schema.database import Database
from hub.schema.tables import Unit
from hub.unit_inbox import BATCH_MAX, Answer, Heard, Take, UnitInbox
from tests.hub_world import DATABASES, DESK, KIOSK, World, biodata, build_world


@pytest.fixture(params=DATABASES)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    for world in build_world(tmp_path, request.param):
        world.register(biodata(1))  # brings the fleet with it
        yield world


@pytest.fixture
def database(world: World) -> Database:
    return world.central.context.database


async def silent(_said: Said) -> None:
    raise AssertionError("nothing is to be said")


def keep(unit_id: str, text: str) -> Take:
    """Note a text at a unit; some texts make trouble, before or behind what they change."""

    def take(session: Session) -> Answer:
        unit = presence.unit_named(session, unit_id)
        unit.uplink += text
        if text == "?":
            raise ZeroDivisionError
        if text == "!":
            session.flush()
            raise RemoteError("no")
        if text == "#":
            unit.site = None  # type: ignore[assignment]  # what only the commit refuses
        return lambda: [Said(unit_id, text.encode())]

    return take


def heard(*said: tuple[str, str]) -> list[Heard]:
    return [Heard(unit, keep(unit, text)) for unit, text in said]


def texts(database: Database) -> tuple[str, str]:
    with database.reading() as session:
        return session.get_one(Unit, DESK).uplink, session.get_one(Unit, KIOSK).uplink


def taken(database: Database, batch: Sequence[Heard]) -> list[tuple[str, bytes]] | None:
    with ThreadPoolExecutor(1) as office:

        async def take() -> list[Said] | None:
            return UnitInbox(database, office, silent).take(batch)

        said = asyncio.run(take())
        return None if said is None else [(one.topic, one.payload) for one in said]


@pytest.mark.parametrize("trouble", ["?", "!", "#"])
def test_a_message_that_fails_takes_no_other_with_it_and_is_not_answered(database: Database, trouble: str) -> None:
    batch = heard((DESK, "a"), ("stranger", "b"), (DESK, trouble), (KIOSK, "c"), (DESK, "d"))
    assert taken(database, batch) == [(DESK, b"a"), (KIOSK, b"c"), (DESK, b"d")]
    assert texts(database) == ("ad", "c")


def test_a_whole_batch_costs_one_commit_and_reads_its_units_and_their_settings_once(database: Database) -> None:
    statements: list[str] = []
    commits: list[object] = []
    event.listen(database.engine, "before_cursor_execute", lambda *call: statements.append(call[2].split()[0]))
    event.listen(database.engine, "commit", commits.append)
    said = [(DESK if number % 2 else KIOSK, str(number % 10)) for number in range(BATCH_MAX)]
    assert len(taken(database, heard(*said)) or ()) == BATCH_MAX
    assert (len(commits), statements.count("SELECT"), statements.count("UPDATE")) == (1, 2, 1)
    assert "".join(texts(database)) == "13579" * 20 + "02468" * 20


@pytest.mark.parametrize("at", ["take", "commit"])
def test_nothing_is_answered_while_the_database_does_not_answer_and_then_all_of_it(
    database: Database, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    down = True

    def refuse(*_: object) -> None:
        if down:
            raise OperationalError("", {}, Exception())

    def take(session: Session) -> Answer | None:
        if at == "take":
            refuse()
        return keep(KIOSK, "b")(session)

    if at == "commit":
        monkeypatch.setattr(Session, "commit", _before(Session.commit, refuse))
    batch = [*heard((DESK, "a")), Heard(KIOSK, take)]
    assert taken(database, batch) is None
    assert texts(database) == ("", "")
    down = False
    assert taken(database, batch) == [(DESK, b"a"), (KIOSK, b"b")]
    assert texts(database) == ("a", "b")


def _before(method: Callable[..., None], first: Callable[[], None]) -> Callable[..., None]:
    def call(self: Session) -> None:
        first()
        method(self)

    return call


def test_an_answer_leaves_after_its_commit_and_a_cut_line_or_a_failing_answer_stops_nothing(database: Database) -> None:
    said: list[tuple[str, bytes, tuple[str, str]]] = []

    async def publish(one: Said) -> None:
        if one.payload == b"a":
            raise Disconnected("cut")
        said.append((one.topic, one.payload, await asyncio.to_thread(texts, database)))

    def stumbling(_session: Session) -> Answer:
        return lambda: [Said(DESK, b"%d" % (1 // 0))]

    async def work() -> None:
        with ThreadPoolExecutor(1) as office:
            inbox = UnitInbox(database, office, publish)
            running = asyncio.create_task(inbox.run())
            await inbox.put(DESK, keep(DESK, "a"))
            await inbox.put(DESK, stumbling)
            for number in range(2 * BATCH_MAX):
                await inbox.put(KIOSK, keep(KIOSK, "kxyz"[number % 4]))
            async with asyncio.timeout(20):
                while len(said) < 2 * BATCH_MAX:  # noqa: ASYNC110 - the work is done in a thread
                    await asyncio.sleep(0.001)
            running.cancel()

    asyncio.run(work())
    assert texts(database) == ("a", "kxyz" * (BATCH_MAX // 2))
    for unit, text, committed in said:
        assert unit == KIOSK and text.decode() in committed[1]


def test_what_is_patient_waits_for_company_and_goes_with_the_first_that_is_not(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []

    async def work() -> None:
        with ThreadPoolExecutor(1) as office:
            inbox = UnitInbox(database, office, silent)
            monkeypatch.setattr(inbox, "take", lambda batch: batches.append(len(batch)) or [])
            running = asyncio.create_task(inbox.run())
            for _ in range(3):
                await inbox.put(DESK, keep(DESK, "a"), is_patient=True)
                await asyncio.sleep(0.01)
            assert not batches
            await inbox.put(DESK, keep(DESK, "b"))
            async with asyncio.timeout(unit_inbox.PATIENCE_S / 2):
                while not batches:  # noqa: ASYNC110 - the work is done in a thread
                    await asyncio.sleep(0.001)
            await inbox.put(DESK, keep(DESK, "c"), is_patient=True)
            async with asyncio.timeout(10):
                while len(batches) < 2:  # noqa: ASYNC110 - see above
                    await asyncio.sleep(0.001)
            running.cancel()

    asyncio.run(work())
    assert batches == [4, 1]
