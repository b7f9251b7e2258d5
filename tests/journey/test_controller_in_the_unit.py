"""The controller as part of a unit: its firmware in the VM, the panel, the sealed store, the alarms, the work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contract.clock import SystemClock
from contract.errors import DeviceError
from edge.alarms import AlarmBook
from edge.enclosure import WorkView
from edge.panel_watch import make_panel, show_of
from edge.panel_words import ALARMS, PanelEvent
from edge.sealed_store import SealedStore
from edge.sensors.selftest import Outcome, examine_devices
from firmware import dictionary as words
from tests.device.controller_bench import board
from tests.device.controller_bench import until as patiently
from tests.journey.agent_world import AgentWorld
from tests.unit.test_edge_enclosure import Line, until
from virtual.controller_twin import ControllerTwin

pytestmark = pytest.mark.xdist_group("controller")
ON, OFF = words.LAMP_ON, words.LAMP_OFF


class Unit:
    """One life of an agent, as far as its controller goes."""

    def __init__(self, store: SealedStore, port: str, line: Line) -> None:
        self.diary: list[str] = []
        self.alarms = AlarmBook("desk-a1", store, SystemClock(), line.publish)
        table = {"driver": "panel", "port": port}
        watch = make_panel({"controller": table}, store, self.alarms)
        assert watch is not None
        self.watch = watch
        self.watch.note = self.diary.append


@asynccontextmanager
async def living(store: SealedStore, twin: ControllerTwin, line: Line) -> AsyncIterator[Unit]:
    unit = Unit(store, twin.port, line)
    unit.watch.open()
    running = [asyncio.create_task(unit.watch.run()), asyncio.create_task(unit.alarms.run())]
    try:
        await long(lambda: unit.watch.status()["state"] == "ready")
        yield unit
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await unit.watch.close()


async def long(true: object) -> None:
    for _ in range(8):
        try:
            return await until(true)  # type: ignore[arg-type]
        except AssertionError:
            continue
    raise AssertionError("it did not happen")


def kinds(line: Line) -> list[str]:
    return [alarm.kind for alarm in line.said]


async def test_what_happens_to_the_box_is_told_once_in_every_life_of_agent_and_board(tmp_path: Path) -> None:
    line, store = Line(), SealedStore(tmp_path / "unit.db", bytes(range(32)))
    with board(tmp_path) as twin:
        async with living(store, twin, line) as unit:
            await long(lambda: "started" in unit.diary)
            twin.set_input("tamper", True)
            await long(lambda: kinds(line) == ["tamper-open"])
            await long(lambda: unit.watch.status()["tamper_open"])
        twin.set_input("door", True)  # the agent is down
        await asyncio.sleep(0.2)
        twin.cut_power()
        line.on = False  # and so is the line to the centre
        async with living(store, twin, line) as unit:
            await long(lambda: "door-open" in unit.diary)
            assert kinds(line) == ["tamper-open"]
        line.on = True
        async with living(store, twin, line):
            await long(lambda: len(line.said) == 4)
            await asyncio.sleep(0.3)
    # While the agent was away the door opened and the power was cut: the board found both still open at its start.
    assert kinds(line) == ["tamper-open", "door-open", "tamper-open", "door-open"]
    assert len({alarm.alarm_id for alarm in line.said}) == 4
    assert "before the controller's last start" in next(a.detail for a in line.said if a.kind == "door-open")
    store.close()


async def test_ring_and_lamps_follow_the_work_also_after_the_board_restarted(tmp_path: Path) -> None:
    line, store = Line(), SealedStore(tmp_path / "unit.db", bytes(range(32)))

    def lamps(twin: ControllerTwin) -> list[int]:
        return [twin.seen.levels.get(f"lamp_{name}", 0) for name in ("red", "amber", "green")]

    with board(tmp_path) as twin:
        async with living(store, twin, line) as unit:
            await long(lambda: lamps(twin) == [0, 0, 1])
            unit.watch.show(WorkView("fingers", busy=True, ended=False, problem=False))
            await long(lambda: lamps(twin) == [0, 1, 0])
            twin.cut_power()
            await long(lambda: twin.seen.boots == 2 and lamps(twin) == [0, 1, 0])
            twin.terminal.unplug()
            await asyncio.sleep(1.3)  # longer than the board shows anything without the unit
            assert lamps(twin) != [0, 1, 0] or twin.seen.ring[0] == (0, 0, 0)
            twin.terminal.plug_in()
            await long(lambda: lamps(twin) == [0, 1, 0] and max(twin.seen.ring) == (0, 30, 90))
            unit.watch.show(WorkView("fingers", busy=False, ended=False, problem=True))
            await long(lambda: lamps(twin) == [1, 0, 0])
            await long(lambda: 880 in twin.seen.tones)
            unit.watch.show(None)
            twin.set_input("presence", True)
            await long(lambda: 0 < twin.seen.ring[0][1] < 60)  # green, breathing
    store.close()


async def test_the_journal_and_the_alarm_are_one_write(tmp_path: Path) -> None:
    store = SealedStore(tmp_path / "unit.db", bytes(range(32)))
    unit = Unit(store, "/dev/null", Line())
    event = PanelEvent(7, 3, "tamper-open", 0, 5)
    assert await unit.watch.keep(event)
    assert not await unit.watch.keep(event)
    assert not await unit.watch.keep(PanelEvent(7, 2, "door-open", 0, 5))
    assert await unit.watch.keep(PanelEvent(8, 1, "door-open", 0, None)), "another log counts for itself"
    assert unit.alarms.waiting == 2
    again = AlarmBook("desk-a1", store, SystemClock(), Line().publish)
    assert again.waiting == 2
    store.close()


async def test_an_event_that_the_disk_does_not_take_is_not_forgotten_by_the_board(tmp_path: Path) -> None:
    store = SealedStore(tmp_path / "unit.db", bytes(range(32)))
    unit = Unit(store, "/dev/null", Line())
    store.close()
    with pytest.raises(DeviceError):
        await unit.watch.keep(PanelEvent(7, 3, "tamper-open", 0, 5))
    assert unit.alarms.waiting == 0


def test_every_state_of_the_work_shows_and_every_alarm_exists() -> None:
    assert show_of(None).lamps == (OFF, OFF, ON)
    shown = {
        show_of(WorkView("photo", busy=busy, ended=ended, problem=problem))
        for busy, ended, problem in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    }
    assert len(shown) == 4
    assert set(words.EVENTS.values()) >= ALARMS


async def test_a_table_without_a_port_or_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    store = SealedStore(tmp_path / "unit.db", bytes(range(32)))
    alarms = AlarmBook("desk-a1", store, SystemClock(), Line().publish)
    for table in ({"driver": "panel"}, {"driver": "panel", "port": "/dev/x", "speed": 1}):
        with pytest.raises(DeviceError, match="controller"):
            make_panel({"controller": table}, store, alarms)
    store.close()


def test_a_unit_without_a_controller_has_none(tmp_path: Path) -> None:
    store = SealedStore(tmp_path / "unit.db", bytes(range(32)))
    assert make_panel({"finger": {}}, store, None) is None  # type: ignore[arg-type]
    store.close()


async def test_the_selftest_knows_the_controller(tmp_path: Path) -> None:
    with board(tmp_path) as twin:
        rows = await examine_devices({"controller": {"driver": "panel", "port": twin.port}})
    row = next(row for row in rows if row.kind == "controller")
    assert (row.outcome, row.model, row.firmware) == (Outcome.OK, "Rekam controller", "0.1.0")
    rows = await examine_devices({"controller": {"driver": "panel", "port": str(tmp_path / "nothing")}})
    row = next(row for row in rows if row.kind == "controller")
    assert row.outcome is Outcome.FAILED and row.next_step


def test_the_agent_shows_its_work_on_the_board_and_runs_on_without_it(tmp_path: Path) -> None:
    """The whole agent as a process, with the board on its port."""
    world = AgentWorld(tmp_path)
    try:
        with board(tmp_path / "board") as twin:
            settings = tmp_path / "unit.toml"
            table = f'[devices.controller]\ndriver = "panel"\nport = "{twin.port}"\n'
            settings.write_text(settings.read_text() + table)
            world.start()
            patiently(lambda: world.get("/api/status")["controller"]["state"] == "ready", "the board")
            patiently(lambda: twin.seen.levels.get("lamp_green") == 1, "a unit that is free")
            twin.set_input("tamper", True)
            patiently(lambda: world.get("/api/status")["enclosure"]["alarms_waiting"] == 1, "the alarm, off-line")
            world.walk(world.resident, lambda found: found["step"] == "signature")
            patiently(lambda: max(twin.seen.ring, default=(0,)) > (15, 15, 15), "white: the person's turn")
            twin.power(on=False)
            patiently(lambda: world.get("/api/status")["controller"]["state"] == "silent", "silence")
            assert world.post("/api/session/cancel")["step"] == "cancelled"
        assert world.end() == 0, (tmp_path / "agent.log").read_text()
    finally:
        world.close()
