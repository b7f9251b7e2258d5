"""Quality of a portrait, by what cascades and classical measures can honestly judge (ISO/IEC 29794-5, ICAO 9303-3).

Judged: one face, eyes and pupils, eye distance, roll, size, centring, margins, crop, exposure, dynamic range (entropy),
evenness of light, sharpness, background, colour, natural colour, compression. Yaw, pitch, expression, gaze, mouth,
covering, glare and red eyes need more than that and are reported as not judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.errors import RemoteError
from contract.sample_quality import Measure, SampleQuality, measure, sample_quality, unjudged
from edge.matcher_lite import portrait_advice as say
from edge.matcher_lite.finger_input import as_bytes
from edge.matcher_lite.portrait_crop import Window, card_window
from edge.matcher_lite.portrait_face import Face, Grey, find_faces, scaled

Pixels = NDArray[np.uint8]

PICTURE_PIXELS_MAX = 25_000_000
SHARPNESS_EYE_DISTANCE_PX = 60
WHITE_LEVEL, BLACK_LEVEL = 247, 25
DARK_PICTURE_LEVEL = 48
BLOCK_PX = 8
BLOCKS_MIN = 10
NATURAL_A, NATURAL_B = (5.0, 25.0), (5.0, 35.0)  # CIELAB of skin (29794-5, natural colour)
NEVER_JUDGED = ("yaw", "pitch", "expression", "mouth", "gaze", "covering", "glare", "red eyes")
NEEDS_EYES = ("pupils", "eye distance", "roll", "size", "centring", "height", "margins", "crop")
NEEDS_FACE = (
    "brightness", "over-exposure", "under-exposure", "dynamic range", "evenness", "sharpness", "background",
    "colour", "natural colour", "compression",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PortraitReport:
    """What was found in a portrait. face: the only one, else None; window: where it is cropped for the card."""

    quality: SampleQuality
    faces: tuple[Face, ...]
    window: Window

    @property
    def face(self) -> Face | None:
        """The face that was judged."""
        return self.faces[0] if len(self.faces) == 1 else None


def judge_portrait(pixels: NDArray[Any]) -> SampleQuality:
    """Judgement of a portrait as the camera gave it: RGB (H, W, 3), or what `as_picture` takes. Raises RemoteError."""
    return examine_portrait(pixels).quality


def examine_portrait(pixels: NDArray[Any]) -> PortraitReport:
    """The judgement with the faces and the crop it rests on. Raises RemoteError for an array that is no picture."""
    picture = as_picture(pixels)
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    faces = find_faces(grey)
    window = card_window(faces[0] if faces else None, grey.shape)
    return PortraitReport(sample_quality(_measures(picture, grey, faces, window)), faces, window)


def as_picture(image: NDArray[Any]) -> Pixels:
    """8-bit RGB of an array that is grey, grey + alpha, RGB or RGBA of any common sample type. Raises RemoteError."""
    pixels = np.asarray(image)
    if pixels.ndim not in {2, 3} or pixels.size == 0 or (pixels.ndim == 3 and pixels.shape[2] > 4):
        raise RemoteError(f"An array of shape {pixels.shape} is no picture.", next_step="Give height × width × RGB.")
    if pixels.shape[0] * pixels.shape[1] > PICTURE_PIXELS_MAX:
        raise RemoteError(
            f"The picture has {pixels.shape[1]} × {pixels.shape[0]} pixels; up to {PICTURE_PIXELS_MAX} are accepted.",
            next_step="Set the camera to a smaller resolution: 2 megapixels are enough.",
        )
    levels = as_bytes(pixels)
    if levels.ndim == 2 or levels.shape[2] <= 2:
        flat = levels if levels.ndim == 2 else levels[:, :, 0]
        return np.ascontiguousarray(np.repeat(flat[:, :, None], 3, axis=2))
    return np.ascontiguousarray(levels[:, :, :3])


def _measures(picture: Pixels, grey: Grey, faces: tuple[Face, ...], window: Window) -> tuple[Measure, ...]:
    if len(faces) != 1:
        dark = float(grey.mean()) < DARK_PICTURE_LEVEL
        advice = say.MORE_FACES if faces else say.MORE_LIGHT if dark else say.NO_FACE
        one = measure("one face", len(faces), worst=2 if faces else 0, best=1, unit="faces", advice=advice)
        return (one, *unjudged("eyes seen", *NEEDS_EYES, *NEEDS_FACE, *NEVER_JUDGED))
    face = faces[0]
    one = measure("one face", 1, worst=0, best=1, unit="faces", advice=say.NO_FACE)
    eyes = measure("eyes seen", 2 if face.eyes else 0, worst=0, best=2, unit="eyes", advice=say.EYES)
    if face.eyes is None:
        return (one, eyes, *unjudged(*NEEDS_EYES, *NEEDS_FACE, *NEVER_JUDGED))
    return (
        one,
        eyes,
        *_placement(face, grey.shape, window),
        *_light(grey, face),
        _sharpness(grey, face),
        _background(grey, face),
        *_colour(picture, face),
        _compression(grey, face),
        *unjudged(*NEVER_JUDGED),
    )


def _placement(face: Face, shape: tuple[int, ...], window: Window) -> tuple[Measure, ...]:
    """Where the head is: ICAO 9303 asks for 90 px between the eyes and the face in the middle, upright."""
    height, width = shape[:2]
    distance = face.eye_distance_px
    x, y = face.eye_middle
    side = min(x, width - x) / max(distance, 1.0)
    share = 100 * face.size / height
    far = share < 45
    return (
        measure("pupils", 100 * min(face.pupils), worst=25, best=65, unit="% agreement", advice=say.EYES),
        measure("eye distance", distance, worst=60, best=120, unit="px", advice=say.NEARER),
        measure("roll", abs(face.roll_degrees), worst=16, best=0, unit="°", advice=say.UPRIGHT),
        measure(
            "size", share, worst=10 if far else 100, best=36 if far else 60, unit="% of height",
            advice=say.NEARER if far else say.FURTHER,
        ),
        measure("centring", abs(x / width - 0.5) * 100, worst=24, best=0, unit="% of width", advice=say.MIDDLE),
        measure("height", abs(y / height - 0.42) * 100, worst=36, best=0, unit="% of height", advice=say.SEAT_HEIGHT),
        measure("margins", side, worst=0.6, best=1.4, unit="eye distances", advice=say.FURTHER),
        measure("crop", 100 * window.inside, worst=88, best=100, unit="% in picture", advice=say.CUT_OFF),
    )  # fmt: skip


def _light(grey: Grey, face: Face) -> tuple[Measure, ...]:
    """Exposure of the inner face, its entropy, and how alike its halves are lit (29794-5: histogram intersection)."""
    skin = _inner_face(grey, face)
    mean = float(skin.mean()) / 255
    half = skin.shape[1] // 2
    left, right = (_histogram(part) for part in (skin[:, :half], skin[:, -half:]))
    alike = 100 * float(np.minimum(left, right).sum()) ** 0.3
    dark = mean < 0.5
    flat = say.MORE_LIGHT if mean < 0.25 else say.LESS_LIGHT if mean > 0.8 else say.FLAT_LIGHT
    over = 100 * float((skin >= WHITE_LEVEL).mean())
    under = 100 * float((skin <= BLACK_LEVEL).mean())
    return (
        measure(
            "brightness", mean, worst=0.1 if dark else 0.95, best=0.35 if dark else 0.65, unit="of full scale",
            advice=say.MORE_LIGHT if dark else say.LESS_LIGHT,
        ),
        measure("over-exposure", over, worst=20, best=0, unit="% of face", advice=say.LESS_LIGHT),
        measure("under-exposure", under, worst=30, best=0, unit="% of face", advice=say.MORE_LIGHT),
        measure("dynamic range", _entropy_bits(skin), worst=3.5, best=6.5, unit="bits", advice=flat),
        measure("evenness", alike, worst=45, best=85, unit="of 100", advice=say.EVEN_LIGHT),
    )  # fmt: skip


def _entropy_bits(skin: Grey) -> float:
    """Entropy of the grey levels (29794-5: dynamic range is 12.5 times this)."""
    share = np.bincount(skin.ravel(), minlength=256) / max(1, skin.size)
    seen = share[share > 0]
    return float(-(seen * np.log2(seen)).sum())


def _sharpness(grey: Grey, face: Face) -> Measure:
    """Spread of the Laplacian over the face at a fixed eye distance, in levels."""
    scale = min(1.0, SHARPNESS_EYE_DISTANCE_PX / max(face.eye_distance_px, 1.0))
    spread = float(cv2.Laplacian(scaled(_inner_face(grey, face), scale), cv2.CV_32F).std())
    return measure("sharpness", spread, worst=2, best=10, unit="levels", advice=say.STILL)


def _background(grey: Grey, face: Face) -> Measure:
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
    steep = float(np.concatenate(gradients).mean())
    return measure("background", steep, worst=16, best=0, unit="levels/px", advice=say.PLAIN)


def _colour(picture: Pixels, face: Face) -> tuple[Measure, Measure]:
    """Whether there is colour, and whether the skin's lies where skin lies in CIELAB (29794-5: natural colour)."""
    skin = np.ascontiguousarray(_inner_face(picture, face))
    lab = cv2.cvtColor(skin, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    a, b = (float(np.median(lab[:, axis])) - 128.0 for axis in (1, 2))
    chroma = float(np.hypot(lab[:, 1].astype(np.float32) - 128.0, lab[:, 2].astype(np.float32) - 128.0).mean())
    colour = measure("colour", chroma, worst=0, best=6, unit="chroma", advice=say.NO_COLOUR)
    off = [max(0.0, low - value, value - high) for value, (low, high) in ((a, NATURAL_A), (b, NATURAL_B))]
    natural = measure(
        "natural colour", math.hypot(*off), worst=22, best=0, unit="ΔE from skin", advice=say.WHITE_BALANCE
    )
    return colour, natural


def _compression(grey: Grey, face: Face) -> Measure:
    """Steps on a grid of 8 px against steps elsewhere, across and down: what JPEG leaves in a picture of its own size.

    A picture that was scaled after compression, or compressed by wavelets, has no such grid and counts as clean.
    """
    top, left = max(0, round(face.y)), max(0, round(face.x))
    part = grey[top : round(face.y + face.size), left : round(face.x + face.size)].astype(np.int16)
    if min(part.shape) < BLOCK_PX * BLOCKS_MIN:
        return unjudged("compression")[0]
    ratios = []
    for axis in (0, 1):
        steps = np.abs(np.diff(part, axis=axis)).mean(axis=1 - axis)
        by_phase = steps[: len(steps) // BLOCK_PX * BLOCK_PX].reshape(-1, BLOCK_PX).mean(axis=0)
        ratios.append(float(by_phase.max() * (BLOCK_PX - 1) / max(0.2, by_phase.sum() - by_phase.max())))
    return measure("compression", min(ratios), worst=3.0, best=1.0, unit="× at 8 px", advice=say.LESS_COMPRESSION)


def _inner_face(pixels: Pixels, face: Face) -> Pixels:
    """The part of the face box that is skin on every head, symmetric about the middle between the eyes."""
    middle = face.eye_middle[0]
    left, right = max(0, round(middle - 0.28 * face.size)), min(pixels.shape[1], round(middle + 0.28 * face.size))
    top, bottom = max(0, round(face.y + 0.18 * face.size)), min(pixels.shape[0], round(face.y + 0.85 * face.size))
    return pixels[top:bottom, left:right]


def _histogram(part: Grey) -> NDArray[np.float64]:
    """Share of pixels in 32 classes of grey, smoothed over neighbours so that noise does not part equal halves."""
    counts = np.bincount(part.ravel() >> 3, minlength=32).astype(np.float64)
    smooth = np.convolve(counts, [0.25, 0.5, 0.25], mode="same")
    return np.asarray(smooth / max(1.0, float(smooth.sum())), dtype=np.float64)
