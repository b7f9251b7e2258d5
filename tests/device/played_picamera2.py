"""picamera2's interface as its source (0.3) has it, over a frame source: the library runs on a Raspberry Pi only.

Pixels stand for what the lens sees, as with the other camera twins; controls take two frames to come into force, the
picture of a luma format has rows of colour below it and padding beside it, and a request that is kept is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Scene = Callable[[Mapping[str, float]], Grey]
LAG_FRAMES = 2
STRIDE = 64


def portrait_scene() -> Grey:
    """A picture whose red, green and blue differ, so that swapped channels show."""
    y, x = np.mgrid[0:240, 0:640]
    return np.stack([x * 255 // 639, y * 255 // 239, np.full_like(x, 40)], axis=2).astype(np.uint8)


def lit(scene: Grey, light: float, exposure_us: float, out_of_focus: float) -> Grey:
    """A scene as a sensor without automatic exposure sees it. light: 1 for full; noise is that of the frame."""
    seen = scene.astype(np.float32) * light * exposure_us / 2000
    if out_of_focus > 0.05:
        seen = cv2.GaussianBlur(seen, (0, 0), out_of_focus * 2)
    return np.clip(seen + 4, 0, 255).astype(np.uint8)


class PlayedRequest:
    """One completed request."""

    def __init__(self, pixels: Grey, metadata: dict[str, object], held: list[int]) -> None:
        self._pixels, self._metadata, self._held = pixels, metadata, held
        held.append(id(self))

    def make_array(self, name: str) -> Grey:
        assert name == "main"
        return self._pixels

    def get_metadata(self) -> dict[str, object]:
        return self._metadata

    def release(self) -> None:
        self._held.remove(id(self))


class PlayedPicamera2:
    """The calls of picamera2 that the drivers make."""

    def __init__(self, scene: Scene, *, focuses: bool = True, lens: bool = False) -> None:
        self.camera_properties: dict[str, object] = {"Model": "imx708"}
        self.camera_controls: dict[str, object] = {"AfMode": (0, 2, 0)} if focuses else {}
        if lens:
            self.camera_controls["LensPosition"] = (0.0, 10.0, 1.0)
        self.closed = self.stalled = False
        self.held: list[int] = []
        self.frames = 0
        self.main: dict[str, Any] = {}
        self._scene = scene
        self._asked: list[dict[str, float]] = [{"ExposureTime": 1000.0, "LensPosition": 1.0}]

    def create_still_configuration(self, main: dict[str, object], buffer_count: int) -> dict[str, object]:
        assert buffer_count >= 2
        return {"main": {"size": (640, 240), **main}}

    create_video_configuration = create_still_configuration

    def configure(self, configuration: dict[str, Any]) -> None:
        self.main = configuration["main"]
        if self.main["format"] == "YUV420":
            height, width = self._scene(self._asked[0]).shape
            self.main["size"] = (width, height)

    def camera_configuration(self) -> dict[str, Any]:
        return {"main": self.main}

    def start(self) -> None:
        assert self.main["format"] in ("BGR888", "YUV420")

    def close(self) -> None:
        self.closed = True

    def set_controls(self, controls: dict[str, Any]) -> None:
        numbers = {name: float(value) for name, value in controls.items()}
        self._asked.append({**self._asked[-1], **numbers})

    def autofocus_cycle(self, wait: float) -> bool:
        assert wait > 0
        return True

    def capture_request(self, wait: float, flush: bool) -> PlayedRequest:
        assert flush
        if self.stalled:
            raise TimeoutError
        self.frames += 1
        del self._asked[: max(0, len(self._asked) - 1 - (self.frames % LAG_FRAMES))]
        now = self._asked[0]
        metadata: dict[str, object] = {
            "FocusFoM": [10, 30, 20][(self.frames - 1) % 3],
            "ExposureTime": now["ExposureTime"] + (self.frames - 1 if self.main["format"] == "BGR888" else 0),
            "LensPosition": now["LensPosition"],
            "Unkept": 1,
        }
        return PlayedRequest(self._pixels(now), metadata, self.held)

    def _pixels(self, now: Mapping[str, float]) -> Grey:
        seen = self._scene(now)
        if self.main["format"] == "BGR888":
            return seen
        height, width = seen.shape
        stride = -(-width // STRIDE) * STRIDE
        whole = np.full((height * 3 // 2, stride), 128, np.uint8)
        whole[:height, :width] = seen
        return whole
