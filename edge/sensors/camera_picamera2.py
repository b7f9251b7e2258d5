"""Driver of the Raspberry Pi's own cameras by picamera2, for the portrait: focus, then the sharpest of a burst."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from contract.clock import Clock, SystemClock
from contract.errors import CaptureRetry, DeviceError
from edge.sensors.http_snapshot import reduced
from edge.sensors.interface import DeviceInfo, Frame
from edge.sensors.picamera2_link import RGB, STALLED, PiLink, open_picamera2

PREVIEW_WIDTH_PX = 480
AUTOFOCUS_S_MAX = 3.0


class PiCamera:
    """A Camera.

    number: as `rpicam-hello --list-cameras` counts. width_px, height_px: 0 for the sensor's own. burst: pictures per
    capture, of which the one with the best focus measure is kept.
    """

    def __init__(
        self,
        *,
        number: int = 0,
        width_px: int = 0,
        height_px: int = 0,
        burst: int = 3,
        open_device: Callable[[int], Any] = open_picamera2,
        clock: Clock | None = None,
    ) -> None:
        if burst < 1:
            raise DeviceError("burst is at least 1.")
        self._number, self._size, self._burst = number, (width_px, height_px), burst
        self._open_device, self._clock = open_device, clock or SystemClock()
        self._link: PiLink | None = None

    def open(self) -> DeviceInfo:
        """Configure and start the camera. Raises DeviceError."""
        self.close()
        self._link = link = PiLink(self._number, self._size, RGB, self._clock, self._open_device)
        focus = ("autofocus",) if "AfMode" in link.controls else ()
        model = f"{link.model}, {link.width}×{link.height}"
        return DeviceInfo(driver="picamera2", model=model, capabilities=("portrait", "preview", *focus))

    def close(self) -> None:
        """Stop and release the camera."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def capture(self, timeout_s: float, cancel: threading.Event) -> Frame:
        """Focus, then the sharpest of a burst: RGB (H, W, 3) with its own metadata."""
        deadline_ms = self._clock.monotonic_ms() + round(timeout_s * 1000)
        link = self._opened()
        if "AfMode" in link.controls:
            link.autofocus(deadline_ms, AUTOFOCUS_S_MAX)
        best: Frame | None = None
        for _ in range(self._burst):
            if cancel.is_set():
                raise CaptureRetry("The capture was cancelled.")
            frame = link.next_frame(deadline_ms)
            if best is None or _focus(frame) > _focus(best):
                best = frame
        if best is None:
            raise DeviceError("The Pi's camera gave no picture.", next_step=STALLED)
        return best

    def preview(self, timeout_s: float) -> Frame:
        """The next frame, no wider than PREVIEW_WIDTH_PX."""
        frame = self._opened().next_frame(self._clock.monotonic_ms() + round(timeout_s * 1000))
        return Frame(pixels=reduced(frame.pixels, PREVIEW_WIDTH_PX), metadata=frame.metadata)

    def _opened(self) -> PiLink:
        if self._link is None:
            raise DeviceError("The camera is not open.")
        return self._link


def _focus(frame: Frame) -> float:
    """libcamera's figure of merit for focus; 0 where the camera has none."""
    try:
        return float(frame.metadata.get("FocusFoM", "0"))
    except ValueError:
        return 0.0
