"""What a controller survives: hangs, power cuts, unplugging, a silent host, bad firmware, forged firmware."""

from __future__ import annotations

import contextlib
import hashlib
import struct
import threading
import time
from pathlib import Path

import pytest

from contract.errors import CaptureRetry, DeviceError, RekamError, RemoteError, TransientError
from edge.panel import Panel
from edge.panel_update import image_version, update_controller, update_mac, update_over_port
from edge.panel_words import PanelState
from firmware import dictionary as words
from provisioning.firmware_image import update_mac as depot_mac
from tests.device.controller_bench import KEY, Journal, board, built, move, panel_on, seen, until

NEWER = 0x000200
RESET_MS_MAX = 500
LIT_MS = 2500


def test_a_restart_is_known_within_half_a_second(tmp_path: Path) -> None:
    known, took_ms = threading.Event(), []
    with board(tmp_path) as twin, panel_on(twin.port, restarted=known.set) as panel:
        for cuts in range(1, 4):
            known.clear()
            cut_s = time.monotonic()
            twin.cut_power()
            assert known.wait(10)
            took_ms.append((time.monotonic() - cut_s) * 1000)
            assert panel.status().restarts == cuts
            until(lambda: panel.status().state is PanelState.READY, "the board")
    assert min(took_ms) <= RESET_MS_MAX, "the best of three: other work on this machine is not the link's"


def test_a_controller_that_falls_silent_is_known_too_and_comes_back(tmp_path: Path) -> None:
    took_ms = []
    with board(tmp_path) as twin, panel_on(twin.port) as panel:
        for _ in range(3):
            off_s = time.monotonic()
            twin.power(on=False)
            until(lambda: panel.status().state is PanelState.SILENT, "silence")
            took_ms.append((time.monotonic() - off_s) * 1000)
            with pytest.raises(DeviceError, match="not heard"):
                panel.command(words.DO_DARK, timeout_s=0.3)
            twin.power(on=True)
            until(lambda: panel.status().state is PanelState.READY, "its return")
    assert min(took_ms) <= RESET_MS_MAX


def test_a_hang_is_ended_by_the_watchdog_and_told(tmp_path: Path) -> None:
    journal = Journal()
    with board(tmp_path) as twin, panel_on(twin.port, journal) as panel:
        twin.hang()
        until(lambda: twin.seen.bites == 1, "the watchdog")
        until(lambda: journal.names.count("started") == 2, "the event")
        assert journal.events[-1].detail == words.WATCHDOG
        assert panel.status().restarts == 1


def test_events_wait_for_the_host_across_power_cuts_and_arrive_once(tmp_path: Path) -> None:
    journal = Journal()
    with board(tmp_path) as twin:
        with panel_on(twin.port, journal):
            until(lambda: journal.names == ["started"], "the first event")
        twin.set_input("tamper", True)
        time.sleep(0.3)
        twin.set_input("tamper", False)
        time.sleep(0.3)
        twin.cut_power()
        until(lambda: twin.seen.boots == 2, "the second start")
        with panel_on(twin.port, journal):
            until(lambda: journal.names.count("started") == 2, "what was kept")
    kept = [name for name in journal.names if name != "link-lost"]
    assert kept == ["started", "tamper-open", "tamper-closed", "started"]
    assert journal.events[1].age_s is None, "a board without a clock does not know how long it was without power"
    numbers = [event.number for event in journal.events]
    assert numbers == sorted(set(numbers))


def test_an_event_that_was_not_journaled_is_offered_again(tmp_path: Path) -> None:
    class FullDisk(Journal):
        full = True

        def __call__(self, event: object) -> bool:
            if self.full:
                raise DeviceError("disk full")
            return super().__call__(event)  # type: ignore[arg-type]

    journal = FullDisk()
    with board(tmp_path) as twin, panel_on(twin.port, journal) as panel:
        twin.set_input("door", True)
        until(lambda: seen(panel).door_open, "the door")
        assert journal.names == []
        journal.full = False
        until(lambda: "door-open" in journal.names, "the event", 5)


