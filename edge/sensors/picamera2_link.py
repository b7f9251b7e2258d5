"""One camera of a Raspberry Pi by picamera2, as the drivers of portrait and iris share it.

picamera2 needs libcamera, which exists on Raspberry Pi OS only: it is imported when a camera is opened. Pixels and
metadata come from one request, so that exposure and focus belong to this very picture. Every wait is bounded: after
a stall picamera2 keeps the unfinished job in its queue, so the camera is closed and opened anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from contract.clock import Clock
from contract.errors import DeviceError
from edge.sensors.interface import Frame, Pixels

METADATA_KEPT = ("ExposureTime", "AnalogueGain", "ColourTemperature", "LensPosition", "FocusFoM", "Lux")
STALLED = "Check the camera's ribbon cable, then run 'rekam-edge selftest'."
RGB, LUMA = "BGR888", "YUV420"  # picamera2 names BGR888 what has its bytes in the order R, G, B
BUFFERS = 3


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


class PiLink:
    """One opened camera. pixel_format: RGB for pictures in colour, LUMA for grey ones. size: 0 for the sensor's own."""

    def __init__(
        self,
        number: int,
        size: tuple[int, int],
        pixel_format: str,
        clock: Clock,
        open_device: Callable[[int], Any] = open_picamera2,
        *,
        still: bool = True,
    ) -> None:
        self._clock, self._format = clock, pixel_format
        camera = open_device(number)
        self._camera: Any = camera
        try:
            main: dict[str, object] = {"format": pixel_format}
            if all(size):
                main["size"] = size
            create = camera.create_still_configuration if still else camera.create_video_configuration
            camera.configure(create(main=main, buffer_count=BUFFERS))
            camera.start()
            self.model = str(camera.camera_properties.get("Model", "unknown"))
            self.width, self.height = camera.camera_configuration()["main"]["size"]
            self.controls: Mapping[str, Any] = dict(camera.camera_controls)
        except (RuntimeError, ValueError, KeyError) as error:
            self.close()
            raise DeviceError(f"The Pi's camera does not start: {error}.", next_step=STALLED) from error

    def close(self) -> None:
        """Stop and release the camera; never raises, and may be called twice."""
        camera, self._camera = self._camera, None
        if camera is not None:
            try:
                camera.close()
            except RuntimeError:
                return

    def set_controls(self, controls: Mapping[str, object]) -> None:
        """Ask for exposure, focus and the like; they are in force a few frames later, as the metadata tells."""
        try:
            self._opened().set_controls(dict(controls))
        except (RuntimeError, ValueError, KeyError) as error:
            raise DeviceError(f"The Pi's camera refuses its settings: {error}.", next_step=STALLED) from error

    def autofocus(self, deadline_ms: int, wait_s_max: float) -> None:
        """One cycle of the camera's own autofocus. Raises DeviceError when it stalls."""
        self._bounded(lambda wait_s: self._opened().autofocus_cycle(wait=wait_s), deadline_ms, wait_s_max)

    def next_frame(self, deadline_ms: int) -> Frame:
        """Pixels and metadata of one request, which is given back whatever happens."""
        request = self._bounded(lambda wait_s: self._opened().capture_request(wait=wait_s, flush=True), deadline_ms)
        try:
            pixels: Pixels = np.array(request.make_array("main"), dtype=np.uint8)
            metadata = request.get_metadata()
        finally:
            request.release()
        if self._format == LUMA:
            pixels = np.ascontiguousarray(pixels[: self.height, : self.width])  # the rows below are colour
        return Frame(pixels=pixels, metadata={key: str(metadata[key]) for key in METADATA_KEPT if key in metadata})

    def _bounded(self, call: Callable[[float], Any], deadline_ms: int, wait_s_max: float = 60.0) -> Any:
        """A call of picamera2 with the time that is left; after a stall the camera is closed."""
        self._opened()
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
