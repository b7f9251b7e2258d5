"""Iris modules on a Raspberry Pi: exposure and focus are found by the light that the controller gives and bounds."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.errors import CaptureRetry, DeviceError, TransientError
from contract.sample import BOTH_EYES, IrisPosition
from edge.config import PolicyTable
from edge.device_bench import DeviceBench
from edge.matcher_lite.iris_compare import compare_iris
from edge.matcher_lite.iris_extract import extract_iris
from edge.sensors.drivers import DRIVERS, open_driver
from edge.sensors.interface import DeviceInfo, Frame, Illumination
from edge.sensors.iris_picamera2 import PiIrisScanner, sharpness
from edge.sensors.selftest import Outcome, examine_devices
from edge.technician_capture import SampleKind, take
from tests.device.controller_bench import board, panel_on
from tests.device.hardware import Hardware
from tests.device.played_picamera2 import PlayedPicamera2, lit
from virtual.people import person

NEVER = threading.Event()
SOMEONE = person(1, 3)
Grey = NDArray[np.uint8]
SHARP_AT = 7.0
FRAME_S = 0.02


def eyes(impression: int = 0) -> Grey:
    """Who faces the module has the right eye at its left."""
    return np.hstack([SOMEONE.iris(position, impression) for position in BOTH_EYES])


class RestingLight:
    """A light that must rest between pulses. rests: how many askings it refuses."""

    def __init__(self, rests: int = 0) -> None:
        self.rests, self.pulses, self.lit = rests, list[tuple[int, int, int]](), False

    def on(self, wavelength_nm: int, level_percent: int, duration_ms: int) -> None:
        if self.rests:
            self.rests -= 1
            raise TransientError("The light rests.", next_step="Wait.")
        self.pulses.append((wavelength_nm, level_percent, duration_ms))
        self.lit = True

    def off(self) -> None:
        self.lit = False


class Modules:
    """Frame sources by number, lit by a light; with a lens, sharp at one of its places only."""

    def __init__(self, light: RestingLight, scenes: Sequence[Grey], *, lens: bool = False, strength: float = 1) -> None:
        self.light, self.scenes, self.lens, self.strength = light, scenes, lens, strength
        self.opened: list[PlayedPicamera2] = []

    def open(self, number: int) -> PlayedPicamera2:
        def seen(now: Mapping[str, float]) -> Grey:
            blur = abs(now["LensPosition"] - SHARP_AT) if self.lens else 0.0
            return lit(self.scenes[number], self.light.lit * self.strength, now["ExposureTime"], blur)

        self.opened.append(PlayedPicamera2(seen, focuses=False, lens=self.lens))
        return self.opened[-1]


class PlayedTime:
    """A clock that frames and waits move on; as `cancel` it is never set."""

    def __init__(self) -> None:
        self.now_ms = 0

    def monotonic_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return self.now_ms

    def is_set(self) -> bool:
        return False

    def wait(self, timeout_s: float) -> bool:
        self.now_ms += round(timeout_s * 1000)
        return False


class PulsedLight:
    """A light that ends each pulse by itself and rests for half of it, as a PCA9685's does."""

    def __init__(self, time: PlayedTime) -> None:
        self.time, self.pulses, self.until_ms = time, list[tuple[int, int]](), 0

    def on(self, wavelength_nm: int, level_percent: int, duration_ms: int) -> None:
        if self.pulses and self.time.now_ms < self.until_ms + (self.until_ms - self.pulses[-1][0]) // 2:
            raise TransientError("The light rests.", next_step="Wait.")
        self.until_ms = self.time.now_ms + duration_ms
        self.pulses.append((self.time.now_ms, self.until_ms))

    def off(self) -> None:
        if self.pulses:
            self.until_ms = min(self.until_ms, self.time.now_ms)
            self.pulses[-1] = self.pulses[-1][0], self.until_ms

    def share_lit(self, began_ms: int) -> float:
        """How much of the time from then until now was lit."""
        lit_ms = sum(max(0, min(until, self.time.now_ms) - max(since, began_ms)) for since, until in self.pulses)
        return lit_ms / max(self.time.now_ms - began_ms, 1)


