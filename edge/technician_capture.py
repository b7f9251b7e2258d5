"""One sample for a technician, outside any session: taken, judged, and written to a file that only its owner reads.

What is judged is what the capture's own quality gate judges (M12). Nothing is kept but the file that was asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from contract.errors import CaptureRetry, DeviceError
from contract.image_formats import ImageFormat, encode_image
from contract.sample import FingerPosition, IrisPosition
from contract.sample_quality import SampleQuality
from edge.sensors.drivers import light_for, open_driver
from edge.sensors.interface import PenPoint, Pixels
from edge.sensors.quality import judge_signature

FILE_MODE = 0o600
PICTURE_PX = (900, 400)
MARGIN_PX = 40


class SampleKind(StrEnum):
    """What can be taken. The values are the command's words."""

    FINGER = "finger"
    IRIS = "iris"
    PORTRAIT = "portrait"
    SIGNATURE = "signature"


DEVICE_OF = {
    SampleKind.FINGER: "finger",
    SampleKind.IRIS: "iris",
    SampleKind.PORTRAIT: "camera",
    SampleKind.SIGNATURE: "signature",
}
PROMPTS = {
    SampleKind.FINGER: ("Letakkan jari pada pemindai.", "Place the finger on the scanner."),
    SampleKind.IRIS: ("Lihat ke kamera iris.", "Look into the iris camera."),
    SampleKind.PORTRAIT: ("Lihat ke kamera.", "Look at the camera."),
    SampleKind.SIGNATURE: ("Tanda tangan pada papan.", "Sign on the pad."),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """What was taken: bytes for the file, what they show, and how good it is."""

    content: bytes
    shown: str
    quality: SampleQuality


def take(
    kind: SampleKind,
    tables: Mapping[str, Mapping[str, object]],
    *,
    position: int,
    as_points: bool,
    timeout_s: float,
    attempts: int,
    cancel: threading.Event,
    advise: Callable[[CaptureRetry], None],
) -> Sample:
    """Take one sample. position: of the finger, or the eye; as_points: a signature's points instead of its picture.

    advise: called with each piece of advice before the next attempt. Raises CaptureRetry after the last, DeviceError.
    """
    device_kind = DEVICE_OF[kind]
    if device_kind not in tables:
        raise DeviceError(
            f"This unit has no {device_kind} device.", next_step=f"Add a table [devices.{device_kind}] to unit.toml."
        )
    with contextlib.ExitStack() as opened:
        parts = opened.enter_context(light_for(device_kind, tables))
        device: Any = open_driver(device_kind, tables[device_kind], **parts)
        opened.callback(device.close)
        device.open()
        for attempt in range(1, attempts + 1):
            try:
                return _take_once(kind, device, position, as_points, timeout_s, cancel)
            except CaptureRetry as retry:
                if attempt == attempts or cancel.is_set():
                    raise
                advise(retry)
    raise CaptureRetry("Nothing was taken.")


def write_private(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file that only its owner reads. Raises DeviceError where one is there already and not `force`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(path, flags, FILE_MODE), "wb") as file:
            os.fchmod(file.fileno(), FILE_MODE)
            file.write(content)
    except FileExistsError:
        raise DeviceError(f"{path} is there already.", next_step="Name another file, or say --force.") from None
    except OSError as error:
        raise DeviceError(f"{path} cannot be written ({error.strerror}).") from None


def _take_once(
    kind: SampleKind, device: Any, position: int, as_points: bool, timeout_s: float, cancel: threading.Event
) -> Sample:
    if kind is SampleKind.FINGER:
        frame = device.capture(FingerPosition(position), timeout_s, cancel)
        return _picture(frame.pixels, frame.ppi, _judge_finger(frame.pixels, frame.ppi, position))
    if kind is SampleKind.IRIS:
        (frame,) = device.capture((IrisPosition(position),), timeout_s, cancel)
        return _picture(frame.pixels, frame.ppi, _judge_iris(frame.pixels))
    if kind is SampleKind.PORTRAIT:
        frame = device.capture(timeout_s, cancel)
        return _picture(frame.pixels, frame.ppi, _judge_portrait(frame.pixels))
    points: Sequence[PenPoint] = device.capture(timeout_s, cancel)
    quality = judge_signature(points)
    if as_points:
        return Sample(json.dumps([asdict(point) for point in points]).encode(), f"{len(points)} points", quality)
    return Sample(encode_image(draw_signature(points), ImageFormat.PNG), f"{len(points)} points, drawn", quality)


def _picture(pixels: Pixels, ppi: int, quality: SampleQuality) -> Sample:
    scale = f" at {ppi} ppi" if ppi else ""
    return Sample(
        encode_image(pixels, ImageFormat.PNG, ppi=ppi), f"{pixels.shape[1]}×{pixels.shape[0]}{scale}", quality
    )


def _judge_finger(pixels: Pixels, ppi: int, position: int) -> SampleQuality:
    from edge.matcher_lite import extract
    from edge.sensors.matcher_quality import judge_finger

    return judge_finger(extract(pixels, ppi, FingerPosition(position)))


def _judge_iris(pixels: Pixels) -> SampleQuality:
    from edge.matcher_lite import extract_iris
    from edge.sensors.matcher_quality import judge_iris

    grey = pixels if pixels.ndim == 2 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
    return judge_iris(extract_iris(grey))


def _judge_portrait(pixels: Pixels) -> SampleQuality:
    from edge.matcher_lite.portrait_quality import judge_portrait

    return judge_portrait(pixels)


def draw_signature(points: Sequence[PenPoint]) -> Pixels:
    """Strokes fitted into a picture of PICTURE_PX, dark on white, thicker where the pen pressed."""
    paper = np.full((PICTURE_PX[1], PICTURE_PX[0]), 255, np.uint8)
    if not points:
        return paper
    places = np.array([(point.x, point.y) for point in points], np.float64)
    span = np.maximum(places.max(0) - places.min(0), 1.0)
    scale = min((PICTURE_PX[0] - 2 * MARGIN_PX) / span[0], (PICTURE_PX[1] - 2 * MARGIN_PX) / span[1])
    dots = np.rint((places - places.min(0)) * scale + MARGIN_PX).astype(int)
    for before, here, start, end in zip(points, points[1:], dots, dots[1:], strict=False):
        if before.down and here.down:
            width = 2 + here.pressure * 4 // 65535
            cv2.line(paper, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), 16, width, cv2.LINE_AA)
    return paper
