"""A technician's command over a real broker and hub: past a line that drops, past those who may not, unread by all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from sqlalchemy import select

from contract import topics
from contract.channel_mqtt import MqttChannel
from contract.clock import SystemClock
from contract.commissioning_problems import Problem
from contract.dispatch import decode
from contract.errors import TransientError
from contract.lifecycle import UnitState
from contract.packet import Model
from contract.seal import load_opening_key, load_public_key, load_signing_key, open_sealed
from contract.technician import StatusOrder, StatusResult, Verb
from contract.unit_command import LogLine, LogPage, LogsAsk
from edge.command_desk import CommandDesk
from edge.sealed_store import SealedStore
from hub.schema.commissioning_tables import UnitHistory
from hub.schema.tables import Unit
from provisioning.line import HubLine, Patience, Refused
from provisioning.technician_identity import load_identity
from tests.commissioning.stage import LOCAL, TECHNICIAN, UNIT, Stage, make_stage, until
from virtual.broker import free_port
from virtual.link import Link

QUICK = Patience(total_s=30, repeat_s=0.4, attempt_s=0.5)
MARK = "what-only-the-tool-may-read"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return make_stage(tmp_path_factory.mktemp("stage"))


@dataclass
class UnitSide:
    """The commands of a unit whose work a test lets through page by page."""

    stage: Stage
    folder: Path
    pages: int = 3
    go: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(100))
    begun: int = 0
    raw: list[tuple[str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        keys = self.stage.folder / "units" / UNIT
        opening = load_opening_key((keys / "open.key").read_bytes(), UNIT)
        hub = load_public_key((keys / "hub-dispatch.pub").read_bytes(), "hub")
        self.channel = MqttChannel(self.stage.unit_settings())
        self.store = SealedStore(self.folder / "commands.db", bytes(32))
        self.tasks: set[asyncio.Task[None]] = set()

        def opened(kind, payload):
            return decode(kind, open_sealed(payload, opening, lambda who: hub if who == "hub" else None).payload)

        self.desk = CommandDesk(
            self.channel, opened, UNIT, load_signing_key((keys / "sign.key").read_bytes(), UNIT), self.store,
            SystemClock(), {Verb.LOGS: self.work}, lambda work: self.tasks.add(asyncio.create_task(work)),
        )  # fmt: skip

        async def record(names, payload):
            self.raw.append((topics.DN_COMMAND.at(**names), payload))

        self.channel.on(replace(topics.DN_COMMAND, only_fresh=False), record, unit=UNIT)

    async def work(self, _technician: str, _ask: bytes) -> AsyncGenerator[Model, None]:
        self.begun += 1
        for number in range(1, self.pages + 1):
            await self.go.acquire()
            line = LogLine(sequence=number, at_ms=1, level="info", event=MARK)
            yield LogPage(lines=(line,), looked_to=number, more=False, oldest=1, unit_ms=1)

    async def __aenter__(self) -> UnitSide:
        await self.channel.__aenter__()
        await until(lambda: self.channel.connection is not None)
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.channel.__aexit__(*error)
        self.store.close()


@asynccontextmanager
async def world(stage: Stage) -> AsyncIterator[tuple]:
    """Broker, hub, and a technician's line that a test may cut."""
    with stage.broker:
        link = Link(free_port(), stage.broker.port)
        await link.start()
        identity = replace(load_identity(stage.folder / "technicians" / TECHNICIAN), port=link.listen_port)
        said: list[str] = []
        try:
            async with stage.hub() as hub, HubLine(identity, said.append, QUICK) as line:
                await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
                yield hub, line, link, said
        finally:
            await link.stop()


async def numbers(line: HubLine, unit: str = UNIT, seen: list[int] | None = None) -> list[int]:
    seen = [] if seen is None else seen
    async with aclosing(line.command(Verb.LOGS, unit, LogsAsk(), LogPage)) as pages:
        async for page in pages:
            seen.append(page.lines[0].sequence)
    return seen


