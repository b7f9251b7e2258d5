"""Driver of the Raspberry Pi's own cameras by picamera2.

picamera2 needs libcamera, which exists on Raspberry Pi OS only: it is imported when the camera is opened. Pixels and
metadata come from one request, so that exposure and focus belong to this very picture. Every wait is bounded: after
a stall picamera2 keeps the unfinished job in its queue, so the camera is closed and opened anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from contract.clock import Clock, SystemClock
from contract.errors import CaptureRetry, DeviceError
from edge.sensors.http_snapshot import reduced
from edge.sensors.interface import DeviceInfo, Frame, Pixels

PREVIEW_WIDTH_PX = 480
AUTOFOCUS_S_MAX = 3.0
METADATA_KEPT = ("ExposureTime", "AnalogueGain", "ColourTemperature", "LensPosition", "FocusFoM", "Lux")
STALLED = "Check the camera's ribbon cable, then run 'rekam-edge selftest'."


def open_picamera2(number: int) -> Any:
    """The Pi's camera by its number. Raises DeviceError where picamera2 or the camera is missing."""
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise DeviceError(
            f"picamera2 is not usable here: {error}.",
            next_step="On Raspberry Pi OS: apt install python3-picamera2, and a venv with --system-site-packages.",
        ) from error
    try:
        return Picamera2(number)
    except (IndexError, RuntimeError) as error:
        raise DeviceError(f"The Pi has no camera {number}: {error}.", next_step=STALLED) from error


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
        self._camera: Any = None

    def open(self) -> DeviceInfo:
        """Configure and start the camera. Raises DeviceError."""
        self.close()
        camera = self._open_device(self._number)
        self._camera = camera
        try:
            main: dict[str, object] = {"format": "BGR888"}  # picamera2's name for bytes in the order R, G, B
            if all(self._size):
                main["size"] = self._size
            camera.configure(camera.create_still_configuration(main=main, buffer_count=3))
            camera.start()
            model = str(camera.camera_properties.get("Model", "unknown"))
            width, height = camera.camera_configuration()["main"]["size"]
        except (RuntimeError, ValueError, KeyError) as error:
            self.close()
            raise DeviceError(f"The Pi's camera does not start: {error}.", next_step=STALLED) from error
        focus = ("autofocus",) if "AfMode" in camera.camera_controls else ()
        return DeviceInfo(
            driver="picamera2", model=f"{model}, {width}×{height}", capabilities=("portrait", "preview", *focus)
        )

    def close(self) -> None:
        """Stop and release the camera."""
        camera, self._camera = self._camera, None
        if camera is not None:
            try:
                camera.close()
            except RuntimeError:
                return

    def capture(self, timeout_s: float, cancel: threading.Event) -> Frame:
        """Focus, then the sharpest of a burst: RGB (H, W, 3) with its own metadata."""
        deadline_ms = self._clock.monotonic_ms() + round(timeout_s * 1000)
        if "AfMode" in self._opened().camera_controls:
            self._bounded(lambda wait_s: self._camera.autofocus_cycle(wait=wait_s), deadline_ms, AUTOFOCUS_S_MAX)
        best: Frame | None = None
        for _ in range(self._burst):
            if cancel.is_set():
                raise CaptureRetry("The capture was cancelled.")
            frame = self._next_frame(deadline_ms)
            if best is None or _focus(frame) > _focus(best):
                best = frame
        if best is None:
            raise DeviceError("The Pi's camera gave no picture.", next_step=STALLED)
        return best

    def preview(self, timeout_s: float) -> Frame:
        """The next frame, no wider than PREVIEW_WIDTH_PX."""
        frame = self._next_frame(self._clock.monotonic_ms() + round(timeout_s * 1000))
        return Frame(pixels=reduced(frame.pixels, PREVIEW_WIDTH_PX), metadata=frame.metadata)

    def _next_frame(self, deadline_ms: int) -> Frame:
        """Pixels and metadata of one request, which is given back whatever happens."""
        self._opened()
        request = self._bounded(lambda wait_s: self._camera.capture_request(wait=wait_s, flush=True), deadline_ms)
        try:
            pixels: Pixels = np.array(request.make_array("main"), dtype=np.uint8)
            metadata = request.get_metadata()
        finally:
            request.release()
        return Frame(pixels=pixels, metadata={key: str(metadata[key]) for key in METADATA_KEPT if key in metadata})

    def _bounded(self, call: Callable[[float], Any], deadline_ms: int, wait_s_max: float = 60.0) -> Any:
        """A call of picamera2 with the time that is left; after a stall the camera is closed."""
        left_s = min(wait_s_max, (deadline_ms - self._clock.monotonic_ms()) / 1000)
        try:
            if left_s <= 0:
                raise TimeoutError
            return call(left_s)
        except (TimeoutError, RuntimeError) as error:
            self.close()
            raise DeviceError("The Pi's camera has stalled.", next_step=STALLED) from error

    def _opened(self) -> Any:
        if self._camera is None:
            raise DeviceError("The camera is not open.")
        return self._camera


def _focus(frame: Frame) -> float:
    """libcamera's figure of merit for focus; 0 where the camera has none."""
    try:
        return float(frame.metadata.get("FocusFoM", "0"))
    except ValueError:
        return 0.0
