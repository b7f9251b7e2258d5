"""A release over a real broker: ordered with the tool, fetched by the unit's own client, the line cut meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from packaging.tags import Tag

from contract.channel_mqtt import Connection, MqttChannel
from contract.dispatch import decode, encode
from contract.errors import RekamError
from contract.rollouts import (
    ReleasesOrder,
    ReleasesResult,
    RolloutsOrder,
    RolloutsResult,
    UpdateOrder,
    UpdateResult,
    Wave,
)
from contract.seal import load_opening_key, load_public_key, open_sealed
from contract.technician import StatusOrder, StatusResult, Verb
from contract.topics import DN_UPDATE, DN_UPDATE_PART, UP_STATE, UP_UPDATE, UP_UPDATE_ASK
from contract.transfer import UnitState
from contract.updates import FileAsk, FilePart, FileRole, Running, UpdateJob, UpdateReport
from contract.updates import UpdateState as Said
from edge.update_channel import FileChannel
from edge.update_client import Fetched, UpdateClient
from edge.update_fetcher import LineReader
from hub.config import load_settings
from hub.schema.database import Database
from hub.update_media import Taken, take_release
from tests.commissioning.stage import UNIT, Stage, make_stage
from tests.updates.office import Office, make_wheel

pytestmark = pytest.mark.xdist_group("updates-line")
ROOT = Path(__file__).resolve().parents[2]
OLD = Running(version="0.6.0", number=0, slot="a", floor=0)


def take(stage: Stage, media: Path) -> Taken:
    """`rekam-hub take-release`, beside a hub that runs."""
    settings = load_settings(stage.folder / "hub" / "hub.toml")
    database = Database(settings.database_url)
    try:
        return take_release(settings, database, media)
    finally:
        database.close()


def add_large(office: Office, version: str, key: str) -> None:
    """A release with a wheel that takes a while on the line, the same in every release."""
    make_wheel(office.wheelhouse(version), "numpy", "2.2.0", random.Random(1).randbytes(400_000).hex())
    office.add_edge(version, keys=(key,))


class Unit:
    """The line of the unit that setup made, and the client that its agent uses."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.home = stage.folder / "units" / UNIT
        self.channel = MqttChannel(stage.unit_settings())
        self.files = FileChannel(self.channel, UNIT, answer_timeout_s=1.0, uniform=lambda _low, _high: 0.05)
        self.jobs: asyncio.Queue[UpdateJob] = asyncio.Queue()
        self.channel.on(DN_UPDATE, self._job, unit=UNIT)
        self.channel.on_connected(self._is_present)
        self.folder = folder / "update"

    async def _job(self, _names: dict[str, str], payload: bytes) -> None:
        if payload:
            key = load_opening_key((self.home / "open.key").read_bytes(), UNIT)
            hub = load_public_key((self.home / "hub-dispatch.pub").read_bytes(), "hub")
            opened = open_sealed(payload, key, lambda name: hub if name == "hub" else None)
            self.jobs.put_nowait(decode(UpdateJob, opened.payload))

    async def says(self, job: str, state: Said | None, running: Running = OLD, **fields: Any) -> None:
        report = UpdateReport(job=job, state=state, running=running, at_ms=1).model_copy(update=fields)
        while True:
            with contextlib.suppress(RekamError):
                await self.channel.publish(UP_UPDATE.at(unit=UNIT), encode(report), retain=True)
                return
            await asyncio.sleep(0.05)

    async def _is_present(self, _connection: Connection) -> None:
        up = UnitState(state="online", boot=1, software="rekam test", sequence=1, time_ms=1)
        await self.channel.publish(UP_STATE.at(unit=UNIT), encode(up), retain=True)

    def fetch(self, job: UpdateJob, loop: asyncio.AbstractEventLoop, done: list[int]) -> Fetched:
        """Everything of a job, verified; blocks. done: bytes so far."""
        root = (self.home / "update-root.json").read_bytes()
        client = UpdateClient(self.folder, root, LineReader(self.files, loop), [Tag("py3", "none", "any")])
        client.refresh()
        return client.fetch(job, lambda here, _all: done.append(here))


