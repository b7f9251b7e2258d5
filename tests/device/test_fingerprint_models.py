"""What differs between the modules of the ZFM family: picture size, LED ring, touch output, speed; and late answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.errors import CaptureRetry, DeviceError, RekamError
from contract.sample import FingerPosition
from edge.sensors.drivers import open_driver
from edge.sensors.fingerprint_zfm import SIZES_PX, ZfmScanner
from virtual.fingerprint_twin import FingerprintModule
from virtual.pty_twin import PtyTwin, WireFaults

INDEX = FingerPosition.RIGHT_INDEX
NEVER = threading.Event()
Grey = NDArray[np.uint8]


def print_of(number: int, height: int, width: int) -> Grey:
    levels = np.random.default_rng(number).integers(0, 16, (height, width), dtype=np.uint8)
    return (levels * 17).astype(np.uint8)


@contextmanager
def plugged(module: FingerprintModule, *, paced: bool = False) -> Iterator[PtyTwin]:
    twin = PtyTwin(module, paced=paced)
    yield twin
    twin.close()


def scanner_on(twin: PtyTwin, **settings: object) -> ZfmScanner:
    scanner = open_driver("finger", {"driver": "zfm", "port": twin.port, "poll_interval_s": 0.002, **settings})
    assert isinstance(scanner, ZfmScanner)
    return scanner


@pytest.mark.parametrize("size_px", SIZES_PX.values(), ids=str)
@pytest.mark.parametrize("data_bytes", [32, 256])
def test_a_known_sensor_needs_no_size_and_any_length_of_packets(size_px: tuple[int, int], data_bytes: int) -> None:
    width, height = size_px
    module = FingerprintModule(width_px=width, height_px=height, data_bytes=data_bytes)
    with plugged(module) as twin:
        scanner = scanner_on(twin)
        scanner.open()
        module.place(print_of(1, height, width))
        assert np.array_equal(scanner.capture(INDEX, 20, NEVER).pixels, print_of(1, height, width))
        scanner.close()


def test_an_unknown_sensor_asks_for_its_width_and_works_with_it() -> None:
    module = FingerprintModule(width_px=100, height_px=90)
    with plugged(module) as twin:
        scanner = scanner_on(twin)
        scanner.open()
        module.place(print_of(1, 90, 100))
        with pytest.raises(DeviceError, match="width_px"):
            scanner.capture(INDEX, 20, NEVER)
        scanner.close()
        told = scanner_on(twin, width_px=100)
        told.open()
        module.place(print_of(2, 90, 100))
        assert np.array_equal(told.capture(INDEX, 20, NEVER).pixels, print_of(2, 90, 100))
        told.close()


@pytest.mark.parametrize("led", ["r503", "r558"])
def test_the_ring_of_each_kind_is_lit_by_its_own_code(led: str) -> None:
    module = FingerprintModule(width_px=96, height_px=80, led=led)
    with plugged(module) as twin:
        scanner = scanner_on(twin, width_px=96, led=led)
        assert "led" in scanner.open().capabilities
        module.place(print_of(1, 80, 96))
        scanner.capture(INDEX, 20, NEVER)
        assert module.led_pattern == bytes([3, 0, 3, 0])
        scanner.close()
        with pytest.raises(DeviceError, match="r558"):
            scanner_on(twin, led="neon")


class TouchLine:
    """The touch output of a twin, as a pin shows it."""

    def __init__(self, module: FingerprintModule) -> None:
        self.module, self.closed = module, False

    def is_active(self) -> bool:
        return self.module.touched

    def close(self) -> None:
        self.closed = True


def test_with_a_touch_output_the_module_is_asked_only_while_it_is_touched() -> None:
    module = FingerprintModule(width_px=96, height_px=80)
    lines: list[TouchLine] = []

    def open_line(pin: int, active_low: bool) -> TouchLine:
        assert (pin, active_low) == (17, True)
        lines.append(TouchLine(module))
        return lines[-1]

    with plugged(module) as twin:
        scanner = ZfmScanner(port=twin.port, width_px=96, wake_pin=17, poll_interval_s=0.002, open_line=open_line)
        assert "touch" in scanner.open().capabilities
        asked = len(module.commands)
        with pytest.raises(CaptureRetry, match="No finger"):
            scanner.capture(INDEX, 0.1, NEVER)
        assert len(module.commands) == asked
        threading.Timer(0.1, module.place, [print_of(1, 80, 96)]).start()
        assert np.array_equal(scanner.capture(INDEX, 20, NEVER).pixels, print_of(1, 80, 96))
        with pytest.raises(CaptureRetry, match="not lifted"):
            scanner.capture(INDEX, 0.05, NEVER)
        module.lift()
        with pytest.raises(CaptureRetry, match="No finger"):
            scanner.capture(INDEX, 0.05, NEVER)
        scanner.close()
        assert lines[-1].closed


def test_a_pin_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    with plugged(FingerprintModule()) as twin, pytest.raises(DeviceError, match="Pin 99"):
        scanner_on(twin, wake_pin=99).open()


@pytest.mark.parametrize("late_s", [0.03, 0.09, 0.11, 0.14, 0.19, 0.25, 0.5])
def test_late_answers_are_waited_for_or_given_up_and_never_taken_for_others(late_s: float) -> None:
    """Around the time-out of 0.1 s an answer may be another command's: no earlier finger passes for this one."""
    module = FingerprintModule(width_px=96, height_px=80)
    with plugged(module) as twin:
        scanner = scanner_on(twin, width_px=96, command_timeout_s=0.1, lift_between=False)
        scanner.open()
        module.place(print_of(1, 80, 96))
        scanner.capture(INDEX, 20, NEVER)
        twin.faults = WireFaults(late_s=late_s)
        for number in (2, 3):
            module.place(print_of(number, 80, 96))
            try:
                frame = scanner.capture(INDEX, 3, NEVER)
            except RekamError:
                continue
            assert np.array_equal(frame.pixels, print_of(number, 80, 96))
            module.lift()
            with pytest.raises((CaptureRetry, DeviceError)):
                scanner.capture(INDEX, 0.05, NEVER)
        scanner.close()
