"""What every signature pad must do, on each driver with its twin on a pty."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from contract.errors import CaptureRetry, DeviceError
from edge.sensors.drivers import open_driver
from edge.sensors.interface import SignaturePad
from virtual.pty_twin import PtyTwin, WireFaults
from virtual.signature_twin import PenTablet, SigLiteTwin, Stroke

NEVER = threading.Event()
MARGIN = 500


def loops(points: int = 60) -> tuple[Stroke, ...]:
    """Two loops of 20 mm with the pen lifted between them, and no pen at the end."""
    drawn = []
    for number in range(points):
        angle = 4 * math.pi * number / points
        x, y = 1000 + 1000 * math.cos(angle) + number * 20, 1000 + 1000 * math.sin(angle)
        lifted = points // 2 - 4 <= number < points // 2
        drawn.append(Stroke(number * 0.0075, round(x), round(y), 0.0 if lifted else 0.5))
    return tuple(drawn)


@dataclass
class Bench:
    """A pad and the hand that writes on it. tolerance: of positions, 0.01 mm. pressure: what 0.5 is reported as."""

    pad: SignaturePad
    twin: PtyTwin
    sign: Callable[[], None]
    offset: tuple[int, int]
    tolerance: int
    pressure: int


@pytest.fixture(params=["isdv4", "siglite"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    device: PenTablet | SigLiteTwin
    if request.param == "isdv4":
        device = PenTablet(time_scale=20)
        left = min(s.x for s in loops()) - MARGIN, min(s.y for s in loops()) - MARGIN
    else:
        device = SigLiteTwin(time_scale=20)
        left = 0, 0
    twin = PtyTwin(device, tmp_path / "pad")
    pad = open_driver("signature", {"driver": request.param, "port": twin.port, "settled_s": 0.3})
    assert isinstance(pad, SignaturePad)

    def sign() -> None:
        device.sign(loops())
        twin.wake()

    isdv4 = request.param == "isdv4"
    yield Bench(pad, twin, sign, left, 1 if isdv4 else 7, 32800 if isdv4 else 65535)
    pad.close()
    twin.close()


def written(bench: Bench) -> threading.Timer:
    """The hand writes a moment after the capture began."""
    timer = threading.Timer(0.03, bench.sign)
    timer.start()
    return timer


def test_the_pad_opens(bench: Bench) -> None:
    assert "preview" in bench.pad.open().capabilities


def test_a_signature_is_recorded_in_hundredths_of_a_millimetre(bench: Bench) -> None:
    bench.pad.open()
    written(bench)
    points = bench.pad.capture(10, NEVER)
    expected = loops()
    assert len(points) == len(expected)
    for point, stroke in zip(points, expected, strict=True):
        assert abs(point.x + bench.offset[0] - stroke.x) <= bench.tolerance
        assert abs(point.y + bench.offset[1] - stroke.y) <= bench.tolerance
        assert point.down == (stroke.pressure > 0)
        assert abs(point.pressure - (bench.pressure if point.down else 0)) <= 64
    times = [point.time_ms for point in points]
    assert times[0] == 0
    assert times == sorted(times)


def test_nothing_written_is_advice(bench: Bench) -> None:
    bench.pad.open()
    with pytest.raises(CaptureRetry) as caught:
        bench.pad.capture(0.05, NEVER)
    assert "pen" in caught.value.next_step


def test_asking_to_finish_gives_what_was_written(bench: Bench) -> None:
    bench.pad.open()
    cancel, ticks = threading.Event(), threading.Event()

    def finish_at_the_first_ink() -> None:
        while not bench.pad.preview():
            ticks.wait(0.002)
        cancel.set()

    threading.Thread(target=finish_at_the_first_ink, daemon=True).start()
    written(bench)
    started = time.monotonic()
    points = bench.pad.capture(30, cancel)
    assert 0 < len(points) <= len(loops())
    assert time.monotonic() - started < 10


def test_the_recording_can_be_watched_and_is_gone_afterwards(bench: Bench) -> None:
    bench.pad.open()
    seen: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            seen.append(len(bench.pad.preview()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    written(bench)
    bench.pad.capture(10, NEVER)
    done.set()
    watcher.join()
    assert max(seen) > 0
    assert tuple(bench.pad.preview()) == ()


def test_unplugging_in_mid_signature_is_the_technicians_and_plugging_in_heals(bench: Bench) -> None:
    bench.pad.open()
    threading.Timer(0.05, bench.twin.unplug).start()
    with pytest.raises(DeviceError):
        bench.pad.capture(10, NEVER)
    bench.pad.close()
    with pytest.raises(DeviceError):
        bench.pad.open()
    bench.twin.plug_in()
    bench.pad.open()
    written(bench)
    assert len(bench.pad.capture(10, NEVER)) == len(loops())


@pytest.mark.parametrize("fault", ["lost_per_byte", "noise_per_byte", "flipped_per_byte"])
def test_a_bad_cable_costs_points_and_never_leaves_the_field(bench: Bench, fault: str) -> None:
    bench.pad.open()
    bench.twin.faults = WireFaults.named({fault: 0.02, "seed": 5})
    written(bench)
    points = bench.pad.capture(10, NEVER)
    assert len(points) > len(loops()) // 3
    assert all(0 <= p.x <= 40_000 and 0 <= p.y <= 40_000 and 0 <= p.pressure <= 65535 for p in points)


def test_closing_twice_and_capturing_closed_do_no_harm(bench: Bench) -> None:
    bench.pad.open()
    bench.pad.close()
    bench.pad.close()
    with pytest.raises(DeviceError):
        bench.pad.capture(1, NEVER)


def test_a_mute_tablet_is_reported_with_the_older_speed() -> None:
    twin = PtyTwin(PenTablet(baud=19200))
    pad = open_driver("signature", {"driver": "isdv4", "port": twin.port})
    with pytest.raises(DeviceError, match="19200"):
        pad.open()
    pad.close()
    slow = open_driver("signature", {"driver": "isdv4", "port": twin.port, "baud": 19200})
    assert "104 × 78 mm" in slow.open().model
    slow.close()
    twin.close()
