"""What every iris scanner must do, on each driver with its twin."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.errors import CaptureRetry, DeviceError
from contract.sample import BOTH_EYES, IrisPosition
from edge.sensors.drivers import open_driver
from edge.sensors.interface import IrisScanner
from virtual.camera_twin import CameraFault, CameraTwin

NEVER = threading.Event()


def eye(level: int) -> NDArray[np.uint8]:
    return np.full((120, 160), level, dtype=np.uint8)


@pytest.fixture
def twin() -> Iterator[CameraTwin]:
    made = CameraTwin({"/right.png": eye(10), "/left.png": eye(10)})
    yield made
    made.close()


@pytest.fixture
def scanner(twin: CameraTwin) -> Iterator[IrisScanner]:
    made = open_driver(
        "iris", {"driver": "snapshot", "url_right": twin.url("/right.png"), "url_left": twin.url("/left.png")}
    )
    assert isinstance(made, IrisScanner)
    made.open()
    yield made
    made.close()


def test_each_eye_is_the_asked_one_in_the_asked_order(twin: CameraTwin, scanner: IrisScanner) -> None:
    twin.show("/right.png", eye(100))
    twin.show("/left.png", eye(200))
    assert [f.pixels[0, 0] for f in scanner.capture(BOTH_EYES, 10, NEVER)] == [100, 200]
    swapped = scanner.capture((IrisPosition.LEFT, IrisPosition.RIGHT), 10, NEVER)
    assert [f.pixels[0, 0] for f in swapped] == [200, 100]
    assert [f.metadata["eye"] for f in swapped] == ["LEFT", "RIGHT"]
    assert [f.pixels.shape for f in swapped] == [(120, 160)] * 2


def test_one_eye_may_be_asked_alone_and_none_is_nobody(twin: CameraTwin, scanner: IrisScanner) -> None:
    assert len(scanner.capture((IrisPosition.LEFT,), 10, NEVER)) == 1
    with pytest.raises(DeviceError):
        scanner.capture((IrisPosition.UNKNOWN,), 10, NEVER)


def test_cancelling_and_faults_end_the_capture(twin: CameraTwin, scanner: IrisScanner) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CaptureRetry):
        scanner.capture(BOTH_EYES, 10, cancel)
    twin.fault = CameraFault.TRUNCATED
    with pytest.raises(DeviceError):
        scanner.capture(BOTH_EYES, 10, NEVER)
    twin.fault = CameraFault.NONE
    assert len(scanner.capture(BOTH_EYES, 10, NEVER)) == 2
    scanner.close()
    scanner.close()
    with pytest.raises(DeviceError):
        scanner.capture(BOTH_EYES, 10, NEVER)


def test_the_time_bounds_both_eyes_together(twin: CameraTwin, scanner: IrisScanner) -> None:
    twin.late_s = 0.2
    with pytest.raises(DeviceError):
        scanner.capture(BOTH_EYES * 3, 0.3, NEVER)
