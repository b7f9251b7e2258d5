"""What every slap scanner must do: named fingers of one slap, each by itself, on each driver with its twin."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from contract.clock import SystemClock
from contract.errors import CaptureRetry, DeviceError
from contract.finger_image import SLAP_FINGERS, SlapPosition
from contract.sample import FingerPosition
from edge.matcher_lite import compare, extract
from edge.sensors.drivers import open_driver
from edge.sensors.interface import Frame, SlapScanner
from edge.sensors.sbi_frames import FINGER_NAMES
from tests.device.hardware import HARDWARE, PATIENCE_S, Hardware, until_gone, until_open
from virtual.finger_presets import GUIDED
from virtual.people import person
from virtual.sbi_issuer import Issuer
from virtual.sbi_twin import SbiTwin

NEVER = threading.Event()
RIGHT, LEFT = SlapPosition.RIGHT_FOUR, SlapPosition.LEFT_FOUR
SOMEONE = person(61, 0)
TOPS_PX = {2: 240, 3: 130, 4: 180, 5: 380, 7: 240, 8: 130, 9: 180, 10: 380}  # where the tips of the hands lie
SAME_FINGER_SCORE = 40
Grey = NDArray[np.uint8]


@cache
def finger(position: int, impression: int = 0) -> Grey:
    return SOMEONE.finger(FingerPosition(position), impression, preset=GUIDED)


@cache
def slap_picture(fingers: tuple[int, ...]) -> Grey:
    """A hand on a glass of 86 × 56 mm at 500 ppi."""
    slap = np.full((1100, 1700), 255, np.uint8)
    for place, code in enumerate(fingers):
        touch = finger(code)
        top, left = TOPS_PX.get(code, 300), 60 + place * 380
        area = slap[top : top + touch.shape[0], left : left + touch.shape[1]]
        np.minimum(area, touch[: area.shape[0], : area.shape[1]], out=area)
    return slap


@dataclass
class Bench:
    """A scanner, a hand that is laid on it, and its plug. exact: the hand is SOMEONE's."""

    scanner: SlapScanner
    lay: Callable[[Sequence[FingerPosition]], object]
    lift: Callable[[], object]
    unplug: Callable[[], object]
    plug_in: Callable[[], object]
    exact: bool = True

    def check(self, frames: dict[FingerPosition, Frame], wanted: Sequence[FingerPosition]) -> None:
        """Each finger by its own name; that they are SOMEONE's is seen by comparing them."""
        assert list(frames) == list(wanted)
        for position, frame in frames.items():
            assert frame.ppi > 0
            assert frame.metadata["finger_position"] == str(int(position))
            if self.exact:
                score = compare(extract(frame.pixels, frame.ppi), extract(finger(int(position), 1), 500))
                assert score.value > SAME_FINGER_SCORE


def made(table: dict[str, object]) -> SlapScanner:
    scanner = open_driver("slap", table)
    assert isinstance(scanner, SlapScanner)
    return scanner


def folder_bench(tmp_path: Path) -> Generator[Bench]:
    folder = tmp_path / "slaps"
    folder.mkdir()
    counter = iter(range(1000))

    def lay(fingers: Sequence[FingerPosition]) -> None:
        hidden = folder / f".{next(counter)}.png"
        Image.fromarray(slap_picture(tuple(map(int, fingers)))).save(hidden)
        hidden.rename(folder / hidden.name[1:])

    yield Bench(
        made({"driver": "folder", "folder": str(folder), "poll_interval_s": 0.01}),
        lay,
        lift=lambda: None,
        unplug=lambda: folder.rename(tmp_path / "away"),
        plug_in=lambda: (tmp_path / "away").rename(folder),
    )


def sbi_bench(tmp_path: Path) -> Iterator[Bench]:
    issuer = Issuer("Test", SystemClock())
    twins = [SbiTwin("Finger", sub_kind="Slap", issuer=issuer)]
    (tmp_path / "trust.pem").write_bytes(twins[0].trust_pem)

    def lay(fingers: Sequence[FingerPosition]) -> None:
        for position in fingers:
            twins[-1].show(FINGER_NAMES[position], finger(int(position)))

    yield Bench(
        made({"driver": "sbi", "port": twins[0].port, "trust_file": str(tmp_path / "trust.pem")}),
        lay,
        lift=lambda: twins[-1].clear(),  # noqa: PLW0108 - of the twin that is there then
        unplug=lambda: twins[-1].close(),  # noqa: PLW0108
        plug_in=lambda: twins.append(SbiTwin("Finger", twins[0].port, sub_kind="Slap", issuer=issuer)),
    )
    twins[-1].close()


def hardware_bench() -> Iterator[Bench]:
    real = Hardware("slap")
    yield Bench(
        made(real.table),
        lambda fingers: real.ask("lay " + ", ".join(position.label for position in fingers)),
        lift=lambda: real.ask("lift"),
        unplug=lambda: real.ask("unplug"),
        plug_in=lambda: real.ask("plug in"),
        exact=False,
    )


@pytest.fixture(params=["folder", "sbi", HARDWARE])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    benches = {
        "folder": lambda: folder_bench(tmp_path),
        "sbi": lambda: sbi_bench(tmp_path),
        HARDWARE: hardware_bench,
    }
    for found in benches[request.param]():
        yield found
        found.scanner.close()


