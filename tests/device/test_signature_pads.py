"""What every signature pad must do, on each driver: pty twins, recorded input events, a page's pointer, hardware."""

from __future__ import annotations

import math
import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from contract.errors import CaptureRetry, DeviceError
from edge.sensors.drivers import open_driver
from edge.sensors.evdev_frames import (
    ABS_PRESSURE,
    EV_SYN,
    SYN_DROPPED,
    InputReport,
    ReportReader,
    encode_event,
    encode_report,
)
from edge.sensors.interface import PenPoint, PointerBatch, PointerPad, PointerReport, PointerState, SignaturePad
from edge.sensors.signature_evdev import Axis, EvdevTablet
from tests.device.hardware import HARDWARE, PATIENCE_S, Hardware, until_gone, until_open
from virtual.pty_twin import PtyTwin, WireFaults
from virtual.signature_twin import PenTablet, SigLiteTwin, Stroke

NEVER = threading.Event()
MARGIN = 500
SCREEN_PX = 1200.0


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
    twin: PtyTwin | None
    sign: Callable[[], object]
    unplug: Callable[[], object] | None
    plug_in: Callable[[], object]
    offset: tuple[int, int]
    tolerance: int
    pressure: int
    exact: bool = True

    def check(self, points: Sequence[PenPoint]) -> None:
        """All of the signature arrived; of a person's, that there is ink at all."""
        if self.exact:
            assert len(points) == len(loops())
        else:
            assert sum(point.down for point in points) > 10


class PipedTablet:
    """An input device whose events come through a pipe, as the kernel would write them: recorded streams play here."""

    name = "Piped Pen"

    def __init__(self, per_mm: int = 100) -> None:
        self._read_end, self._write_end = os.pipe()
        self._per_mm = per_mm

    def axis(self, code: int) -> Axis | None:
        pressed = code == ABS_PRESSURE
        return Axis(0, 1023) if pressed else Axis(100, 20_100, self._per_mm)

    def read(self, timeout_s: float) -> bytes:
        ready, _, _ = select.select([self._read_end], [], [], timeout_s)
        data = os.read(self._read_end, 4096) if ready else b"-"
        if not data:
            raise DeviceError("The tablet is gone.")
        return data if ready else b""

    def close(self) -> None:
        if self._read_end >= 0:
            os.close(self._read_end)
        self._read_end = -1

    def unplug(self) -> None:
        if self._write_end >= 0:
            os.close(self._write_end)
        self._write_end = -1

    def write(self, data: bytes) -> None:
        os.write(self._write_end, data)


def evdev_bench() -> Iterator[Bench]:
    """An evdev tablet; plugging in makes a new node, as the kernel does."""
    nodes: list[PipedTablet] = []
    plugged = [True]

    def open_node(path: str) -> PipedTablet:
        if not plugged[0]:
            raise DeviceError(f"{path} is not there.")
        nodes.append(PipedTablet())
        return nodes[-1]

    def sign() -> None:
        for s in loops():
            report = InputReport(s.x + 100, s.y + 100, round(s.pressure * 1023), near=True, down=s.pressure > 0)
            nodes[-1].write(encode_report(report))

    def unplug() -> None:
        plugged[0] = False
        nodes[-1].unplug()

    def plug_in() -> None:
        plugged[0] = True

    pad = EvdevTablet(device="piped", settled_s=0.3, open_device=open_node)
    yield Bench(pad, None, sign, unplug, plug_in, (0, 0), 1, 32800)
    pad.close()
    for node in nodes:
        node.unplug()


def serial_bench(model: str, tmp_path: Path) -> Iterator[Bench]:
    """A pad on a pty."""
    device: PenTablet | SigLiteTwin
    isdv4 = model == "isdv4"
    device = PenTablet(time_scale=20) if isdv4 else SigLiteTwin(time_scale=20)
    corner = min(s.x for s in loops()) - MARGIN, min(s.y for s in loops()) - MARGIN
    twin = PtyTwin(device, tmp_path / "pad")
    pad = open_driver("signature", {"driver": model, "port": twin.port, "settled_s": 0.3})
    assert isinstance(pad, SignaturePad)

    def sign() -> None:
        device.sign(loops())
        twin.wake()

    tolerance, pressure = (1, 32800) if isdv4 else (7, 65535)
    offset = corner if isdv4 else (0, 0)
    yield Bench(pad, twin, sign, twin.unplug, twin.plug_in, offset, tolerance, pressure)
    pad.close()
    twin.close()