def slow_module(time: PlayedTime, light: PulsedLight, frame_ms: int) -> PlayedPicamera2:
    """A module with a lens whose frames take long: what was dark for a while is that much darker."""

    def seen(now: Mapping[str, float]) -> Grey:
        began_ms = time.now_ms
        time.now_ms += frame_ms
        return lit(eyes(), light.share_lit(began_ms), now["ExposureTime"], abs(now["LensPosition"] - SHARP_AT))

    return PlayedPicamera2(seen, focuses=False, lens=True)


def test_a_search_that_outlasts_the_pulse_goes_on_in_the_next_and_judges_no_dark_frame() -> None:
    time, cancel = PlayedTime(), PlayedTime()
    cancel.wait = time.wait  # type: ignore[method-assign]  # waiting for the light moves the same clock
    light = PulsedLight(time)
    scanner = PiIrisScanner(illumination=light, open_device=lambda _: slow_module(time, light, 170), clock=time)
    scanner.open()
    bursts = scanner.burst(BOTH_EYES, 60, cancel)  # type: ignore[arg-type]
    assert len(light.pulses) >= 2
    assert all(until - since <= 4000 for since, until in light.pulses)
    rests = [(pulse[0] - before[1]) / (before[1] - before[0]) for before, pulse in pairwise(light.pulses)]
    assert min(rests) >= 0.5
    assert light.until_ms <= time.now_ms
    for pictures, position in zip(bursts, BOTH_EYES, strict=True):
        assert len(pictures) == 3
        assert [float(frame.metadata["sharpness"]) for frame in pictures] == sorted(
            (float(frame.metadata["sharpness"]) for frame in pictures), reverse=True
        )
        for frame in pictures:
            assert 100 < np.percentile(frame.pixels, 95) < 250
        assert (
            compare_iris(
                extract_iris(pictures[0].pixels, position), extract_iris(SOMEONE.iris(position, 1), position)
            ).value
            > 100
        )


def test_a_light_that_may_not_shine_again_in_time_is_advice_and_dark() -> None:
    time, cancel = PlayedTime(), PlayedTime()
    cancel.wait = time.wait  # type: ignore[method-assign]
    light = PulsedLight(time)
    scanner = PiIrisScanner(illumination=light, open_device=lambda _: slow_module(time, light, 170), clock=time)
    scanner.open()
    with pytest.raises(CaptureRetry, match="resting"):
        scanner.burst(BOTH_EYES, 4.5, cancel)  # type: ignore[arg-type]
    assert light.until_ms <= time.now_ms


@pytest.mark.parametrize("strength", [0.2, 1, 8])
def test_exposure_is_found_for_weak_and_strong_light(strength: float) -> None:
    light = RestingLight()
    modules = Modules(light, [eyes()], strength=strength)
    scanner = PiIrisScanner(illumination=light, open_device=modules.open)
    scanner.open()
    for frame in scanner.capture(BOTH_EYES, 10, NEVER):
        assert 100 < np.percentile(frame.pixels, 95) < 250
        assert float(frame.metadata["ExposureTime"]) == pytest.approx(2000 / strength, rel=0.9)
    assert not light.lit
    assert light.pulses == [(850, 80, 4000)]


def test_the_lens_is_moved_to_where_the_eyes_are_sharp_and_both_are_recognised() -> None:
    light = RestingLight()
    modules = Modules(light, [eyes()], lens=True)
    scanner = PiIrisScanner(illumination=light, open_device=modules.open)
    assert "focus" in scanner.open().capabilities
    for frame, position in zip(scanner.capture(BOTH_EYES, 10, NEVER), BOTH_EYES, strict=True):
        assert abs(float(frame.metadata["LensPosition"]) - SHARP_AT) <= 1
        found = extract_iris(frame.pixels, position)
        assert compare_iris(found, extract_iris(SOMEONE.iris(position, 1), position)).value > 100
    scanner.close()


