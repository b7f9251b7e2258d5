"""Captures gone wrong in one known way each, so that quality can be learnt and advice be tried.

What concerns the touch (moisture, pressure, area, sliding) is drawn as a touch and rendered from the skin; what
concerns the exposure, the sensor or the glass (motion, noise, another finger's grease) is laid over the picture.
Severity runs from 0, an ordinary touch, to 1; the same numbers give the same picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.sample import FingerPosition
from virtual.finger_impression import Touch
from virtual.finger_pattern import smooth_noise
from virtual.finger_presets import EVERYDAY, CapturePreset
from virtual.people import FINGER_SIZE_PX, INDEX_MAX, Person, person

Picture = NDArray[np.uint8]
FloatImage = NDArray[np.float32]
_STREAM: Final = 77


class Degradation(StrEnum):
    """What went wrong."""

    NONE = "none"
    DRY = "dry"
    WET = "wet"
    PARTIAL = "partial"
    SMEARED = "smeared"
    MOVED = "moved"
    NOISY = "noisy"
    LATENT = "latent"


def degraded(
    owner: Person,
    position: FingerPosition,
    impression: int,
    kind: Degradation,
    severity: float,
    *,
    size: tuple[int, int] = FINGER_SIZE_PX,
    preset: CapturePreset = EVERYDAY,
) -> Picture:
    """One impression, spoilt: (height, width) = `size`, 500 ppi. severity: 0..1."""
    rng = np.random.default_rng([owner.seed, owner.index, int(position), impression, _STREAM])
    spoil = _TOUCHES.get(kind)
    alter = None if spoil is None else lambda touch: spoil(rng, touch, severity)
    image = owner.finger(position, impression, size=size, preset=preset, alter=alter)
    if kind is Degradation.MOVED:
        return _moved(rng, image, severity)
    if kind is Degradation.NOISY:
        return _noisy(rng, image, severity)
    if kind is Degradation.LATENT:
        other = person(owner.seed, (owner.index - 1) % (INDEX_MAX + 1)).finger(position, impression, size=size)
        return _over_latent(rng, image, other, severity)
    return image


def _dry(rng: np.random.Generator, touch: Touch, severity: float) -> Touch:
    """Skin without sweat, pressed lightly: ridges become rows of dots."""
    moisture = touch.moisture + severity * (-1.9 - touch.moisture - float(rng.uniform(0.0, 0.9)))
    return replace(touch, moisture=moisture, pressure=touch.pressure - severity * (0.75 + touch.pressure))


def _wet(rng: np.random.Generator, touch: Touch, severity: float) -> Touch:
    """Sweat or water in the valleys, pressed hard: ridges run together."""
    moisture = touch.moisture + severity * (2.2 - touch.moisture + float(rng.uniform(0.0, 1.0)))
    return replace(touch, moisture=moisture, pressure=touch.pressure + severity * (1.2 - touch.pressure))


def _partial(rng: np.random.Generator, touch: Touch, severity: float) -> Touch:
    """Only the tip or a side lies on the glass."""
    share = 1.0 - severity * float(rng.uniform(0.45, 0.62))
    angle = float(rng.uniform(0, 2 * np.pi))
    half_x, half_y = touch.half_axes
    place = (
        touch.skin[0] + 0.8 * (1 - share) * float(np.cos(angle)) * half_x,
        touch.skin[1] + 0.8 * (1 - share) * float(np.sin(angle)) * half_y,
    )
    return replace(touch, skin=place, half_axes=(half_x * share, half_y * share))


def _smeared(rng: np.random.Generator, touch: Touch, severity: float) -> Touch:
    """The finger slid while it lay on the glass."""
    return replace(touch, smear_px=touch.smear_px + severity * float(rng.uniform(12.0, 26.0)))


_TOUCHES: Final[dict[Degradation, Callable[[np.random.Generator, Touch, float], Touch]]] = {
    Degradation.DRY: _dry,
    Degradation.WET: _wet,
    Degradation.PARTIAL: _partial,
    Degradation.SMEARED: _smeared,
}


def _moved(rng: np.random.Generator, image: Picture, severity: float) -> Picture:
    """The finger moved during the exposure: a straight blur, or two positions over each other."""
    reach = severity * float(rng.uniform(9.0, 20.0))
    angle = float(rng.uniform(0, np.pi))
    steps = [-reach / 2, reach / 2] if rng.random() < 0.3 else np.linspace(-reach / 2, reach / 2, 15)
    height, width = image.shape
    total = np.zeros((height, width), np.float32)
    for step in steps:
        shift = np.array([[1, 0, step * np.cos(angle)], [0, 1, step * np.sin(angle)]], np.float64)
        total += cv2.warpAffine(image, shift, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.clip(np.rint(total / len(steps)), 0, 255), np.uint8)


def _noisy(rng: np.random.Generator, image: Picture, severity: float) -> Picture:
    """A dirty or failing sensor: strong grain of one to two pixels, and specks."""
    height, width = image.shape
    grain = rng.standard_normal((height, width), dtype=np.float32)
    if rng.random() < 0.5:
        grain = cv2.GaussianBlur(grain, (0, 0), 0.8) * np.float32(2.8)
    spoilt = image.astype(np.float32) + severity * float(rng.uniform(45.0, 110.0)) * grain
    specks = rng.random((height, width), dtype=np.float32) < 0.06 * severity
    spoilt[specks] = rng.uniform(0, 255, int(specks.sum()))
    return np.asarray(np.clip(np.rint(spoilt), 0, 255), np.uint8)


def _over_latent(rng: np.random.Generator, image: Picture, other: Picture, severity: float) -> Picture:
    """Another finger's print left on the glass: its ridges show through, wiped here and there."""
    height, width = image.shape
    turn = np.array(cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.normal(0, 14.0)), 1.0), np.float64)
    turn[:, 2] += rng.uniform(-40.0, 40.0, 2)
    earlier = cv2.warpAffine(other, turn, (width, height), borderValue=(250.0,)).astype(np.float32)
    film: FloatImage = np.clip(0.75 + 0.5 * smooth_noise(rng, height, width, 90.0, height, width), 0.0, 1.0)
    weight = severity * float(rng.uniform(0.55, 1.05)) * film
    ink = cv2.GaussianBlur(np.float32(250.0) - earlier, (0, 0), 0.9)
    return np.asarray(np.clip(np.rint(image - weight * np.maximum(ink, 0.0)), 0, 255), np.uint8)
