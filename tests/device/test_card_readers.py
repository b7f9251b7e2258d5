"""What every card reader must do: on pcscd with a virtual reader, on a slot attached directly, and on hardware."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from contract.errors import CaptureRetry, DeviceError
from edge.sensors.drivers import open_driver
from edge.sensors.interface import CardReader, CardState
from tests.device.conftest import MASTER
from tests.device.hardware import HARDWARE, PATIENCE_S, Hardware, until_gone, until_open
from virtual.card_box import CardBox
from virtual.card_reader_rig import CardReaderRig
from virtual.card_slot import SlotControl

NEVER = threading.Event()
GET_UID = bytes.fromhex("FFCA000000")
pytestmark = pytest.mark.xdist_group("pcsc")


@dataclass
class Bench:
    """A reader, and the hands that lay and lift a card. gone, back: the reader's plug, where the bench has one."""

    reader: CardReader
    lay: Callable[[], object]
    lift: Callable[[], object]
    gone: Callable[[], object] | None
    back: Callable[[], object] | None


@pytest.fixture(scope="module")
def slot() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="slot-") as name:
        folder = Path(name)
        CardBox(folder / "cards").add_blanks(2, MASTER, 1)
        command = [sys.executable, "-m", "virtual.card_slot", "serve", "--cards", str(folder / "cards")]
        process = subprocess.Popen([*command, "--control", str(folder / "hands"), "--direct", str(folder / "reader")])
        SlotControl(folder / "hands").wait_until_up(20)
        yield folder
        process.terminate()
        process.wait()


def made(table: dict[str, object]) -> CardReader:
    reader = open_driver("card", table)
    assert isinstance(reader, CardReader)
    return reader


@pytest.fixture(params=["pcsc", "direct", HARDWARE])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "pcsc":
        rig: CardReaderRig = request.getfixturevalue("rig")
        table: dict[str, object] = {"driver": "pcsc", "reader": rig.reader, "socket": str(rig.socket)}
        hands = rig.control
        found = Bench(made(table), hands.insert, hands.remove, rig.stop_pcscd, rig.start_pcscd)
    elif request.param == "direct":
        folder: Path = request.getfixturevalue("slot")
        hands = SlotControl(folder / "hands")
        reader = made({"driver": "virtual.card_direct:DirectCardReader", "socket": str(folder / "reader")})
        found = Bench(reader, hands.insert, hands.remove, None, None)
    else:
        real = Hardware("card")
        found = Bench(made(real.table), lambda: real.ask("lay"), lambda: real.ask("lift"), None, None)
        if real.table["driver"] == "pcsc":
            found.gone, found.back = lambda: real.ask("unplug"), lambda: real.ask("plug in")
    yield found
    try:
        found.lift()
    finally:
        found.reader.close()


def wait_for(bench: Bench, *, present: bool) -> CardState:
    """The reader's state once a card lies there, or none does."""
    deadline = time.monotonic() + PATIENCE_S
    state = bench.reader.wait_for_change(None, 0, NEVER)
    while state.present is not present:
        assert time.monotonic() < deadline
        state = bench.reader.wait_for_change(state, 5, NEVER)
    return state


def test_the_reader_says_who_it_is(bench: Bench) -> None:
    info = bench.reader.open()
    assert info.driver
    assert info.model


def test_a_card_laid_and_lifted_is_told_as_it_happens(bench: Bench) -> None:
    bench.reader.open()
    empty = wait_for(bench, present=False)
    assert not bench.reader.card_present()
    threading.Timer(0.3, bench.lay).start()
    started = time.monotonic()
    laid = bench.reader.wait_for_change(empty, PATIENCE_S, NEVER)
    while not laid.present:
        laid = bench.reader.wait_for_change(laid, PATIENCE_S, NEVER)
    assert time.monotonic() - started < PATIENCE_S
    assert laid.changes != empty.changes
    bench.lift()
    lifted = wait_for(bench, present=False)
    assert lifted.changes != laid.changes