def test_a_module_for_each_eye_and_a_mirrored_module() -> None:
    light = RestingLight()
    two = PiIrisScanner(
        number_left=1,
        illumination=light,
        open_device=Modules(light, [SOMEONE.iris(eye) for eye in BOTH_EYES]).open,
    )
    mirrored = PiIrisScanner(
        mirrored=True,
        illumination=light,
        open_device=Modules(light, [np.hstack([SOMEONE.iris(eye) for eye in reversed(BOTH_EYES)])]).open,
    )
    for scanner in (two, mirrored):
        scanner.open()
        for frame, position in zip(scanner.capture(BOTH_EYES, 10, NEVER), BOTH_EYES, strict=True):
            right = extract_iris(SOMEONE.iris(position, 1), position)
            assert compare_iris(extract_iris(frame.pixels, position), right).value > 100
        (left,) = scanner.capture((IrisPosition.LEFT,), 10, NEVER)
        assert left.metadata["eye"] == "LEFT"
        scanner.close()


def test_light_that_rests_is_waited_for_and_one_that_rests_too_long_is_advice() -> None:
    light = RestingLight(rests=3)
    scanner = PiIrisScanner(illumination=light, open_device=Modules(light, [eyes()]).open)
    scanner.open()
    assert len(scanner.capture(BOTH_EYES, 10, NEVER)) == 2
    light.rests = 1000
    with pytest.raises(CaptureRetry, match="resting") as caught:
        scanner.capture(BOTH_EYES, 0.3, NEVER)
    assert caught.value.next_step
    cancel = threading.Event()
    threading.Timer(0.1, cancel.set).start()
    with pytest.raises(CaptureRetry, match="cancelled"):
        scanner.capture(BOTH_EYES, 60, cancel)


def test_a_capture_that_fails_leaves_the_dark_behind() -> None:
    light = RestingLight()
    modules = Modules(light, [eyes()], strength=0)
    scanner = PiIrisScanner(illumination=light, open_device=modules.open)
    scanner.open()
    with pytest.raises(DeviceError, match="No near-infrared light"):
        scanner.capture(BOTH_EYES, 10, NEVER)
    assert not light.lit
    modules.opened[-1].stalled = True
    with pytest.raises(DeviceError, match="stalled"):
        scanner.capture(BOTH_EYES, 10, NEVER)
    assert not light.lit
    assert modules.opened[-1].closed


def test_without_light_or_with_wrong_numbers_the_scanner_says_what_to_set() -> None:
    with pytest.raises(DeviceError, match="no near-infrared light") as caught:
        open_driver("iris", {"driver": "picamera2"}).open()
    assert "illumination" in caught.value.next_step
    for wrong in (
        {"level_percent": 0},
        {"pulse_ms": 5001},
        {"burst": 0},
        {"exposure_min_us": 9, "exposure_max_us": 8},
    ):
        with pytest.raises(DeviceError):
            open_driver("iris", {"driver": "picamera2", **wrong})
    with pytest.raises(DeviceError, match="Raspberry Pi OS"):
        open_driver("iris", {"driver": "picamera2"}, illumination=RestingLight()).open()


def test_the_sharpest_of_pictures_is_known() -> None:
    sharp = eyes()
    blurred = lit(sharp, 1, 2000, 1.0)
    assert sharpness(sharp) > 1.5 * sharpness(blurred)


async def test_the_bench_gives_the_iris_camera_the_units_light() -> None:
    light = RestingLight()
    bench = DeviceBench({"iris": {"driver": "picamera2"}}, PolicyTable(), illumination=light)
    with pytest.raises(DeviceError, match="Raspberry Pi OS"):
        await bench.irises(BOTH_EYES)
    await bench.close()
    without = DeviceBench({"iris": {"driver": "picamera2"}}, PolicyTable())
    with pytest.raises(DeviceError, match="no near-infrared light"):
        await without.irises(BOTH_EYES)
    await without.close()
    broken = DeviceBench(
        {"iris": {"driver": "picamera2"}, "illumination": {"driver": "pca9685", "bus": 77}}, PolicyTable()
    )
    with pytest.raises(DeviceError, match="77"):
        await broken.irises(BOTH_EYES)
    await broken.close()


class UnitLamp(RestingLight):
    """The light of a unit.toml: dark and without settings until it is opened."""

    lamps: ClassVar[list[UnitLamp]] = []

    def __init__(self) -> None:
        super().__init__()
        self.opened, self.is_open = 0, False
        self.lamps.append(self)

    def open(self) -> DeviceInfo:
        self.opened, self.is_open = self.opened + 1, True
        return DeviceInfo("lamp", "lamp", capabilities=("850 nm",))

    def close(self) -> None:
        self.is_open = self.lit = False


