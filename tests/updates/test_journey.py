"""From the officer's desk to a unit in service, with real agent, hub and broker: what is taken up, and what is not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from contract.rollouts import RolloutsOrder, RolloutsResult, UpdateOrder, UpdateResult, Wave
from contract.technician import StatusOrder, StatusResult, UnitRow, Verb
from contract.unit_alerts import UnitAlert
from contract.update_problems import UpdateProblem
from provisioning.line import HubLine
from tests.commissioning.stage import UNIT, make_stage
from tests.commissioning.test_tool import running
from tests.updates.office import Office
from tests.updates.test_over_the_line import take
from virtual.broker import free_port

pytestmark = pytest.mark.xdist_group("updates-line")
START_S = 150  # the first start on a machine compiles the matcher's kernels before the unit goes on the line
SCHEMA = {"properties": {"policy": {"properties": {"attempts_max": {"maximum": 5}}}}}


def order(release: str) -> UpdateOrder:
    whole = (Wave(percent=100),)
    return UpdateOrder(release=release, waves=whole, soak_s=0, good_percent=100, stop_percent=0, overdue_s=60)


async def until(what: Callable[[], Awaitable[bool]], patience_s: float = 60) -> None:
    async with asyncio.timeout(patience_s):
        while not await what():  # noqa: ASYNC110 - the hub is asked, as a technician asks it
            await asyncio.sleep(0.3)


async def unit_row(line: HubLine) -> UnitRow:
    return (await line.ask(Verb.STATUS, StatusOrder(unit=UNIT), StatusResult)).rows[0]


async def newest(line: HubLine) -> RolloutsResult:
    return await line.ask(Verb.ROLLOUTS, RolloutsOrder(rollout="newest"), RolloutsResult)


@pytest.mark.timeout(200)
async def test_what_the_office_signed_is_in_force_on_the_unit(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    office = Office(tmp_path, folder=stage.folder / "releases")
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(SCHEMA), encoding="utf-8")
    office.run("add", "--schema", str(schema), "--version", "1.0", keys=("targets-1",))
    office.add_edge("0.9.0")
    path = stage.folder / "units" / UNIT / "unit.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("port = 1\n", f"port = {free_port()}\n"), encoding="utf-8")
    with stage.broker, running(tmp_path / "unit.log", "edge", "run", "--config", str(path)):
        async with stage.hub(), stage.line() as line:

            async def is_online() -> bool:
                return (await unit_row(line)).online

            async def has_ended() -> bool:
                return (await newest(line)).rows[0].state in ("done", "stopped")

            await until(is_online, START_S)
            assert (await asyncio.to_thread(take, stage, office.publish())).new
            await line.ask(Verb.UPDATE, order("rekam-settings-1.0.json"), UpdateResult)
            await until(has_ended)
            found = await newest(line)
            assert (found.rows[0].state, found.units[0].step) == ("done", "good"), found
            held = json.loads((stage.folder / "units" / UNIT / "settings-schema.json").read_bytes())
            assert held == SCHEMA
            # This unit was not installed from slots: it says so, goes on with what it has, and the whole stops.
            await line.ask(Verb.UPDATE, order("0.9.0"), UpdateResult)
            await until(has_ended)
            found = await newest(line)
            assert (found.rows[0].state, found.units[0].problem) == ("stopped", UpdateProblem.NO_SLOTS), found
            row = await unit_row(line)
            assert row.online and UnitAlert.UPDATE_FAILED in row.alerts
