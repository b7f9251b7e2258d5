"""One update from the officer's folder to the unit's slot and back to the hub's table, over a real broker and hub.

The unit's own intake runs on its own line and keys; that its slot is started is played. Launcher, pip and kernels are
tried by the campaign (tests.updates.campaign).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from contract.channel_mqtt import Connection, MqttChannel
from contract.dispatch import decode, encode
from contract.packet import Model
from contract.rollouts import (
    ReleasesOrder,
    ReleasesResult,
    RolloutsOrder,
    RolloutsResult,
    RolloutUnitRow,
    UpdateOrder,
    UpdateResult,
    Wave,
)
from contract.seal import load_opening_key, load_public_key, open_sealed
from contract.technician import Verb
from contract.topics import UP_STATE
from contract.transfer import UnitState
from contract.updates import UpdateState
from edge.controller_release import ControllerRelease
from edge.downlink import Downlink
from edge.slots import Release
from edge.update_intake import Surroundings, UpdateIntake
from edge.update_record import Updates
from provisioning.line import HubLine
from tests.commissioning.stage import UNIT, Stage, make_stage
from tests.updates.office import Office
from tests.updates.repository import Repository
from tests.updates.test_over_the_line import take
from tests.updates.test_unit_updates import proved
from tests.updates.unit_rig import MarkingInstaller, Unit

pytestmark = pytest.mark.xdist_group("updates-line")
WAIT_S = 60.0


@dataclass
class OpeningDownlink:
    """Opens what is sealed to the unit, with its keys as setup wrote them."""

    folder: Path

    def opened(self, kind: type[Model], payload: bytes) -> Model:
        hub = load_public_key((self.folder / "hub-dispatch.pub").read_bytes(), "hub")
        key = load_opening_key((self.folder / "open.key").read_bytes(), UNIT)
        found = open_sealed(payload, key, lambda signer: hub if signer == "hub" else None)
        return decode(kind, found.payload)


@asynccontextmanager
async def living(stage: Stage, unit: Unit) -> AsyncIterator[tuple[Updates, asyncio.Event]]:
    """One life of the unit; the event is its wish to begin anew."""
    home = stage.folder / "units" / UNIT
    updates, restart = unit.updates(), asyncio.Event()
    updates.settle()
    channel = MqttChannel(stage.unit_settings())

    async def well() -> dict[str, str]:
        return {}

    async def is_present(_connection: Connection) -> None:
        said = UnitState(state="online", boot=1, software="rekam test", sequence=1, time_ms=1)
        await channel.publish(UP_STATE.at(unit=UNIT), encode(said), retain=True)

    around = Surroundings(UNIT, home, home / "unit.toml", lambda: True, well, restart.set, asyncio.Lock())
    intake = UpdateIntake(
        channel, cast(Downlink, OpeningDownlink(home)), updates, around, ControllerRelease(None, home),
        installer=MarkingInstaller,
    )  # fmt: skip
    channel.on_connected(is_present)
    async with channel:
        running = asyncio.create_task(intake.run())
        try:
            yield updates, restart
        finally:
            intake.stop()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def at_step(line: HubLine, step: str) -> RolloutUnitRow:
    """The unit in the newest rollout, once it has come so far."""
    async with asyncio.timeout(WAIT_S):
        while True:
            found = await line.ask(Verb.ROLLOUTS, RolloutsOrder(rollout="newest"), RolloutsResult)
            if found.units[0].step == step and (step == "writing" or found.rows[0].state in ("done", "stopped")):
                return found.units[0]
            await asyncio.sleep(0.2)


@pytest.mark.timeout(200)
async def test_a_release_is_taken_up_and_the_next_one_left_and_the_hub_knows_both(tmp_path: Path) -> None:
    stage, unit = make_stage(tmp_path), Unit(tmp_path / "unit", Repository())
    office = Office(tmp_path, folder=stage.folder / "releases")
    office.add_edge("0.6.0")  # which the unit runs
    with stage.broker:
        async with stage.hub(), stage.line() as line:
            await line.ask(Verb.RELEASES, ReleasesOrder(), ReleasesResult)  # the hub is there
            for version, complaints, step in (
                ("0.7.0", {}, "good"),
                ("0.8.0", {"finger": "It is silent."}, "failed"),
            ):
                office.add_edge(version)
                await asyncio.to_thread(take, stage, office.publish(f"media-{version}"))
                async with living(stage, unit) as (updates, restart):
                    waves = (Wave(percent=100),)
                    await line.ask(Verb.UPDATE, UpdateOrder(
                        release=version, units=(UNIT,), waves=waves, soak_s=0, good_percent=90, stop_percent=5,
                        overdue_s=3600,
                    ), UpdateResult)  # fmt: skip
                    await asyncio.wait_for(restart.wait(), WAIT_S)
                    assert updates.record.state is UpdateState.TRIAL
                await at_step(line, "writing")
                await proved(unit, complaints)
                async with living(stage, unit) as (updates, restart):
                    row = await at_step(line, step)
                    assert not restart.is_set()
                assert (row.version, "It is silent" in row.detail) == ("0.7.0", step == "failed"), row
    assert unit.running == Release(2, "0.7.0")