def test_outputs_go_safe_when_the_host_is_silent(tmp_path: Path) -> None:
    with board(tmp_path) as twin:
        with panel_on(twin.port) as panel:
            panel.command(words.DO_RING, bytes([words.RING_STEADY, 0, 60, 0]))
            move(panel, words.AXIS_GATE, words.DO_HOME, bytes([words.AXIS_GATE]))
            until(lambda: twin.seen.ring[0] == (0, 60, 0), "the ring")
            until(lambda: _lights(panel), "light")
            until(lambda: twin.seen.duties["nir_850"] > 0, "the lamp")
            lit_s = time.monotonic()
        until(lambda: twin.seen.duties["nir_850"] == 0, "darkness")
        assert time.monotonic() - lit_s < LIT_MS / 1000, "not because its time was over"
        until(lambda: twin.seen.ring[0] == (0, 0, 0), "a dark ring")
        until(lambda: twin.seen.levels["nir_enable"] == 0, "the driver off")
        until(lambda: twin.seen.levels["motors"] == 1, "coils without current")


def _lights(panel: Panel) -> bool:
    try:
        panel.on(850, 100, LIT_MS)
    except TransientError:
        time.sleep(0.2)
        return False
    return True


def test_unplugged_and_plugged_in_again_a_request_is_done_once(tmp_path: Path) -> None:
    journal = Journal()
    with board(tmp_path) as twin, panel_on(twin.port, journal) as panel:
        twin.terminal.unplug()
        until(lambda: panel.status().state is PanelState.ABSENT, "the missing port")
        answers: list[bytes] = []
        asking = threading.Thread(
            target=lambda: answers.append(panel.command(words.DO_RING, bytes([1, 9, 9, 9]), 10)), daemon=True
        )
        asking.start()
        twin.set_input("door", True)
        time.sleep(0.1)
        twin.terminal.plug_in()
        asking.join(10)
        assert answers == [b""]
        until(lambda: "door-open" in journal.names, "what happened meanwhile")
        assert panel.status().restarts == 0, "the board ran on"


def test_a_request_whose_answer_was_lost_is_answered_and_not_done_again(tmp_path: Path) -> None:
    """The same number twice, as a host says it that lost the first answer with its connection."""
    with board(tmp_path) as twin, panel_on(twin.port) as panel:
        move(panel, words.AXIS_GATE, words.DO_HOME, bytes([words.AXIS_GATE]))
        step = struct.pack("<Bh", words.AXIS_GATE, 50)
        panel.command(words.DO_STEP, step, 15)
        steps = twin.steppers[1].steps
        panel._number -= 1
        assert panel.command(words.DO_STEP, step, 15) == b""
        assert twin.steppers[1].steps == steps


def test_an_update_replaces_the_firmware_and_keeps_what_was_there(tmp_path: Path) -> None:
    content, journal, told = built(NEWER).content, Journal(), []
    assert image_version(content) == NEWER
    assert update_mac(KEY, content) == depot_mac(KEY, content, NEWER)
    with board(tmp_path) as twin, panel_on(twin.port, journal) as panel:
        identity = update_controller(panel, content, KEY, lambda done, _all: told.append(done))
        assert (identity.version, identity.slot, identity.on_trial) == (NEWER, 1, False)
        assert told[-1] == len(content)
        until(lambda: "updated" in journal.names, "the event")
        with pytest.raises(RemoteError, match="older"):
            update_controller(panel, built().content, KEY)
        assert (twin.flash / "a" / "firmware" / "link.mpy").exists(), "the slot to fall back to"


