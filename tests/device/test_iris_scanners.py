"""What every iris scanner must do: network cameras, SBI, Raspberry Pi modules with light from the unit, hardware."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.clock import SystemClock
from contract.errors import CaptureRetry, DeviceError
from contract.sample import BOTH_EYES, IrisPosition
from edge.sensors.drivers import open_driver
from edge.sensors.interface import Frame, IrisBurst, IrisScanner
from edge.sensors.iris_picamera2 import PiIrisScanner
from tests.device.hardware import HARDWARE, PATIENCE_S, Hardware, until_gone, until_open
from tests.device.played_picamera2 import PlayedPicamera2, lit
from virtual.camera_twin import CameraFault, CameraTwin
from virtual.sbi_issuer import Issuer
from virtual.sbi_twin import SbiTwin

NEVER = threading.Event()
Grey = NDArray[np.uint8]


def eye(level: int) -> Grey:
    """A flat eye of one brightness, with a bright edge that tells a sharp picture."""
    picture = np.full((120, 160), level, dtype=np.uint8)
    picture[40:80:4, 40:120] = 250
    return picture


class PlayedLight:
    """A light that is simply there."""

    def __init__(self) -> None:
        self.lit = False

    def on(self, wavelength_nm: int, level_percent: int, duration_ms: int) -> None:
        self.lit = True

    def off(self) -> None:
        self.lit = False


@dataclass
class Bench:
    """A scanner and a person's eyes before it. level: how near the brightness of an eye must come; exact: whose."""

    scanner: IrisScanner
    show: Callable[[int, int], object]
    unplug: Callable[[], object]
    plug_in: Callable[[], object]
    exact: bool = True
    tolerance: int = 30

    def check(self, frame: Frame, level: int) -> None:
        """The right eye's picture where it was asked for, the left one's elsewise."""
        assert frame.pixels.ndim == 2
        assert frame.pixels.dtype == np.uint8
        if self.exact:
            assert abs(int(np.median(frame.pixels)) - level) <= self.tolerance
        else:
            assert min(frame.pixels.shape) >= 200
            assert frame.pixels.std() > 10


def made(table: dict[str, object], **parts: object) -> IrisScanner:
    scanner = open_driver("iris", table, **parts)
    assert isinstance(scanner, IrisScanner)
    return scanner


def snapshot_bench(tmp_path: Path) -> Iterator[Bench]:
    twins = [CameraTwin({"/right.png": eye(10), "/left.png": eye(10)})]
    port = twins[0].port

    def show(right: int, left: int) -> None:
        twins[-1].show("/right.png", eye(right))
        twins[-1].show("/left.png", eye(left))

    yield Bench(
        made({"driver": "snapshot", "url_right": twins[0].url("/right.png"), "url_left": twins[0].url("/left.png")}),
        show,
        unplug=lambda: twins[-1].close(),  # noqa: PLW0108 - of the twin that is there then
        plug_in=lambda: twins.append(CameraTwin({"/right.png": eye(10), "/left.png": eye(10)}, port)),
    )
    twins[-1].close()


def sbi_bench(tmp_path: Path) -> Iterator[Bench]:
    issuer = Issuer("Test", SystemClock())
    twins = [SbiTwin("Iris", issuer=issuer)]
    port = twins[0].port
    (tmp_path / "trust.pem").write_bytes(twins[0].trust_pem)

    def show(right: int, left: int) -> None:
        twins[-1].show("Right", eye(right))
        twins[-1].show("Left", eye(left))

    yield Bench(
        made({"driver": "sbi", "port": port, "trust_file": str(tmp_path / "trust.pem")}),
        show,
        unplug=lambda: twins[-1].close(),  # noqa: PLW0108 - of the twin that is there then
        plug_in=lambda: twins.append(SbiTwin("Iris", port, issuer=issuer)),
    )
    twins[-1].close()


def pi_bench(tmp_path: Path) -> Iterator[Bench]:
    """A module over a frame source that sees something only by the light; its eyes keep their ratio of brightness."""
    light, seen, modules, plugged = PlayedLight(), [eye(20), eye(20)], list[PlayedPicamera2](), [True]

    def open_module(number: int) -> PlayedPicamera2:
        if not plugged[0]:
            raise DeviceError(f"The Pi has no camera {number}.")
        modules.append(
            PlayedPicamera2(lambda now: lit(np.hstack(seen), float(light.lit), now["ExposureTime"], 0), focuses=False)
        )
        return modules[-1]

    def show(right: int, left: int) -> None:
        seen[:] = [eye(right), eye(left)]

    def unplug() -> None:
        plugged[0] = False
        modules[-1].stalled = True

    def plug_in() -> None:
        plugged[0] = True

    yield Bench(PiIrisScanner(illumination=light, open_device=open_module), show, unplug, plug_in, tolerance=60)
    assert not light.lit
    assert all(module.closed and not module.held for module in modules)


def hardware_bench() -> Iterator[Bench]:
    real = Hardware("iris")
    yield Bench(
        made(real.table),
        lambda right, left: real.ask("look"),
        unplug=lambda: real.ask("unplug"),
        plug_in=lambda: real.ask("plug in"),
        exact=False,
    )