async def tool(*words: str) -> Any:
    """Run rekam-provision with --json; what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "provisioning", *words, "--json", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(process.communicate(), 100)
    assert process.returncode == 0, said
    return json.loads(said.splitlines()[-1])


async def connected(unit: Unit) -> None:
    async with asyncio.timeout(20):
        while unit.channel.connection is None:  # noqa: ASYNC110 - the channel tells nobody else
            await asyncio.sleep(0.02)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    found = make_stage(tmp_path)
    with found.broker:
        async with found.hub():
            yield found


@pytest.mark.timeout(200)
async def test_a_release_reaches_a_unit_over_a_line_that_drops(stage: Stage, tmp_path: Path) -> None:
    office = Office(tmp_path, folder=stage.folder / "releases")
    me = ("--identity", str(stage.folder / "technicians" / "tek-andi"), "--wait", "60")
    add_large(office, "0.7.0", "targets-1")
    media = office.publish()
    async with stage.line() as line:
        assert (await line.ask(Verb.RELEASES, ReleasesOrder(), ReleasesResult)).targets_version == 1  # as setup left it
        await asyncio.to_thread(take, stage, media)
        unit = Unit(stage, tmp_path)
        async with unit.channel:
            await connected(unit)
            stage.broker.kill()
            ordering = asyncio.create_task(tool("update", "0.7.0", "--yes", "--waves", "100", "--soak", "1s", *me))
            await asyncio.sleep(1.5)
            assert not ordering.done()
            stage.broker.start()
            begun = await ordering
            assert begun["rollout"]["waves"][0]["units"] == 1, begun
            job = await asyncio.wait_for(unit.jobs.get(), 20)
            assert (job.target, job.number) == ("rekam-edge-0.7.0.json", 1)
            loop, done = asyncio.get_running_loop(), [0]
            fetching = asyncio.create_task(asyncio.to_thread(unit.fetch, job, loop, done))
            while done[-1] < 200_000:  # noqa: ASYNC110 - the client counts in a thread
                await asyncio.sleep(0.01)
            stage.broker.kill()
            assert not fetching.done()
            stage.broker.start()
            fetched = await asyncio.wait_for(fetching, 60)
            names = sorted(path.name.split(".", 1)[-1] for path in fetched.wheels)
            assert len(names) == 3 and fetched.custom.version == "0.7.0"
            for state in (Said.DOWNLOADING, Said.READY, Said.INSTALLING, Said.TRIAL):
                await unit.says(job.job, state)
            await unit.says(job.job, Said.GOOD, Running(version="0.7.0", number=1, slot="b", floor=0))
            found = await tool("update", "--status", "--follow", *me)
            assert found["state"] == "done" and found["waves"][0]["steps"] == {"good": 1}
            row = (await line.ask(Verb.ROLLOUTS, RolloutsOrder(rollout="newest"), RolloutsResult)).units[0]
            assert (row.step, row.version) == ("good", "0.7.0")
            # Keys are replaced; the unit follows from the root that it began with, and fetches only what is new.
            office.run("rotate-root", "--replace", "root-1", "--replace", "targets-1", keys=("root-1", "root-2"))
            add_large(office, "0.8.0", "targets-3")
            await asyncio.to_thread(take, stage, office.publish())
            next_job = job.model_copy(update={"target": "rekam-edge-0.8.0.json", "number": 2, "version": "0.8.0"})
            again = await asyncio.wait_for(asyncio.to_thread(unit.fetch, next_job, loop, done), 60)
            assert again.custom.version == "0.8.0" and set(again.wheels) & set(fetched.wheels)


async def test_a_flood_of_asks_is_answered_in_measure_and_keeps_nobody_waiting(stage: Stage, tmp_path: Path) -> None:
    office = Office(tmp_path, folder=stage.folder / "releases")
    house = office.wheelhouse("0.7.0")
    make_wheel(house, "numpy", "2.2.0", random.Random(1).randbytes(2_000_000).hex())
    office.add_edge("0.7.0")
    unit = Unit(stage, tmp_path)
    parts: list[FilePart] = []

    async def heard(_names: dict[str, str], payload: bytes) -> None:
        parts.append(decode(FilePart, payload))

    unit.channel.on(DN_UPDATE_PART, heard, unit=UNIT)
    async with stage.line() as line, unit.channel:
        await connected(unit)
        await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
        taken = await asyncio.to_thread(take, stage, office.publish())
        wheel = next(path.name for path in (stage.folder / "hub/updates/targets").iterdir() if "numpy" in path.name)
        assert taken.files == 4
        began = time.monotonic()
        chance = random.Random(3)
        for number in range(1, 1500):
            offset = chance.choice((0, 1, 10**6, 4 * 10**6, 2**28))
            ask = FileAsk(request=number, role=FileRole.TARGET, name=wheel, offset=offset, length=65536)
            await unit.channel.publish(UP_UPDATE_ASK.at(unit=UNIT), encode(ask), qos=0)
            if number % 100 == 0:
                await unit.channel.publish(UP_UPDATE_ASK.at(unit=UNIT), chance.randbytes(40), qos=0)
                asked = time.monotonic()
                await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
                assert time.monotonic() - asked < 8
        elapsed_s = time.monotonic() - began
        await asyncio.sleep(0.3)
    sent = sum(len(part.data) for part in parts)
    assert 0 < sent <= (elapsed_s + 1.3) * 256 * 1024 + 65536
    assert all(part.data or part.retry_after_ms or part.total for part in parts)
    assert len(parts) < 400  # who does not wait is not answered


async def test_a_unit_with_no_right_gets_no_byte(stage: Stage, tmp_path: Path) -> None:
    office = Office(tmp_path, folder=stage.folder / "releases")
    office.add_edge("0.7.0")
    service = stage.service
    assert service is not None
    async with stage.line() as line:
        await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
        await asyncio.to_thread(take, stage, office.publish())
        ask = FileAsk(request=1, role=FileRole.METADATA, name="timestamp.json", length=100)
        updates = service.updates
        part = await asyncio.to_thread(updates.part, UNIT, ask)
        assert part is not None and part.data and part.total > 100
        assert await asyncio.to_thread(updates.part, "nobody", ask) is None
        for name, role in (("9.root.json", FileRole.METADATA), ("x.json", FileRole.METADATA),
                           ("0" * 64 + ".rekam-0.7.0-py3-none-any.whl", FileRole.TARGET)):  # fmt: skip
            found = await asyncio.to_thread(updates.part, UNIT, FileAsk(request=2, role=role, name=name, length=9))
            assert found == FilePart(request=2, absent=True), name
        order = UpdateOrder(release="0.7.0", waves=(Wave(percent=100),), soak_s=0, good_percent=90, stop_percent=5,
                            overdue_s=60)  # fmt: skip
        assert (await line.ask(Verb.UPDATE, order, UpdateResult)).rollout.state == "running"