def soon(action: Callable[[], object]) -> None:
    threading.Timer(0.1, action).start()


@pytest.mark.parametrize("slap", [RIGHT, LEFT])
def test_four_fingers_of_one_slap_are_four_named_pictures(bench: Bench, slap: SlapPosition) -> None:
    bench.scanner.open()
    soon(lambda: bench.lay(SLAP_FINGERS[slap]))
    bench.check(dict(bench.scanner.capture(slap, (), PATIENCE_S, NEVER)), SLAP_FINGERS[slap])


def test_a_hand_that_lacks_a_finger_gives_the_others(bench: Bench) -> None:
    bench.scanner.open()
    wanted = [position for position in SLAP_FINGERS[RIGHT] if position is not FingerPosition.RIGHT_RING]
    soon(lambda: bench.lay(wanted))
    found = bench.scanner.capture(RIGHT, (FingerPosition.RIGHT_RING,), PATIENCE_S, NEVER)
    bench.check(dict(found), wanted)


def test_no_hand_is_advice_and_a_wait_can_be_cancelled(bench: Bench) -> None:
    bench.scanner.open()
    bench.lift()
    with pytest.raises(CaptureRetry) as caught:
        bench.scanner.capture(RIGHT, (), 0.05, NEVER)
    assert caught.value.next_step
    cancel = threading.Event()
    threading.Timer(0.05, cancel.set).start()
    started = time.monotonic()
    with pytest.raises(CaptureRetry, match="cancelled"):
        bench.scanner.capture(RIGHT, (), 60, cancel)
    assert time.monotonic() - started < 5


def test_unplugging_is_for_the_technician_and_plugging_in_heals(bench: Bench) -> None:
    bench.scanner.open()
    bench.lift()
    soon(bench.unplug)
    until_gone(lambda: bench.scanner.capture(RIGHT, (), PATIENCE_S, NEVER))
    bench.scanner.close()
    bench.scanner.close()
    with pytest.raises(DeviceError):
        bench.scanner.open()
    bench.plug_in()
    until_open(bench.scanner)
    soon(lambda: bench.lay(SLAP_FINGERS[RIGHT]))
    bench.check(dict(bench.scanner.capture(RIGHT, (), PATIENCE_S, NEVER)), SLAP_FINGERS[RIGHT])


# ------------------------------------------------------------------ of one driver alone


def test_a_picture_of_the_wrong_hand_or_of_too_few_fingers_is_advice(tmp_path: Path) -> None:
    scene = folder_bench(tmp_path)
    found = next(scene)
    found.scanner.open()
    for laid, missing in (
        (SLAP_FINGERS[RIGHT][:3], ()),
        (SLAP_FINGERS[LEFT], ()),
        (SLAP_FINGERS[RIGHT], (FingerPosition.RIGHT_RING,)),
    ):
        threading.Timer(0.1, found.lay, [laid]).start()
        with pytest.raises(CaptureRetry) as caught:
            found.scanner.capture(RIGHT, missing, 10, NEVER)
        assert caught.value.next_step
    scene.close()


def test_a_single_finger_device_is_no_slap_scanner_and_a_slap_scanner_takes_single_fingers(tmp_path: Path) -> None:
    single, slap = SbiTwin("Finger"), SbiTwin("Finger", sub_kind="Slap")
    trust = tmp_path / "trust.pem"
    trust.write_bytes(single.trust_pem + slap.trust_pem)
    with pytest.raises(DeviceError, match="'Single'"):
        made({"driver": "sbi", "port": single.port, "trust_file": str(trust)}).open()
    scanner = open_driver("finger", {"driver": "sbi", "port": slap.port, "trust_file": str(trust)})
    scanner.open()
    for position, part in (
        (FingerPosition.LEFT_RING, "1"),
        (FingerPosition.RIGHT_INDEX, "2"),
        (FingerPosition.LEFT_THUMB, "3"),
    ):
        slap.show(FINGER_NAMES[position], finger(int(position)))
        frame = scanner.capture(position, 10, NEVER)  # type: ignore[attr-defined]
        assert np.array_equal(frame.pixels, finger(int(position)))
        assert slap.requests[-1]["bio"][0]["deviceSubId"] == part
    single.close()
    slap.close()


def test_a_missing_finger_is_told_to_the_device_as_an_exception(tmp_path: Path) -> None:
    twin = SbiTwin("Finger", sub_kind="Slap")
    (tmp_path / "trust.pem").write_bytes(twin.trust_pem)
    scanner = made({"driver": "sbi", "port": twin.port, "trust_file": str(tmp_path / "trust.pem")})
    scanner.open()
    for position in SLAP_FINGERS[LEFT]:
        twin.show(FINGER_NAMES[position], finger(int(position)))
    scanner.capture(LEFT, (FingerPosition.LEFT_LITTLE,), 10, NEVER)
    asked = twin.requests[-1]["bio"][0]
    assert asked["exception"] == ["Left LittleFinger"]
    assert asked["deviceSubId"] == "1"
    assert asked["count"] == "3"
    with pytest.raises(DeviceError, match="missing"):
        scanner.capture(LEFT, SLAP_FINGERS[LEFT], 10, NEVER)
    twin.close()