async def test_a_line_that_drops_in_the_middle_costs_nothing_but_time(stage: Stage, tmp_path: Path) -> None:
    async with world(stage) as (hub, line, link, said):
        unit = UnitSide(stage, tmp_path, pages=6, go=asyncio.Semaphore(2))
        async with unit:
            seen: list[int] = []
            asking = asyncio.create_task(numbers(line, seen=seen))
            await until(lambda: seen == [1, 2])
            link.cut()
            for _ in range(3):
                unit.go.release()
            await until(lambda: any("No line" in what for what in said))
            await asyncio.sleep(0.6)
            assert seen == [1, 2]
            link.restore()
            await until(lambda: seen == [1, 2, 3, 4, 5])
            unit.go.release()
            assert await asking == [1, 2, 3, 4, 5, 6] and unit.begun == 1
            unit.pages = 1
            for _ in range(6):
                unit.go.release()
            assert await numbers(line) == await numbers(line) == [1]  # a log that is followed
            with hub.central.context.database.reading() as session:
                steps = session.scalars(select(UnitHistory).where(UnitHistory.subject == UNIT)).all()
            assert [(step.event, step.actor) for step in steps] == [("technician logs", TECHNICIAN)]


async def test_neither_broker_nor_hub_can_read_an_answer_and_no_order_is_kept_for_later(
    stage: Stage, tmp_path: Path
) -> None:
    async with world(stage) as (hub, line, _link, _said):
        passed: list[bytes] = []
        relay = hub._commissioning.technicians.relay
        on_part = relay.on_part
        relay.on_part = lambda unit, command, payload: (passed.append(payload), on_part(unit, command, payload))[1]
        async with UnitSide(stage, tmp_path) as unit:
            assert await numbers(line) == [1, 2, 3]
            topic, command = unit.raw[0]
            assert len(passed) == 4 and all(MARK.encode() not in sealed for sealed in [*passed, command])
            # The same command again, as somebody might who recorded it: with no life, anew, and kept by the broker.
            await hub._channel.publish(topic, command)
            await asyncio.sleep(0.3)
            assert len(passed) == 4
            await hub._channel.publish(topic, command, retain=True, expiry_s=30)
            await until(lambda: len(passed) == 8)
            unit.channel.reconnect()
            await until(lambda: len(unit.raw) >= 3 and unit.channel.connection is not None)
            await asyncio.sleep(0.3)
            assert (len(passed), unit.begun) == (8, 1)
            await hub._channel.publish(topic, b"", retain=True)
        for path in (stage.folder / "hub").rglob("*"):
            assert not path.is_file() or MARK.encode() not in path.read_bytes(), path


async def test_a_command_to_a_unit_that_is_away_is_begun_when_it_comes_and_not_for_a_tool_that_left(
    stage: Stage, tmp_path: Path
) -> None:
    async with world(stage) as (_hub, line, _link, said):
        left = asyncio.create_task(numbers(line))
        await until(lambda: any("off-line" in what for what in said))
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        async with UnitSide(stage, tmp_path) as unit:
            await asyncio.sleep(1.0)
            assert unit.begun == 0  # nobody waits for it any more
            assert await numbers(line) == [1, 2, 3] and unit.begun == 1


async def test_patience_ends_with_what_to_do(stage: Stage) -> None:
    async with world(stage) as (_hub, line, _link, _said):
        line._patience = Patience(total_s=0.8, repeat_s=0.2, attempt_s=0.2)
        with pytest.raises(TransientError, match="did not answer within") as ended:
            await numbers(line)
        assert f"status {UNIT}" in ended.value.next_step


async def test_only_who_works_there_commands_and_only_what_can_hear(stage: Stage) -> None:
    async with world(stage) as (hub, line, _link, _said):
        async with stage.line(LOCAL) as local:
            with pytest.raises(Refused) as refused:
                await numbers(local)
            assert refused.value.problem is Problem.NO_RIGHTS
        with pytest.raises(Refused, match="No unit is called"):
            await numbers(line, "desk-zz")
        with hub.central.context.database.transaction() as session:
            session.get_one(Unit, UNIT).state = UnitState.RETIRED
        with pytest.raises(Refused) as refused:
            await numbers(line)
        assert refused.value.problem is Problem.CERTIFICATE_REVOKED
        with hub.central.context.database.transaction() as session:
            session.get_one(Unit, UNIT).state = UnitState.IN_SERVICE