@pytest.fixture(params=["snapshot", "sbi", "picamera2", HARDWARE])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    benches = {
        "snapshot": lambda: snapshot_bench(tmp_path),
        "sbi": lambda: sbi_bench(tmp_path),
        "picamera2": lambda: pi_bench(tmp_path),
        HARDWARE: hardware_bench,
    }
    scene = benches[request.param]()
    found = next(scene)
    yield found
    found.scanner.close()
    assert next(scene, None) is None


def test_the_scanner_says_who_it_is(bench: Bench) -> None:
    bench.show(100, 200)
    assert bench.scanner.open().model


def test_each_eye_is_the_asked_one_in_the_asked_order(bench: Bench) -> None:
    bench.show(100, 200)
    bench.scanner.open()
    for asked in (BOTH_EYES, (IrisPosition.LEFT, IrisPosition.RIGHT)):
        frames = bench.scanner.capture(asked, PATIENCE_S, NEVER)
        if bench.exact:
            levels = [int(np.median(frame.pixels)) for frame in frames]
            assert (levels[0] < levels[1]) is (asked[0] is IrisPosition.RIGHT)
        for frame, position in zip(frames, asked, strict=True):
            bench.check(frame, {IrisPosition.RIGHT: 100, IrisPosition.LEFT: 200}[position])
            assert frame.metadata["eye"] == position.name


def test_a_burst_holds_the_asked_eyes_in_the_asked_order(bench: Bench) -> None:
    """A device that chooses by itself has none; what one has is the eye that was asked for, picture by picture."""
    bench.show(100, 200)
    info = bench.scanner.open()
    assert ("burst" in info.capabilities) is isinstance(bench.scanner, IrisBurst)
    if not isinstance(bench.scanner, IrisBurst):
        return
    asked = (IrisPosition.LEFT, IrisPosition.RIGHT)
    for pictures, position in zip(bench.scanner.burst(asked, PATIENCE_S, NEVER), asked, strict=True):
        assert pictures
        for frame in pictures:
            bench.check(frame, {IrisPosition.RIGHT: 100, IrisPosition.LEFT: 200}[position])
            assert frame.metadata["eye"] == position.name
    with pytest.raises((DeviceError, CaptureRetry)):
        bench.scanner.burst((IrisPosition.UNKNOWN,), 0.5, NEVER)


def test_one_eye_may_be_asked_alone_and_none_is_nobody(bench: Bench) -> None:
    bench.show(100, 200)
    bench.scanner.open()
    (alone,) = bench.scanner.capture((IrisPosition.LEFT,), PATIENCE_S, NEVER)
    bench.check(alone, 200)
    with pytest.raises((DeviceError, CaptureRetry)):
        bench.scanner.capture((IrisPosition.UNKNOWN,), 0.5, NEVER)


def test_a_cancelled_capture_ends_at_once(bench: Bench) -> None:
    bench.show(100, 200)
    bench.scanner.open()
    cancel = threading.Event()
    cancel.set()
    started = time.monotonic()
    with pytest.raises(CaptureRetry):
        bench.scanner.capture(BOTH_EYES, 60, cancel)
    assert time.monotonic() - started < 5


def test_unplugging_is_for_the_technician_and_plugging_in_heals(bench: Bench) -> None:
    bench.show(100, 200)
    bench.scanner.open()
    bench.unplug()
    until_gone(lambda: bench.scanner.capture(BOTH_EYES, 5, NEVER))
    bench.scanner.close()
    bench.scanner.close()
    with pytest.raises(DeviceError):
        bench.scanner.open()
    with pytest.raises(DeviceError):
        bench.scanner.capture(BOTH_EYES, 1, NEVER)
    bench.plug_in()
    until_open(bench.scanner)
    bench.show(100, 200)
    bench.check(bench.scanner.capture((IrisPosition.LEFT,), PATIENCE_S, NEVER)[0], 200)


# ------------------------------------------------------------------ of network cameras alone


def test_a_network_camera_gives_as_many_pictures_as_the_time_allows() -> None:
    twin = CameraTwin({"/right.png": eye(10), "/left.png": eye(10)})
    urls = {"url_right": twin.url("/right.png"), "url_left": twin.url("/left.png")}
    scanner = made({"driver": "snapshot", "burst": 4, **urls})
    scanner.open()
    assert isinstance(scanner, IrisBurst)
    assert [len(pictures) for pictures in scanner.burst(BOTH_EYES, PATIENCE_S, NEVER)] == [4, 4]
    twin.late_s = 0.4
    assert [len(pictures) for pictures in scanner.burst(BOTH_EYES, 1.5, NEVER)] == [1, 1]
    scanner.close()
    twin.close()
    with pytest.raises(DeviceError, match="burst"):
        made({"driver": "snapshot", "burst": 0, **urls})


def test_a_picture_cut_short_and_a_camera_too_slow_for_both_eyes_are_errors() -> None:
    twin = CameraTwin({"/right.png": eye(10), "/left.png": eye(10)})
    scanner = made({"driver": "snapshot", "url_right": twin.url("/right.png"), "url_left": twin.url("/left.png")})
    scanner.open()
    twin.fault = CameraFault.TRUNCATED
    with pytest.raises(DeviceError):
        scanner.capture(BOTH_EYES, 10, NEVER)
    twin.fault = CameraFault.NONE
    assert len(scanner.capture(BOTH_EYES, 10, NEVER)) == 2
    twin.late_s = 0.2
    with pytest.raises(DeviceError):
        scanner.capture(BOTH_EYES * 3, 0.3, NEVER)
    scanner.close()
    twin.close()
