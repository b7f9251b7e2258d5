"""Quality of a portrait, by what OpenCV's own cascades allow to be judged (ISO/IEC 29794-5, ICAO 9303 part 3).

Judged: one face, eye distance, roll, centring, margins, exposure, evenness of light, sharpness, background. Yaw,
pitch, expression, gaze, covering and glare need more than a cascade and are reported as not judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.sensors.interface import Pixels
from edge.sensors.quality import Advice, Measure, SampleQuality, measure, sample_quality, unjudged

SEARCH_WIDTH_PX = 600
FACE_SHARE_MIN = 0.2
SHARPNESS_EYE_DISTANCE_PX = 60
WHITE_LEVEL, BLACK_LEVEL = 247, 25
DARK_PICTURE_LEVEL = 48
NEVER_JUDGED = ("yaw", "pitch", "expression", "gaze", "covering", "glare")
NEEDS_EYES = ("eye distance", "roll", "centring", "height", "margins")
NEEDS_FACE = ("brightness", "over-exposure", "under-exposure", "evenness", "sharpness", "background")

NO_FACE = Advice("Wajah tidak terlihat. Lihat ke kamera.", "No face is seen. Look at the camera.")
MORE_FACES = Advice("Hanya satu orang di depan kamera.", "Only one person before the camera.")
EYES = Advice("Buka mata dan lihat ke kamera, tanpa kacamata.", "Open your eyes and look at the camera, no glasses.")
NEARER = Advice("Majulah sedikit ke kamera.", "Move a little nearer to the camera.")
FURTHER = Advice("Mundurlah sedikit dari kamera.", "Move a little away from the camera.")
UPRIGHT = Advice("Tegakkan kepala.", "Hold your head upright.")
MIDDLE = Advice("Geser ke tengah gambar.", "Move to the middle of the picture.")
SEAT_HEIGHT = Advice("Sesuaikan tinggi kursi atau kamera.", "Adjust the height of the chair or the camera.")
MORE_LIGHT = Advice("Wajah terlalu gelap. Tambah cahaya dari depan.", "The face is too dark. Add light from the front.")
LESS_LIGHT = Advice("Wajah terlalu terang. Kurangi cahaya.", "The face is too bright. Reduce the light.")
EVEN_LIGHT = Advice(
    "Cahaya pada wajah tidak rata. Hadapkan kedua sisi ke cahaya.",
    "The light on the face is uneven. Turn both sides to the light.",
)
STILL = Advice("Gambar kabur. Duduk diam.", "The picture is blurred. Sit still.")
PLAIN = Advice("Latar belakang harus polos.", "The background must be plain.")


@dataclass(frozen=True, slots=True)
class Face:
    """A face in pixels of the picture. eyes: centres ((x, y) of the left one in the picture, of the right one)."""

    x: float
    y: float
    size: float
    eyes: tuple[tuple[float, float], tuple[float, float]] | None

    @property
    def eye_distance_px(self) -> float:
        """Distance of the eye centres, 0 where they were not found."""
        return math.dist(*self.eyes) if self.eyes else 0.0


@cache
def _cascade(name: str) -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / f"haarcascade_{name}.xml"))


def find_faces(pixels: Pixels) -> tuple[Face, ...]:
    """The faces of an RGB (H, W, 3) or grey (H, W) picture, the largest first, with the eyes where they are seen."""
    grey = _grey(pixels)
    scale = min(1.0, SEARCH_WIDTH_PX / grey.shape[1])
    small = _scaled(grey, scale)
    side = round(FACE_SHARE_MIN * min(small.shape))
    boxes = _cascade("frontalface_default").detectMultiScale(small, 1.1, 5, minSize=(side, side))
    faces = [
        Face(x / scale, y / scale, size / scale, _eyes(small, (x, y, size), scale))
        for x, y, size, _ in (tuple(map(int, box)) for box in boxes)
    ]
    return tuple(sorted(faces, key=lambda face: -face.size))


def _eyes(
    small: NDArray[np.uint8], box: tuple[int, int, int], scale: float
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """The pair of eye detections in the upper half of a face that looks most like a pair of eyes."""
    x, y, size = box
    top = y + size // 6
    region = small[top : y + size * 11 // 20, x : x + size]
    found = _cascade("eye").detectMultiScale(
        region, 1.05, 4, minSize=(size // 9, size // 9), maxSize=(size // 3, size // 3)
    )
    centres = [(x + ex + ew / 2, top + ey + eh / 2, float(ew)) for ex, ey, ew, eh in (map(int, eye) for eye in found)]
    best, best_cost = None, 0.35
    for a, b in product(centres, centres):
        apart = (b[0] - a[0]) / size
        if not 0.25 <= apart <= 0.6:
            continue
        level = abs(b[1] - a[1]) / size
        middle = abs((a[0] + b[0]) / 2 - (x + size / 2)) / size
        cost = level + middle + abs(apart - 0.38) + abs(a[2] - b[2]) / size
        if cost < best_cost:
            best, best_cost = (a, b), cost
    if best is None:
        return None
    return (best[0][0] / scale, best[0][1] / scale), (best[1][0] / scale, best[1][1] / scale)


def judge_portrait(pixels: Pixels) -> SampleQuality:
    """Judgement of an RGB (H, W, 3) portrait as the camera gave it."""
    faces, grey = find_faces(pixels), _grey(pixels)
    if len(faces) != 1:
        dark = float(grey.mean()) < DARK_PICTURE_LEVEL
        advice = MORE_FACES if faces else MORE_LIGHT if dark else NO_FACE
        one = measure("one face", len(faces), worst=2 if faces else 0, best=1, unit="faces", advice=advice)
        return sample_quality((one, *unjudged(*NEEDS_EYES, *NEEDS_FACE, *NEVER_JUDGED)))
    face = faces[0]
    one = measure("one face", 1, worst=0, best=1, unit="faces", advice=NO_FACE)
    if face.eyes is None:
        eyes = measure("eyes seen", 0, worst=0, best=2, unit="eyes", advice=EYES)
        return sample_quality((one, eyes, *unjudged(*NEEDS_EYES, *NEEDS_FACE, *NEVER_JUDGED)))
    return sample_quality(
        (
            one,
            measure("eyes seen", 2, worst=0, best=2, unit="eyes", advice=EYES),
            *_placement(face, face.eyes, grey.shape),
            *_light(grey, face),
            _sharpness(grey, face),
            _background(grey, face),
            *unjudged(*NEVER_JUDGED),
        )
    )


def _placement(
    face: Face, eyes: tuple[tuple[float, float], tuple[float, float]], shape: tuple[int, ...]
) -> tuple[Measure, ...]:
    """Where the head is: ICAO 9303 asks for 90 px between the eyes and the face in the middle, upright."""
    height, width = shape[:2]
    (left_x, left_y), (right_x, right_y) = eyes
    distance = face.eye_distance_px
    roll = abs(math.degrees(math.atan2(right_y - left_y, right_x - left_x)))
    middle_x, middle_y = (left_x + right_x) / 2, (left_y + right_y) / 2
    side = min(middle_x, width - middle_x) / distance
    return (
        measure("eye distance", distance, worst=60, best=120, unit="px", advice=NEARER),
        measure("roll", roll, worst=16, best=0, unit="°", advice=UPRIGHT),
        measure("centring", abs(middle_x / width - 0.5) * 100, worst=24, best=0, unit="% of width", advice=MIDDLE),
        measure(
            "height", abs(middle_y / height - 0.42) * 100, worst=36, best=0, unit="% of height", advice=SEAT_HEIGHT
        ),
        measure("margins", side, worst=0.6, best=1.4, unit="eye distances", advice=FURTHER),
    )


def _light(grey: Pixels, face: Face) -> tuple[Measure, ...]:
    """Exposure of the inner face, and how alike its halves are lit (29794-5: histogram intersection)."""
    skin = _inner_face(grey, face)
    mean = float(skin.mean()) / 255
    half = skin.shape[1] // 2
    left, right = (_histogram(part) for part in (skin[:, :half], skin[:, -half:]))
    alike = 100 * float(np.minimum(left, right).sum()) ** 0.3
    dark = mean < 0.5
    brightness = measure(
        "brightness", mean, worst=0.1 if dark else 0.95, best=0.35 if dark else 0.65, unit="of full scale",
        advice=MORE_LIGHT if dark else LESS_LIGHT,
    )  # fmt: skip
    over = 100 * float((skin >= WHITE_LEVEL).mean())
    under = 100 * float((skin <= BLACK_LEVEL).mean())
    return (
        brightness,
        measure("over-exposure", over, worst=20, best=0, unit="% of face", advice=LESS_LIGHT),
        measure("under-exposure", under, worst=30, best=0, unit="% of face", advice=MORE_LIGHT),
        measure("evenness", alike, worst=45, best=85, unit="of 100", advice=EVEN_LIGHT),
    )


def _sharpness(grey: Pixels, face: Face) -> Measure:
    """Spread of the Laplacian over the face at a fixed eye distance, in levels."""
    scale = min(1.0, SHARPNESS_EYE_DISTANCE_PX / face.eye_distance_px)
    skin = _scaled(_inner_face(grey, face), scale)
    spread = float(cv2.Laplacian(skin, cv2.CV_32F).std())
    return measure("sharpness", spread, worst=2, best=10, unit="levels", advice=STILL)


def _background(grey: Pixels, face: Face) -> Measure:
    """Mean gradient left and right of the head, above the shoulders (29794-5: background uniformity)."""
    reach = face.size * 0.72
    middle = face.x + face.size / 2
    bottom = max(8, round(face.y + face.size * 0.7))
    left, right = max(0, round(middle - reach)), min(grey.shape[1], round(middle + reach))
    parts = [part for part in (grey[:bottom, :left], grey[:bottom, right:]) if part.shape[1] >= 8]
    if not parts:
        return unjudged("background")[0]
    gradients = [
        np.hypot(cv2.Sobel(part, cv2.CV_32F, 1, 0, scale=0.25), cv2.Sobel(part, cv2.CV_32F, 0, 1, scale=0.25)).ravel()
        for part in (cv2.GaussianBlur(part, (5, 5), 0) for part in parts)
    ]
    return measure(
        "background", float(np.concatenate(gradients).mean()), worst=16, best=0, unit="levels/px", advice=PLAIN
    )


def _inner_face(grey: Pixels, face: Face) -> Pixels:
    """The part of the face box that is skin on every head, symmetric about the middle between the eyes."""
    middle = (face.eyes[0][0] + face.eyes[1][0]) / 2 if face.eyes else face.x + face.size / 2
    left, right = max(0, round(middle - 0.28 * face.size)), min(grey.shape[1], round(middle + 0.28 * face.size))
    top, bottom = max(0, round(face.y + 0.18 * face.size)), min(grey.shape[0], round(face.y + 0.85 * face.size))
    return grey[top:bottom, left:right]


def _histogram(part: Pixels) -> NDArray[np.float64]:
    """Share of pixels in 32 classes of grey, smoothed over neighbours so that noise does not part equal halves."""
    counts = np.bincount(part.ravel() >> 3, minlength=32).astype(np.float64)
    smooth = np.convolve(counts, [0.25, 0.5, 0.25], mode="same")
    return np.asarray(smooth / max(1.0, float(smooth.sum())), dtype=np.float64)


def _grey(pixels: Pixels) -> Pixels:
    """RGB (H, W, 3) or grey (H, W) as grey."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8) if pixels.ndim == 3 else pixels


def _scaled(grey: Pixels, scale: float) -> Pixels:
    """The picture made smaller by area; as it is where scale is 1 or more."""
    if scale >= 1:
        return grey
    return np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.uint8)