def test_what_the_board_cannot_verify_it_does_not_run(tmp_path: Path) -> None:
    content = built(NEWER).content
    with board(tmp_path) as twin, panel_on(twin.port) as panel:
        with pytest.raises(RemoteError, match="not made for this controller"):
            update_controller(panel, content, bytes(32))
        with pytest.raises(RemoteError, match="no firmware image"):
            update_controller(panel, b"ELF" + content[3:], KEY)
        with pytest.raises(TransientError, match="interrupted"):
            panel.command(words.DO_UPDATE_END)
        broken = content[:-1] + bytes([content[-1] ^ 1])
        begin = struct.pack("<II", len(content), NEWER) + hashlib.sha256(content).digest()
        panel.command(words.DO_UPDATE_BEGIN, begin + update_mac(KEY, content))
        for offset in range(0, len(broken), 180):
            panel.command(words.DO_UPDATE_BLOCK, struct.pack("<I", offset) + broken[offset : offset + 180])
        with pytest.raises(RemoteError, match="damaged"):
            panel.command(words.DO_UPDATE_END)
        assert panel.identify().version != NEWER
        assert not (twin.flash / "b").exists()


def test_a_power_cut_in_an_update_leaves_a_board_that_starts(tmp_path: Path) -> None:
    """Cut between blocks, and while the other slot is being written; then it goes through."""
    content = built(NEWER).content
    with board(tmp_path) as twin, panel_on(twin.port) as panel:
        for share, delay_s in ((0.02, 0.0), (0.7, 0.0), (1.0, 0.0), (1.0, 0.01), (1.0, 0.03)):
            restarts = panel.status().restarts

            def cut(done: int, whole: int, share: float = share, delay_s: float = delay_s) -> None:
                if done >= share * whole:
                    threading.Timer(delay_s, twin.cut_power).start()

            with contextlib.suppress(RekamError):
                update_controller(panel, content, KEY, cut)
            until(lambda before=restarts: panel.status().restarts > before, "the restart")
            until(lambda: panel.status().state is PanelState.READY, "the board")
            assert panel.identify().version in (built().version, NEWER)
            if delay_s == 0.0:
                assert panel.identify().version != NEWER
        assert update_controller(panel, content, KEY).version == NEWER


def test_firmware_that_does_not_start_gives_way_to_the_one_before(tmp_path: Path) -> None:
    content, journal = built(NEWER).content, Journal()
    with board(tmp_path) as twin, panel_on(twin.port, journal) as panel:
        old = panel.identify().version
        update_controller(panel, content, KEY)
        (twin.flash / "b" / "firmware" / "link.mpy").write_bytes(b"rotten flash")
        twin.cut_power()
        until(lambda: "fell-back" in journal.names, "the fall-back", 30)
        assert (panel.identify().version, panel.identify().slot) == (old, 0)
        assert twin.seen.boots == 2 + 3 + 1, "three failed starts, then the slot before"
        until(lambda: "software-fault" in journal.names, "the reason")


def test_a_factory_reset_needs_a_hand_on_the_button(tmp_path: Path) -> None:
    journal = Journal()
    with board(tmp_path) as twin, panel_on(twin.port, journal) as panel:
        with pytest.raises(CaptureRetry, match="hand"):
            panel.command(words.DO_FACTORY_RESET)
        assert panel.identify().has_key
        twin.set_input("button", True)
        time.sleep(3.2)
        panel.command(words.DO_FACTORY_RESET)
        until(lambda: "factory-reset" in journal.names, "the event in a log of its own")
        until(lambda: panel.status().state is PanelState.READY and panel.status().restarts == 1, "the restart")
        assert not panel.identify().has_key
        with pytest.raises(DeviceError, match="no key"):
            update_controller(panel, built(NEWER).content, KEY)
        assert len({event.log_id for event in journal.events}) == 2


def test_the_command_updates_and_leaves_the_events_to_the_agent(tmp_path: Path) -> None:
    with board(tmp_path) as twin:
        identity = update_over_port({"driver": "panel", "port": twin.port}, built(NEWER).content, KEY, lambda *_: None)
        assert identity.version == NEWER
        journal = Journal()
        with panel_on(twin.port, journal):
            until(lambda: "updated" in journal.names, "the events of before")
        assert journal.names[0] == "started"
    with pytest.raises(DeviceError, match="no controller"):
        update_over_port({}, b"", KEY, lambda *_: None)