def screen_bench() -> Iterator[Bench]:
    """The unit's own screen, with a page that brings a few reports at a time; it has no plug."""
    pad = open_driver("signature", {"driver": "screen", "settled_s": 0.3, "width_mm": 300.0})
    assert isinstance(pad, PointerPad)

    scale = SCREEN_PX / 30_000

    def sign() -> None:
        reports = [
            PointerReport(s.x * scale, s.y * scale, s.pressure, 5000 + s.time_s * 50, PointerState(s.pressure > 0))
            for s in loops()
        ]
        for sequence, first in enumerate(range(0, len(reports), 7)):
            assert pad.write(PointerBatch(7, sequence, SCREEN_PX, tuple(reports[first : first + 7])))

    yield Bench(pad, None, sign, None, lambda: None, (0, 0), 1, 32768)
    pad.close()


def hardware_bench() -> Iterator[Bench]:
    """The configured pad, and a person who signs."""
    real = Hardware("signature")
    pad = real.device()
    yield Bench(
        pad, None, lambda: real.ask("sign"), lambda: real.ask("unplug"), lambda: real.ask("plug in"), (0, 0), 0, 0,
        exact=False,
    )  # fmt: skip
    pad.close()


@pytest.fixture(params=["isdv4", "siglite", "evdev", "screen", HARDWARE])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    benches = {"evdev": evdev_bench, "screen": screen_bench, HARDWARE: hardware_bench}
    yield from benches[request.param]() if request.param in benches else serial_bench(request.param, tmp_path)


@pytest.fixture(params=["isdv4", "siglite"])
def cabled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    yield from serial_bench(request.param, tmp_path)


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
    points = bench.pad.capture(PATIENCE_S, NEVER)
    bench.check(points)
    expected = loops() if bench.exact else ()
    for point, stroke in zip(points, expected, strict=bench.exact):
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
    assert caught.value.next_step


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
    assert 0 < len(points) <= (len(loops()) if bench.exact else 60_000)
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
    bench.pad.capture(PATIENCE_S, NEVER)
    done.set()
    watcher.join()
    assert max(seen) > 0
    assert tuple(bench.pad.preview()) == ()


def test_unplugging_in_mid_signature_is_the_technicians_and_plugging_in_heals(bench: Bench) -> None:
    if bench.unplug is None:
        pytest.skip("the unit's own screen has no plug")
    bench.pad.open()
    threading.Timer(0.05, bench.unplug).start()
    until_gone(lambda: bench.pad.capture(PATIENCE_S, NEVER))
    bench.pad.close()
    with pytest.raises(DeviceError):
        bench.pad.open()
    bench.plug_in()
    until_open(bench.pad)
    written(bench)
    bench.check(bench.pad.capture(PATIENCE_S, NEVER))


@pytest.mark.parametrize("fault", ["lost_per_byte", "noise_per_byte", "flipped_per_byte"])
def test_a_bad_cable_costs_points_and_never_leaves_the_field(cabled: Bench, fault: str) -> None:
    cabled.pad.open()
    assert cabled.twin is not None
    cabled.twin.faults = WireFaults.named({fault: 0.02, "seed": 5})
    written(cabled)
    points = cabled.pad.capture(10, NEVER)
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


def test_a_tablet_without_resolution_asks_for_its_size() -> None:
    with pytest.raises(DeviceError, match="width_mm"):
        EvdevTablet(device="x", open_device=lambda path: PipedTablet(per_mm=0)).open()
    pad = EvdevTablet(device="x", width_mm=200, height_mm=200, open_device=lambda path: PipedTablet(per_mm=0))
    assert pad.open().model == "Piped Pen"
    pad.close()
    with pytest.raises(DeviceError, match="group input"):
        open_driver("signature", {"driver": "evdev", "device": "/dev/input/none"}).open()
    with pytest.raises(DeviceError):
        open_driver("signature", {"driver": "evdev", "device": "/dev/null"}).open()


def test_reports_after_lost_events_are_dropped_and_events_may_be_cut_anywhere() -> None:
    report = InputReport(5, 6, 7, near=True, down=True)
    stream = encode_report(report) + encode_event(EV_SYN, SYN_DROPPED, 0) + encode_report(report) * 2
    reader = ReportReader()
    found = [seen for at in range(0, len(stream), 7) for seen in reader.feed(stream[at : at + 7])]
    assert found == [report, report]
    assert reader.reports_dropped == 1