class UnitIris(PiIrisScanner):
    """The scanner of a unit.toml, over the frame source."""

    failures: ClassVar[list[DeviceError]] = []

    def __init__(self, *, illumination: Illumination | None = None) -> None:
        assert illumination is None or isinstance(illumination, UnitLamp)
        modules = Modules(illumination or RestingLight(), [eyes()])
        super().__init__(illumination=illumination, open_device=modules.open)

    def burst(
        self, positions: Sequence[IrisPosition], timeout_s: float, cancel: threading.Event
    ) -> Sequence[Sequence[Frame]]:
        if self.failures:
            raise self.failures.pop()
        return super().burst(positions, timeout_s, cancel)


LIT_UNIT: dict[str, dict[str, object]] = {
    "iris": {"driver": f"{__name__}:UnitIris"},
    "illumination": {"driver": f"{__name__}:UnitLamp"},
}


async def test_the_selftest_lights_the_iris_camera_and_leaves_it_dark() -> None:
    UnitLamp.lamps.clear()
    rows = {row.kind: row for row in await examine_devices(LIT_UNIT)}
    assert rows["iris"].outcome is rows["illumination"].outcome is Outcome.OK, rows["iris"]
    assert list(rows) == list(DRIVERS)
    assert not any(lamp.is_open or lamp.lit for lamp in UnitLamp.lamps)
    broken = {**LIT_UNIT, "illumination": {"driver": "pca9685", "bus": 77}}
    rows = {row.kind: row for row in await examine_devices(broken)}
    assert rows["iris"].outcome is Outcome.FAILED
    assert "77" in rows["iris"].found


def test_a_technicians_sample_is_taken_by_the_units_light() -> None:
    UnitLamp.lamps.clear()
    sample = take(
        SampleKind.IRIS, LIT_UNIT,
        position=1, as_points=False, timeout_s=10, attempts=1, cancel=NEVER, advise=lambda _retry: None,
    )  # fmt: skip
    assert sample.content.startswith(b"\x89PNG")
    assert [(lamp.opened, lamp.is_open, lamp.lit) for lamp in UnitLamp.lamps] == [(1, False, False)]


def test_a_named_units_scanner_has_the_units_light(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = tmp_path / "unit.toml"
    unit.write_text("".join(f'[devices.{kind}]\ndriver = "{table["driver"]}"\n' for kind, table in LIT_UNIT.items()))
    monkeypatch.setenv("KIOSK_HARDWARE", str(unit))
    scanner = Hardware("iris").device()
    scanner.open()
    assert len(scanner.capture(BOTH_EYES, 10, NEVER)) == 2
    scanner.close()


async def test_a_light_that_lost_its_power_is_set_up_again_with_its_camera() -> None:
    UnitLamp.lamps.clear()
    bench = DeviceBench(LIT_UNIT, PolicyTable())
    UnitIris.failures.append(DeviceError("No near-infrared light reaches the iris camera."))
    with pytest.raises(DeviceError):
        await bench.irises(BOTH_EYES)
    assert [len(pictures) for pictures in await bench.irises(BOTH_EYES)] == [3, 3]
    (lamp,) = UnitLamp.lamps
    assert lamp.opened == 2
    await bench.close()
    assert not lamp.is_open


def test_the_controllers_own_firmware_gives_the_light(tmp_path: Path) -> None:
    """Frame source and controller twin: what the module sees depends on the pulse width that the firmware drives."""
    with board(tmp_path) as twin, panel_on(twin.port) as panel:

        class Lamp(RestingLight):
            """The lamp as the board drives it; a frame takes its time, as a sensor's does."""

            @property
            def lit(self) -> float:  # type: ignore[override]
                time.sleep(FRAME_S)
                return max((duty for name, duty in twin.seen.duties.items() if "850" in name), default=0) / 32768

            @lit.setter
            def lit(self, value: float) -> None:
                return

        modules = Modules(Lamp(), [eyes()])
        scanner = PiIrisScanner(illumination=panel, pulse_ms=1500, open_device=modules.open)
        scanner.open()
        frames = scanner.capture(BOTH_EYES, 60, NEVER)  # the light rests first after a start
        assert all(np.percentile(frame.pixels, 95) > 100 for frame in frames)
        assert modules.light.lit == 0
        scanner.close()
