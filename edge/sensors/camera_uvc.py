"""Driver of USB webcams and capture cards: V4L2 through OpenCV.

A camera keeps a few frames in its queue, so a picture "of now" is the one behind them: the queue is emptied first.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from contract.clock import Clock, SystemClock
from contract.errors import CaptureRetry, DeviceError
from edge.sensors.http_snapshot import reduced
from edge.sensors.interface import DeviceInfo, Frame, Pixels

PREVIEW_WIDTH_PX = 480
STALE_FRAMES = 4
WARM_UP_FRAMES = 8
SELECT_TIMEOUT_S = "2"
FOURCC_LENGTH = 4


def open_capture(device: str) -> cv2.VideoCapture:
    """A device node by V4L2; any other path, such as a recording, by whatever reads it."""
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", SELECT_TIMEOUT_S)
    return cv2.VideoCapture(device, cv2.CAP_V4L2 if device.startswith("/dev/") else cv2.CAP_ANY)


class UvcCamera:
    """A Camera.

    device: /dev/video0, better the stable name under /dev/v4l/by-id; or a recording. width_px, height_px: asked of the
    camera, which may choose otherwise; 0 leaves its own. fourcc: such as MJPG, which webcams need for large pictures.
    """

    def __init__(
        self,
        *,
        device: str = "/dev/video0",
        width_px: int = 0,
        height_px: int = 0,
        fourcc: str = "",
        open_device: Callable[[str], Any] = open_capture,
        clock: Clock | None = None,
    ) -> None:
        if fourcc and len(fourcc) != FOURCC_LENGTH:
            raise DeviceError("fourcc has four letters, such as MJPG.")
        self._device, self._width_px, self._height_px, self._fourcc = device, width_px, height_px, fourcc
        self._open_device, self._clock = open_device, clock or SystemClock()
        self._capture: Any = None

    def open(self) -> DeviceInfo:
        """Open the camera, set its size and let exposure settle. Raises DeviceError."""
        self.close()
        capture = self._open_device(self._device)
        self._capture = capture
        if not capture.isOpened():
            self.close()
            raise DeviceError(
                f"Camera {self._device} cannot be opened.",
                next_step="Check the USB cable, that the user is in group video, and that no program uses the camera.",
            )
        if self._fourcc:
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*self._fourcc))
        if self._width_px and self._height_px:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._width_px)
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._height_px)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        for _ in range(WARM_UP_FRAMES):
            capture.grab()
        width, height = (round(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        backend = capture.getBackendName()
        return DeviceInfo(
            driver="uvc", model=f"{backend} camera, {width}×{height}", capabilities=("portrait", "preview")
        )

    def close(self) -> None:
        """Release the camera."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()

    def capture(self, timeout_s: float, cancel: threading.Event) -> Frame:
        """The picture of now, RGB (H, W, 3)."""
        deadline_ms = self._clock.monotonic_ms() + round(timeout_s * 1000)
        for _ in range(STALE_FRAMES):
            if cancel.is_set():
                raise CaptureRetry("The capture was cancelled.")
            if self._clock.monotonic_ms() >= deadline_ms:
                raise DeviceError(f"Camera {self._device} gave no picture in time.")
            self._opened().grab()
        return Frame(pixels=self._read())

    def preview(self, timeout_s: float) -> Frame:
        """The next frame, no wider than PREVIEW_WIDTH_PX; OpenCV bounds the wait by SELECT_TIMEOUT_S."""
        return Frame(pixels=reduced(self._read(), PREVIEW_WIDTH_PX))

    def _read(self) -> Pixels:
        done, bgr = self._opened().read()
        if not done or bgr is None or bgr.ndim != 3:
            raise DeviceError(
                f"Camera {self._device} gives no picture.", next_step="Unplug the camera and plug it in again."
            )
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)

    def _opened(self) -> Any:
        if self._capture is None:
            raise DeviceError("The camera is not open.")
        return self._capture