def test_nothing_happens_and_the_wait_ends_in_time_or_when_cancelled(bench: Bench) -> None:
    bench.reader.open()
    empty = wait_for(bench, present=False)
    started = time.monotonic()
    assert bench.reader.wait_for_change(empty, 0.3, NEVER) == empty
    assert 0.25 <= time.monotonic() - started < 3
    cancel = threading.Event()
    threading.Timer(0.2, cancel.set).start()
    started = time.monotonic()
    assert bench.reader.wait_for_change(empty, 60, cancel) == empty
    assert time.monotonic() - started < 5


def test_a_card_answers_and_one_that_was_lifted_is_asked_for_again(bench: Bench) -> None:
    bench.reader.open()
    bench.lay()
    channel = bench.reader.connect(PATIENCE_S, NEVER)
    assert channel.transmit(GET_UID) == (bytes.fromhex(channel.uid), 0x9000)
    bench.lift()
    deadline = time.monotonic() + PATIENCE_S
    with pytest.raises(CaptureRetry) as caught:
        while time.monotonic() < deadline:
            channel.transmit(GET_UID)
    assert caught.value.next_step
    channel.close()
    wait_for(bench, present=False)


def test_no_card_is_advice_and_a_wait_can_be_cancelled(bench: Bench) -> None:
    bench.reader.open()
    wait_for(bench, present=False)
    with pytest.raises(CaptureRetry):
        bench.reader.connect(0.2, NEVER)
    cancel = threading.Event()
    threading.Timer(0.2, cancel.set).start()
    started = time.monotonic()
    with pytest.raises(CaptureRetry):
        bench.reader.connect(60, cancel)
    assert time.monotonic() - started < 5


def test_a_reader_that_goes_in_mid_wait_is_the_technicians_and_comes_back(bench: Bench) -> None:
    if bench.gone is None or bench.back is None:
        pytest.skip("a slot that is attached directly has no plug")
    bench.reader.open()
    state = wait_for(bench, present=False)
    threading.Timer(0.3, bench.gone).start()
    until_gone(lambda: bench.reader.wait_for_change(state, 5, NEVER))
    bench.reader.close()
    bench.reader.close()
    with pytest.raises(DeviceError):
        bench.reader.card_present()
    bench.back()
    until_open(bench.reader)
    bench.lay()
    assert wait_for(bench, present=True).present


# ------------------------------------------------------------------ of pcscd alone


def test_of_several_readers_the_named_one_is_used(rig: CardReaderRig) -> None:
    both = rig.reader.removesuffix(" 00 00")
    with pytest.raises(DeviceError, match="2 card readers") as caught:
        made({"driver": "pcsc", "reader": both, "socket": str(rig.socket)}).open()
    assert f"{both} 00 01" in str(caught.value)
    first, second = (made({"driver": "pcsc", "reader": f"{both} 00 0{n}", "socket": str(rig.socket)}) for n in (0, 1))
    assert first.open().model != second.open().model
    rig.control.insert()
    try:
        assert first.wait_for_change(CardState(False, -1), 5, NEVER) is not None
        deadline = time.monotonic() + 5
        while not first.card_present() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert (first.card_present(), second.card_present()) == (True, False)
    finally:
        rig.control.remove()
        first.close()
        second.close()


OTHER_UNIT = """
import sys, threading
from edge.sensors.drivers import open_driver
reader = open_driver("card", {"driver": "pcsc", "reader": sys.argv[1], "socket": sys.argv[2]})
reader.open()
print("ready", flush=True)
print(reader.connect(20, threading.Event()).uid, flush=True)
"""


def test_two_units_on_one_machine_have_a_reader_each(rig: CardReaderRig) -> None:
    with tempfile.TemporaryDirectory(prefix="pcsc-") as name:
        folder = Path(name)
        CardBox(folder / "cards").add_blanks(2, MASTER, 1)
        with CardReaderRig(f"other-{os.getpid()}", folder, folder / "cards") as other:
            command = [sys.executable, "-c", OTHER_UNIT, other.reader, str(other.socket)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as unit:
                assert unit.stdout is not None
                assert unit.stdout.readline() == "ready\n"
                ours = made({"driver": "pcsc", "reader": rig.reader, "socket": str(rig.socket)})
                ours.open()
                uid = other.control.insert()
                assert unit.stdout.readline().strip() == uid
                assert not ours.card_present()
                ours.close()
