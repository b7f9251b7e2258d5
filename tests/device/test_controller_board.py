"""The controller's own firmware in the MicroPython VM with 64 KB, behind a pseudo-terminal, on both ports."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

import pytest

from contract.errors import DeviceError, TransientError
from edge.panel import Panel
from edge.panel_words import PanelState
from firmware import dictionary as words
from tests.device.controller_bench import Journal, board, move, panel_on, seen, until
from virtual.controller_twin import ControllerTwin

pytestmark = pytest.mark.xdist_group("controller")


Running = tuple[ControllerTwin, Panel, Journal]


@pytest.fixture(scope="module", params=["board_rp2", "board_esp32"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    journal = Journal()
    with board(tmp_path_factory.mktemp("controller"), request.param) as twin, panel_on(twin.port, journal) as panel:
        yield twin, panel, journal


def test_it_says_who_it_is(running: Running) -> None:
    _, panel, journal = running
    info = panel.open()
    assert (info.serial, info.firmware) == ("e66118604b4a2b21", "0.1.0")
    until(lambda: "started" in journal.names, "the event of the start")
    assert panel.identify().has_key


def test_lamps_ring_and_buzzer_follow_their_commands(running: Running) -> None:
    twin, panel, _ = running
    panel.command(words.DO_LAMP, bytes([2, words.LAMP_ON]))
    panel.command(words.DO_RING, bytes([words.RING_STEADY, 255, 0, 0]))
    panel.command(words.DO_BUZZ, bytes([words.BUZZ_OK]))
    until(lambda: twin.seen.levels["lamp_green"] == 1, "the green lamp")
    until(lambda: twin.seen.ring == [(96, 0, 0)] * 12, "a red ring")
    until(lambda: 2217 in twin.seen.tones, "the second tone")
    with pytest.raises(DeviceError):
        panel.command(words.DO_LAMP, bytes([9, words.LAMP_ON]))


def test_switches_are_events_and_presence_shows(running: Running) -> None:
    twin, panel, journal = running
    before = len(journal.events)
    for active in (True, False):
        twin.set_input("tamper", active)
        until(lambda active=active: seen(panel).tamper_open is active, "the tamper switch")
    twin.set_input("presence", True)
    until(lambda: seen(panel).presence, "the person")
    twin.set_input("presence", False)
    until(lambda: journal.names[before:] == ["tamper-open", "tamper-closed"], "the two events")
    assert all(event.age_s == 0 for event in journal.events[before:])


def test_light_keeps_to_its_limits(running: Running) -> None:
    twin, panel, journal = running
    with pytest.raises(TransientError, match="rests") as resting:
        panel.on(850, 100, 10_000)
    assert "Wait" in resting.value.next_step
    until(lambda: _lit(panel, 940, 50, 300), "light", 10)
    until(lambda: twin.seen.duties["nir_940"] == 16384, "half of the duty that is allowed")
    until(lambda: twin.seen.levels["nir_enable"] == 1, "the driver of the light")
    assert twin.seen.duties["nir_850"] == 0
    until(lambda: twin.seen.duties["nir_940"] == 0 and twin.seen.levels["nir_enable"] == 0, "darkness by itself", 3)
    for bad in ((660, 50, 100), (850, 101, 100), (850, 0, 100), (850, 50, 10_001), (850, 50, 70_000)):
        with pytest.raises(DeviceError):
            panel.on(*bad)
    twin.set_celsius(None)
    until(lambda: seen(panel).celsius is None, "a cut thermistor")
    with pytest.raises(DeviceError, match="thermometer"):
        panel.on(850, 50, 100)
    twin.set_celsius(70)
    until(lambda: "overheat" in journal.names, "the alarm")
    with pytest.raises(DeviceError, match="too hot"):
        panel.on(850, 50, 100)
    twin.set_celsius(25)
    until(lambda: seen(panel).celsius in (24, 25), "it cools")


def _lit(panel: Panel, *light: int) -> bool:
    try:
        panel.on(*light)
    except TransientError:
        time.sleep(0.1)
        return False
    return True


def test_hopper_gives_a_card_and_says_when_it_cannot(running: Running, request: pytest.FixtureRequest) -> None:
    twin, panel, journal = running
    if "esp32" in request.node.name:
        pytest.skip("the same module on both ports, and five seconds of stepping")
    with pytest.raises(DeviceError, match="homed"):
        panel.command(words.DO_FEED)
    move(panel, words.AXIS_HOPPER, words.DO_HOME, bytes([words.AXIS_HOPPER]))
    move(panel, words.AXIS_HOPPER, words.DO_FEED)
    until(lambda: twin.card_out and twin.steppers[0].at <= 0, "a card, and the pusher at home")
    until(lambda: twin.seen.levels["motors"] == 1, "coils that are off at rest")
    with pytest.raises(DeviceError, match="jammed"):
        panel.command(words.DO_FEED)  # a card lies at the exit
    twin.take_card()
    until(lambda: not seen(panel).inputs & words.IN_HOPPER_EXIT, "an empty exit")
    move(panel, words.AXIS_HOPPER, words.DO_HOME, bytes([words.AXIS_HOPPER]))
    move(panel, words.AXIS_HOPPER, words.DO_STEP, struct.pack("<Bh", words.AXIS_HOPPER, 100))
    twin.steppers[0].stuck = True
    with pytest.raises(DeviceError, match="jammed"):
        move(panel, words.AXIS_HOPPER, words.DO_HOME, bytes([words.AXIS_HOPPER]))
    twin.steppers[0].stuck = False
    until(lambda: "jam" in journal.names, "the event of the jam")


def test_gate_opens_and_closes(running: Running) -> None:
    twin, panel, _ = running
    move(panel, words.AXIS_GATE, words.DO_GATE, b"\x00")
    move(panel, words.AXIS_GATE, words.DO_GATE, b"\x01")
    until(lambda: twin.steppers[1].at >= 295, "an open gate")
    move(panel, words.AXIS_GATE, words.DO_GATE, b"\x00")
    until(lambda: twin.steppers[1].at <= 0, "a closed gate")


def test_counters_of_both_ends_are_visible(running: Running) -> None:
    _, panel, _ = running
    board_side, ours = panel.board_counters(), panel.status().counters
    assert set(board_side) == set(ours) == set(words.COUNTERS)
    assert board_side["frames_in"] > 10 and ours["frames_in"] > 10


def test_memory_stays_within_the_heap(running: Running) -> None:
    _, panel, _ = running
    until(lambda: panel.status().state is PanelState.READY, "the link")
    assert panel.identify().free_bytes > 6000
