"""The box around the unit: lamps follow the work, contacts become events, and a box that fails stops nobody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory

from contract.dispatch import decode
from contract.errors import DeviceError, TransientError
from contract.transfer import MESSAGE_BYTES_MAX, UnitAlarm
from edge.alarms import HOUR_MS as ALARM_HOUR_MS
from edge.alarms import KIND_MAX, AlarmBook
from edge.config import EnclosureTable
from edge.diary import BOX_LINES_MAX, HOUR_MS, Diary
from edge.enclosure import LAMPS, STEP_LAMP, Contact, Enclosure, WorkView, lamps_of
from edge.enclosure_watch import EnclosureWatch
from edge.enrolment import ENROLMENT
from edge.handover import HANDOVER
from edge.sealed_store import Change, SealedStore
from edge.sensors.climate_sht31 import Sht31
from edge.sensors.interface import Climate
from edge.sensors.worker import DeviceWorker
from tests.screens.test_unit_pages import HEADERS, PRESSED, SESSION, client_of, make_desk
from tests.unit.edge_fakes import OPERATOR, SetClock, make_bench
from virtual.i2c_parts import Sht31Twin
from virtual.i2c_twin import I2cBusTwin

PINS = {"ready": 17, "turn": 27, "busy": 22, "fault": 23, "camera": 5, "finger": 6, "iris": 13, "signature": 19}
TABLE = EnclosureTable(lamps=PINS, help=24, cancel=25, door=26, bounce_s=0.01)


class Line:
    """The way to the centre. on: whether it hears."""

    def __init__(self) -> None:
        self.on = True
        self.said: list[UnitAlarm] = []

    async def publish(self, topic: str, payload: bytes) -> bool:
        if not self.on:
            raise TransientError("no line")
        alarm = decode(UnitAlarm, payload, MESSAGE_BYTES_MAX)
        assert topic == f"k/desk-a1/up/evt/{alarm.kind}"
        self.said.append(alarm)
        return True


class Box:
    """An enclosure on mock pins with a climate sensor on a bus twin."""

    def __init__(self, folder: Path) -> None:
        self.pins, self.line, self.clock = MockFactory(), Line(), SetClock()
        self.store = SealedStore(folder / "box.db", bytes(range(32)))
        self.climate = Sht31Twin(Climate(30.0, 50.0))
        self.bus = bus = I2cBusTwin({0x44: self.climate})
        self.sensor: DeviceWorker[Any] = DeviceWorker(
            "climate", lambda: Sht31(open_bus=bus.open, sleep=lambda _s: None)
        )
        self.diary: list[str] = []
        self.cancelled = 0
        self.alarms = AlarmBook("desk-a1", self.store, self.clock, self.line.publish)
        self.watch = EnclosureWatch(
            TABLE, self.alarms, self.sensor, note=self.diary.append, cancel=self._cancel, pin_factory=self.pins
        )
        self.watch.open()  # a mock pin with a pull-up reads high: the door stands open
        self.press(26)

    def _cancel(self) -> None:
        self.cancelled += 1

    def press(self, pin: int) -> None:
        self.pins.pin(pin).drive_low()

    def release(self, pin: int) -> None:
        self.pins.pin(pin).drive_high()

    def lit(self) -> set[str]:
        return {name for name, pin in PINS.items() if self.pins.pin(pin).state}


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    made = Box(tmp_path)
    running = [asyncio.create_task(made.watch.run()), asyncio.create_task(made.alarms.run())]
    await until(lambda: [alarm.kind for alarm in made.line.said] == ["door-opened", "door-closed"])
    await until(lambda: made.alarms.waiting == 0)
    made.line.said.clear()
    made.diary.clear()
    yield made
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    made.watch.close()
    await made.sensor.close()
    made.store.close()


async def until(true: Callable[[], bool]) -> None:
    for _ in range(400):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


def test_every_lamp_that_a_step_asks_for_exists_and_every_step_lights_something() -> None:
    assert set(STEP_LAMP.values()) <= LAMPS
    assert set(STEP_LAMP) <= {*ENROLMENT, *HANDOVER}
    for step in (*ENROLMENT, *HANDOVER):
        for busy in (False, True):
            assert lamps_of(WorkView(step, busy=busy, ended=False, problem=False)) <= LAMPS - {"ready", "fault"}
    assert lamps_of(None) == lamps_of(WorkView("saved", busy=False, ended=True, problem=False)) == {"ready"}
    assert lamps_of(WorkView("fingers", busy=True, ended=False, problem=True)) == {"busy", "finger", "fault"}


async def test_the_lamps_follow_a_whole_capture(box: Box, tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    desk = make_desk(bench)
    desk.watch = box.watch.show
    assert box.lit() == {"ready"}
    seen = []
    async with client_of(desk) as client:
        client.headers.update(HEADERS)
        found = (await client.post("/api/session", json=SESSION)).json()
        while found["state"] != "ended":
            seen.append((found["step"], box.lit()))
            bench.sensors.person = OPERATOR if found["step"] == "sign_off" else "sari"
            action = PRESSED.get(found["step"], "capture")
            found = (await client.post(f"/api/session/{action}?wait_s=5")).json()
        assert box.lit() == {"ready"}
    assert ("photo", {"turn", "camera"}) in seen
    assert ("signature", {"turn", "signature"}) in seen
    assert ("fingers", {"turn", "finger"}) in seen
    assert ("irises", {"turn", "iris"}) in seen
    bench.store.close()


async def test_a_trouble_shows_and_goes(box: Box, tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    desk = make_desk(bench)
    desk.watch = box.watch.show
    bench.sensors.faults = [DeviceError("camera gone")]
    async with client_of(desk) as client:
        client.headers.update(HEADERS)
        await client.post("/api/session", json=SESSION)
        await client.post("/api/session/confirm?wait_s=5")
        await client.post("/api/session/capture?wait_s=5")
        assert box.lit() == {"turn", "camera", "fault"}
        await client.post("/api/session/capture?wait_s=5")
        assert box.lit() == {"turn"}  # the picture is looked at
        await client.post("/api/session/confirm?wait_s=5")
        assert box.lit() == {"turn", "signature"}
        await desk.cancel_open()
        assert box.lit() == {"ready"}
    bench.store.close()


async def test_a_box_that_nothing_happens_to_does_nothing(box: Box) -> None:
    await until(lambda: box.watch.status()["temperature_c"] == 30.0)
    threads, transfers = set(threading.enumerate()), box.bus.transfers
    for _ in range(50):
        await asyncio.sleep(0)
    assert box.bus.transfers == transfers
    assert set(threading.enumerate()) == threads
    assert not [thread.name for thread in threads if "gpio" in type(thread).__module__]


async def test_an_opened_door_is_in_the_diary_and_at_the_centre(box: Box) -> None:
    assert box.watch.status()["door"] == "closed"
    box.release(26)
    await until(lambda: [alarm.kind for alarm in box.line.said] == ["door-opened"])
    assert box.diary == ["door-opened"]
    assert box.watch.status()["door"] == "open"
    assert box.line.said[0].source == "enclosure"
    box.press(24)
    await until(lambda: "help-asked" in box.diary)
    box.press(25)
    await until(lambda: box.cancelled == 1)
    assert "cancel-pressed" not in [alarm.kind for alarm in box.line.said]


async def test_an_alarm_without_a_line_waits_through_a_restart_and_is_said_once(box: Box) -> None:
    box.line.on = False
    box.release(26)
    await until(lambda: box.alarms.waiting == 1)
    assert box.line.said == []
    again = AlarmBook("desk-a1", box.store, box.clock, box.line.publish)  # as after a restart
    assert again.waiting == 1
    box.line.on = True
    assert await again.say()
    assert {alarm.kind for alarm in box.line.said} == {"door-opened"}
    assert len({alarm.alarm_id for alarm in box.line.said}) == 1
    assert AlarmBook("desk-a1", box.store, box.clock, box.line.publish).waiting == 0


async def test_a_contact_that_chatters_for_days_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.alarms.WAITING_MAX", 5)
    store, line = SealedStore(tmp_path / "box.db", bytes(range(32))), Line()
    book = AlarmBook("desk-a1", store, SetClock(), line.publish)
    for _ in range(12):
        await book.note("door-opened", "enclosure")
    assert book.waiting == 5 == store.count("alarm")
    store.close()


async def test_a_contact_that_chatters_does_not_flood_the_centre_and_what_was_left_out_is_counted(
    tmp_path: Path,
) -> None:
    store, line, clock = SealedStore(tmp_path / "box.db", bytes(range(32))), Line(), SetClock()
    book = AlarmBook("desk-a1", store, clock, line.publish)
    for number in range(KIND_MAX + 7):
        await book.note("tamper-open", "controller", with_it=(Change("controller", "log", bytes([number])),))
    await book.note("help-asked", "enclosure")
    assert await book.say()
    assert [alarm.kind for alarm in line.said] == ["tamper-open"] * KIND_MAX + ["help-asked"]
    assert store.get("controller", "log") == bytes([KIND_MAX + 6]), "the controller may forget them all the same"
    clock.now_ms += ALARM_HOUR_MS
    await book.note("tamper-open", "controller")
    assert await book.say()
    assert line.said[-1].detail == "(7 more since the last)"
    store.close()


async def test_a_contact_that_chatters_for_days_does_not_fill_the_diary(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    desk = make_desk(bench)
    desk.diary = Diary(bench.store, bench.clock)
    for _ in range(2):
        for _ in range(BOX_LINES_MAX + 50):
            desk.note("enclosure", "door-opened")
        bench.clock.now_ms += HOUR_MS
    await desk.leave()
    assert len(desk.diary.latest(10_000)) == 2 * BOX_LINES_MAX
    bench.store.close()


async def test_an_alarm_that_a_newer_one_displaced_while_it_was_said_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.alarms.WAITING_MAX", 2)
    store, said = SealedStore(tmp_path / "box.db", bytes(range(32))), list[str]()

    async def publish(topic: str, _payload: bytes) -> bool:
        if not said:
            await book.note("help-asked", "enclosure")  # the list is full: the alarm that is being said has to go
        said.append(topic.rpartition("/")[2])
        return True

    book = AlarmBook("desk-a1", store, SetClock(), publish)
    for kind in ("door-opened", "door-closed"):
        await book.note(kind, "enclosure")
    assert await book.say()
    assert await book.say()
    assert said == ["door-opened", "door-closed", "help-asked"]
    assert book.waiting == store.count("alarm") == 0
    store.close()


async def test_a_disk_that_cannot_forget_an_alarm_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, line = SealedStore(tmp_path / "box.db", bytes(range(32))), Line()
    book = AlarmBook("desk-a1", store, SetClock(), line.publish)
    await book.note("door-opened", "enclosure")
    with monkeypatch.context() as broken:
        broken.setattr(store, "remove", lambda *_: (_ for _ in ()).throw(DeviceError("disk full")))
        assert not await book.say()
    assert book.waiting == 1
    assert await book.say()
    assert book.waiting == 0
    store.close()


async def test_heat_is_told_once_and_again_only_after_it_cooled_down(box: Box) -> None:
    await until(lambda: box.watch.status()["temperature_c"] == 30.0)
    for temperature_c in (62.0, 65.0, 58.0, 61.0, 50.0, 61.0):
        box.climate.climate = Climate(temperature_c, 40.0)
        await box.watch.measure(box.sensor)
    assert box.diary.count("too-hot") == 2
    await until(lambda: [alarm.detail for alarm in box.line.said] == ["62.0 °C", "61.0 °C"])


async def test_a_sensor_that_is_gone_shows_no_old_temperature(box: Box) -> None:
    await until(lambda: box.watch.status()["temperature_c"] is not None)
    box.climate.read = lambda _length: b"\xff" * 6  # type: ignore[method-assign]
    await box.watch.measure(box.sensor)
    assert box.watch.status()["temperature_c"] is None


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (EnclosureTable(lamps={"ready": 4}, pin_factory="rpigpio"), "not installed"),
        (EnclosureTable(lamps={"ready": 4}, help=4), "already in use"),
    ],
)
def test_pins_that_cannot_be_had_say_what_to_do(table: EnclosureTable, words: str) -> None:
    pins = None if table.pin_factory == "rpigpio" else MockFactory()
    box = Enclosure(table, lambda _contact: None, pin_factory=pins)
    with pytest.raises(DeviceError, match=words) as caught:
        box.open()
    assert caught.value.next_step
    box.close()
    box.close()


def test_an_unknown_lamp_is_refused_with_the_list() -> None:
    with pytest.raises(DeviceError, match="disco") as caught:
        Enclosure(EnclosureTable(lamps={"disco": 4}), lambda _contact: None)
    assert "ready" in caught.value.next_step


async def test_a_box_that_fails_is_said_in_the_status_and_stops_nobody(tmp_path: Path) -> None:
    store = SealedStore(tmp_path / "box.db", bytes(range(32)))
    book = AlarmBook("desk-a1", store, SetClock(), Line().publish)
    table = EnclosureTable(lamps={"ready": 4}, pin_factory="rpigpio")
    watch = EnclosureWatch(table, book, None, note=lambda _step: None, cancel=lambda: None)
    watch.open()
    watch.show(WorkView("photo", busy=False, ended=False, problem=False))
    assert "not installed" in watch.status()["problem"]
    watch.close()
    store.close()


def test_contacts_are_named_as_alarms_may_be() -> None:
    for contact in Contact:
        UnitAlarm(alarm_id="01920000-0000-7000-8000-000000000001", kind=contact.value, source="enclosure", at_ms=1)
