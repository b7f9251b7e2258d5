"""A few simulated units through the blows of the capacity campaign; `make fleet-1000` is the whole of it."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import func, select

from contract.channel_mqtt_settings import Backoff
from contract.clock import SystemClock
from edge import alarms
from hub import presence, roll_call
from hub import service as hub_service
from hub.schema.commissioning_tables import Alarm
from hub.schema.tables import Packet, Unit
from hub.service import HubService
from tests.commissioning.stage import FAST, until
from tests.fleet import simulated_unit
from tests.fleet.fleet_world import make_fleet
from tests.fleet.simulated_unit import SimulatedUnit

GRACE_MS = 1500
UNITS = 6


def online(hub: HubService) -> list[str]:
    """Who the hub believes is on the line."""
    with hub.central.context.database.reading() as session:
        said = {unit.id: presence.presence_of(unit) for unit in session.scalars(select(Unit).order_by(Unit.id))}
    return [name for name, state in said.items() if state is not None and state.state == "online"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roll_call, "GRACE_MS", GRACE_MS)
    monkeypatch.setattr(hub_service, "RECONNECT", FAST)
    monkeypatch.setattr(simulated_unit, "ANSWER_S", 0.5)
    monkeypatch.setattr(alarms, "AGAIN_S", 0.5)
    monkeypatch.setattr(alarms, "ANSWER_S", 1.0)
    monkeypatch.setattr(simulated_unit, "RECONNECT", Backoff(first_s=0.1, max_s=0.5))


async def test_the_hubs_picture_is_right_whoever_dies_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    stage = make_fleet(tmp_path, UNITS, lambda _: None)
    units = [SimulatedUnit(folder, SystemClock()) for folder in sorted((stage.folder / "units").iterdir())]
    names = [unit.id for unit in units]
    with stage.broker:
        async with stage.hub() as hub:
            running = [asyncio.create_task(unit.run()) for unit in units]
            await until(lambda: hub.central.roll.connected_ms is not None and online(hub) == names)
            for unit in units:
                unit.capture()
                await unit.alarms.note("door-opened", "enclosure")
            await asyncio.to_thread(stage.broker.kill)
            await _end(running[:2])  # nobody publishes their wills
            await asyncio.to_thread(stage.broker.start)
            await until(lambda: online(hub) == names[2:], 10)
            await until(lambda: not any(unit.waiting for unit in units[2:]))
            _cut(units[2])
            await _end(running[2:3])
            await until(lambda: online(hub) == names[3:], 10)
            with hub.central.context.database.reading() as session:
                assert session.scalar(select(func.count()).select_from(Packet)) in range(UNITS - 2, UNITS + 1)
                told = Counter(session.scalars(select(Alarm.unit)))
            assert set(names[2:]) <= set(told) and set(told.values()) == {1}
            assert all(times == 1 for unit in units for times in unit.released.values())
            await _end(running[3:])


def _cut(unit: SimulatedUnit) -> None:
    """End a unit's connection without a word, as a power cut does: the broker publishes its will."""
    session = unit.channel._session
    assert session is not None
    session._client.socket().shutdown(socket.SHUT_RDWR)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
