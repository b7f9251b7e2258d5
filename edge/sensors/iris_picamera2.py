"""Driver of near-infrared camera modules on a Raspberry Pi (OV9281, IMX219 NoIR) as an iris scanner.

The controller board, or a PCA9685, gives the light and bounds it for the eye's sake. With the light on, exposure is
searched until the eyes are bright and not burnt, then the lens position where the module has one, and of a burst the
sharpest pictures of each eye are kept. What takes longer than one pulse goes on in the next, after the light has
rested: no frame is judged that was not lit from its first line to its last. One module sees both eyes and each eye is
one half of its picture, or each eye has a module of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from contract.clock import Clock, SystemClock
from contract.errors import CaptureRetry, DeviceError, TransientError
from contract.sample import IrisPosition
from edge.sensors.http_snapshot import reduced
from edge.sensors.interface import DeviceInfo, Frame, Illumination, Pixels
from edge.sensors.picamera2_link import LUMA, PiLink, open_picamera2

PREVIEW_WIDTH_PX = 480
BRIGHT_PERCENTILE = 95
BRIGHT_MIN, BRIGHT_TARGET, BRIGHT_MAX = 150, 195, 240
EXPOSURE_STEPS_MAX = 8
SETTLE_FRAMES_MAX = 6
SETTLED_SHARE = 0.05
LENS_POSITIONS = 5
BURST_KEPT = 3
PULSE_MS_MAX = 5000
REST_LOOK_S = 0.1
DARK = "Check the near-infrared light, then run 'rekam-edge selftest'."


class PiIrisScanner:
    """An IrisScanner. illumination: given by the unit, from its controller or [devices.illumination].

    number: of the module, as `rpicam-hello --list-cameras` counts; number_left: of a second module for the left eye, -1
    where one sees both. mirrored: the module's picture is a mirror's. wavelength_nm, level_percent, pulse_ms: of the
    light, at most PULSE_MS_MAX, which every light gives. exposure_min_us, exposure_max_us: bounds of the search; gain:
    fixed, low for little noise. burst: pictures of which the BURST_KEPT sharpest are kept.
    """

    def __init__(
        self,
        *,
        number: int = 0,
        number_left: int = -1,
        width_px: int = 0,
        height_px: int = 0,
        mirrored: bool = False,
        wavelength_nm: int = 850,
        level_percent: int = 80,
        pulse_ms: int = 4000,
        exposure_min_us: int = 200,
        exposure_max_us: int = 12_000,
        gain: float = 2.0,
        burst: int = 5,
        illumination: Illumination | None = None,
        open_device: Callable[[int], Any] = open_picamera2,
        clock: Clock | None = None,
    ) -> None:
        if not (1 <= level_percent <= 100 and 100 <= pulse_ms <= PULSE_MS_MAX and 1 <= burst <= 30 and gain >= 1):
            raise DeviceError(
                f"level_percent lies in 1–100, pulse_ms in 100–{PULSE_MS_MAX}, burst in 1–30, gain is at least 1."
            )
        if not 0 < exposure_min_us < exposure_max_us:
            raise DeviceError("exposure_min_us is positive and below exposure_max_us.")
        self._numbers = (number,) if number_left < 0 else (number, number_left)
        self._size, self._mirrored = (width_px, height_px), mirrored
        self._light_settings = (wavelength_nm, level_percent, pulse_ms)
        self._exposures_us = (exposure_min_us, exposure_max_us)
        self._exposure_us = round((exposure_min_us * exposure_max_us) ** 0.5)
        self._gain, self._burst = gain, burst
        self._light, self._open_device, self._clock = illumination, open_device, clock or SystemClock()
        self._links: tuple[PiLink, ...] = ()
        self._dark_at_ms = 0

    def open(self) -> DeviceInfo:
        """Configure and start the modules. Raises DeviceError, also where the unit has no light for them."""
        self.close()
        if self._light is None:
            raise DeviceError(
                "The iris camera has no near-infrared light.",
                next_step="Add [devices.illumination], or connect the controller board.",
            )
        links: list[PiLink] = []
        try:
            for number in self._numbers:
                link = PiLink(number, self._size, LUMA, self._clock, self._open_device, still=False)
                links.append(link)
                fixed = {"AeEnable": False, "AwbEnable": False, "AnalogueGain": self._gain}
                link.set_controls({**fixed, **({"AfMode": 0} if "LensPosition" in link.controls else {})})
        except DeviceError:
            for link in links:
                link.close()
            raise
        self._links = tuple(links)
        model = ", ".join(f"{link.model}, {link.width}×{link.height}" for link in links)
        focus = ("focus",) if any("LensPosition" in link.controls for link in links) else ()
        return DeviceInfo(driver="picamera2", model=model, capabilities=("right", "left", "preview", "burst", *focus))

    def close(self) -> None:
        """Stop and release the modules."""
        links, self._links = self._links, ()
        for link in links:
            link.close()

    def preview(self, timeout_s: float) -> Frame:
        """What the first module sees by the light of the room, no wider than PREVIEW_WIDTH_PX."""
        frame = self._opened()[0].next_frame(self._clock.monotonic_ms() + round(timeout_s * 1000))
        return Frame(pixels=reduced(frame.pixels, PREVIEW_WIDTH_PX), metadata=frame.metadata)

    def capture(self, positions: Sequence[IrisPosition], timeout_s: float, cancel: threading.Event) -> Sequence[Frame]:
        """The sharpest picture of each asked eye; see `burst`."""
        return [pictures[0] for pictures in self.burst(positions, timeout_s, cancel)]

    def burst(
        self, positions: Sequence[IrisPosition], timeout_s: float, cancel: threading.Event
    ) -> Sequence[Sequence[Frame]]:
        """The sharpest pictures of each asked eye, grey (H, W), sharpest first, with their own metadata; then dark.

        Raises CaptureRetry when cancelled or while the light must rest beyond the time-out, DeviceError when a module
        stalls or no light reaches it.
        """
        if not positions or any(position not in (IrisPosition.RIGHT, IrisPosition.LEFT) for position in positions):
            raise DeviceError("The iris camera was asked for an unknown eye.")
        links = self._opened()
        deadline_ms = self._clock.monotonic_ms() + round(timeout_s * 1000)
        self._light_up(deadline_ms, cancel)
        try:
            best: dict[IrisPosition, Sequence[Frame]] = {}
            for number, link in enumerate(links):
                here = [position for position in positions if len(links) == 1 or number == position - 1]
                if here:
                    self._expose(link, deadline_ms, cancel)
                    self._focus(link, deadline_ms, cancel)
                    best.update(self._burst_of(link, here, deadline_ms, cancel))
        finally:
            self._go_dark()
        return [best[position] for position in positions]

    def _lit_frame(self, link: PiLink, deadline_ms: int, cancel: threading.Event) -> Frame:
        """The next frame that one pulse lit as a whole; a pulse that is over is followed by another."""
        while True:
            _check(cancel)
            if self._clock.monotonic_ms() >= self._dark_at_ms:
                self._go_dark()
                self._light_up(deadline_ms, cancel)
            frame = link.next_frame(deadline_ms)
            if self._clock.monotonic_ms() < self._dark_at_ms:
                return frame

    def _light_up(self, deadline_ms: int, cancel: threading.Event) -> None:
        """Light, as soon as it may shine again."""
        wavelength_nm, level_percent, pulse_ms = self._light_settings
        while True:
            _check(cancel)
            self._dark_at_ms = self._clock.monotonic_ms() + pulse_ms
            try:
                self._lamp().on(wavelength_nm, level_percent, pulse_ms)
            except TransientError as error:
                if self._clock.monotonic_ms() >= deadline_ms:
                    raise CaptureRetry(
                        "The near-infrared light is resting.", next_step="Wait a moment, then try again."
                    ) from error
                cancel.wait(REST_LOOK_S)
            else:
                return

    def _go_dark(self) -> None:
        try:
            self._lamp().off()
        except DeviceError:
            return  # it goes dark by itself when its pulse is over; the next pulse will tell the technician

    def _expose(self, link: PiLink, deadline_ms: int, cancel: threading.Event) -> None:
        """Search the exposure with which the brightest part of the picture is bright and not burnt."""
        low, high = self._exposures_us
        for _ in range(EXPOSURE_STEPS_MAX):
            frame = self._settled(link, {"ExposureTime": self._exposure_us}, "ExposureTime", deadline_ms, cancel)
            bright = float(np.percentile(frame.pixels[::4, ::4], BRIGHT_PERCENTILE))
            if BRIGHT_MIN <= bright <= BRIGHT_MAX:
                return
            factor = BRIGHT_TARGET / max(bright, 8.0) if bright < BRIGHT_MAX else 0.5
            wanted = min(high, max(low, round(self._exposure_us * factor)))
            if wanted == self._exposure_us:
                break
            self._exposure_us = wanted
        if bright < BRIGHT_MIN / 4:
            raise DeviceError("No near-infrared light reaches the iris camera.", next_step=DARK)

    def _focus(self, link: PiLink, deadline_ms: int, cancel: threading.Event) -> None:
        """Try the lens over its range, then around the best place; modules without one are focused by distance."""
        if "LensPosition" not in link.controls:
            return
        near, far = (float(limit) for limit in link.controls["LensPosition"][:2])
        step = (far - near) / (LENS_POSITIONS - 1)
        places = [near + step * number for number in range(LENS_POSITIONS)]
        best = max(places, key=lambda place: self._sharpness_at(link, place, deadline_ms, cancel))
        around = [min(far, max(near, best + shift * step / 3)) for shift in (-1, 0, 1)]
        best = max(around, key=lambda place: self._sharpness_at(link, place, deadline_ms, cancel))
        self._settled(link, {"LensPosition": best}, "LensPosition", deadline_ms, cancel)

    def _sharpness_at(self, link: PiLink, place: float, deadline_ms: int, cancel: threading.Event) -> float:
        frame = self._settled(link, {"LensPosition": place}, "LensPosition", deadline_ms, cancel)
        return sharpness(frame.pixels)

    def _burst_of(
        self, link: PiLink, positions: Sequence[IrisPosition], deadline_ms: int, cancel: threading.Event
    ) -> Mapping[IrisPosition, Sequence[Frame]]:
        """The sharpest pictures of each eye that this module sees."""
        best: dict[IrisPosition, list[tuple[float, Frame]]] = {position: [] for position in positions}
        for _ in range(self._burst):
            frame = self._lit_frame(link, deadline_ms, cancel)
            for position, kept in best.items():
                pixels = self._eye(frame.pixels, position)
                value = sharpness(pixels)
                eye = {"eye": position.name, "sharpness": f"{value:.1f}"}
                kept.append((value, Frame(pixels=pixels, metadata={**frame.metadata, **eye})))
                kept.sort(key=lambda found: -found[0])
                del kept[BURST_KEPT:]
        return {position: [frame for _, frame in kept] for position, kept in best.items()}

    def _eye(self, pixels: Pixels, position: IrisPosition) -> Pixels:
        """The part of a picture that shows one eye: who faces a camera has the right eye at its left."""
        if len(self._links) > 1:
            return pixels
        half = pixels.shape[1] // 2
        is_left_half = (position is IrisPosition.RIGHT) is not self._mirrored
        return np.ascontiguousarray(pixels[:, :half] if is_left_half else pixels[:, half:])

    def _settled(
        self, link: PiLink, controls: Mapping[str, object], name: str, deadline_ms: int, cancel: threading.Event
    ) -> Frame:
        """The first frame that was made with a control in force, by its own metadata; else the last looked at."""
        link.set_controls(controls)
        wanted = float(str(controls[name]))
        for _ in range(SETTLE_FRAMES_MAX):
            frame = self._lit_frame(link, deadline_ms, cancel)
            if abs(float(frame.metadata.get(name, wanted)) - wanted) <= SETTLED_SHARE * max(abs(wanted), 1.0):
                break
        return frame

    def _lamp(self) -> Illumination:
        if self._light is None:
            raise DeviceError("The iris camera has no near-infrared light.")
        return self._light

    def _opened(self) -> tuple[PiLink, ...]:
        if not self._links:
            raise DeviceError("The iris camera is not open.")
        return self._links


def sharpness(pixels: Pixels) -> float:
    """How much fine detail a picture has: standard deviation of its Laplacian, after a blur against noise."""
    return float(cv2.Laplacian(cv2.GaussianBlur(pixels, (5, 5), 0), cv2.CV_32F).std())


def _check(cancel: threading.Event) -> None:
    if cancel.is_set():
        raise CaptureRetry("The capture was cancelled.")
