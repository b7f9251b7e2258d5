"""Where the ridges of a synthetic finger run: pattern class, singular points, ridge directions and ridge periods.

Directions follow the zero-pole model of Sherlock and Monro (1993): half the sum of the angles seen from the cores
less half the sum seen from the deltas, each angle bent by a periodic function of itself, as Vizcaya and Gerhardt
(1996) proposed, so that two fingers of one class differ. To that come a dome, since ridges near the tip follow its
outline, and a smooth seeded disturbance. Shares of the classes by finger follow published tables of pattern
frequencies (loops of the little finger side in most fingers; whorls often on thumb and ring finger; arches and
thumb-side loops mostly on the index).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.sample import FingerPosition

MASTER_PPI: Final = 500
MASTER_HEIGHT_PX: Final = 600
MASTER_WIDTH_PX: Final = 460
MASTER_CENTRE_PX: Final = (230.0, 270.0)
"""(x, y) on the master about which cores are laid and contact areas are centred."""


class PatternClass(StrEnum):
    """Pattern classes in the Henry system's words; loops are named by the side on which they open in the print."""

    ARCH = "arch"
    TENTED_ARCH = "tented arch"
    LEFT_LOOP = "left loop"
    RIGHT_LOOP = "right loop"
    WHORL = "whorl"
    DOUBLE_LOOP = "double loop"


# Weights in percent: arch, tented arch, loop to the little finger's side, loop to the thumb's side, whorl, double loop
_SHARES: Final[dict[int, tuple[float, ...]]] = {
    0: (2.0, 1.0, 52.0, 0.5, 33.0, 11.5),  # thumb
    1: (6.0, 8.0, 34.0, 17.0, 29.0, 6.0),  # index
    2: (5.0, 3.0, 72.0, 2.5, 14.0, 3.5),  # middle
    3: (1.5, 1.0, 51.0, 1.0, 42.0, 3.5),  # ring
    4: (1.0, 1.0, 81.0, 0.5, 14.0, 2.5),  # little
}


@dataclass(frozen=True, slots=True)
class SingularPoint:
    """A core or a delta on the master.

    x, y: pixels at MASTER_PPI, y downwards. bend: amplitudes of sin 2a, cos 2a, sin 3a added to the angle a.
    axis_rad, fold: towards where a core's ridges return, and how much they are folded: 0 for a parabola's spreading
    legs, 0.5 for nearly parallel ones. A delta's fold is 0.
    """

    x: float
    y: float
    bend: tuple[float, float, float]
    axis_rad: float = 0.0
    fold: float = 0.0


@dataclass(frozen=True, slots=True)
class FingerPattern:
    """All that decides the flow of one finger's ridges.

    dome_rad: how strongly ridges near the tip follow its outline. arch_steepness: slope of an arch's flank.
    period_px: mean distance between ridges. drift_seed: seed of the smooth disturbances of direction and period.
    """

    pattern: PatternClass
    cores: tuple[SingularPoint, ...]
    deltas: tuple[SingularPoint, ...]
    dome_rad: float
    arch_steepness: float
    arch_peak_y: float
    period_px: float
    drift_seed: int


def draw_class(rng: np.random.Generator, position: FingerPosition) -> PatternClass:
    """A pattern class for a finger, by the shares of its position."""
    weights = np.array(_SHARES[(int(position) - 1) % 5])
    choice = int(rng.choice(6, p=weights / weights.sum()))
    right_hand = int(position) <= 5
    little_side, thumb_side = (
        (PatternClass.RIGHT_LOOP, PatternClass.LEFT_LOOP)
        if right_hand
        else (PatternClass.LEFT_LOOP, PatternClass.RIGHT_LOOP)
    )
    return (
        PatternClass.ARCH,
        PatternClass.TENTED_ARCH,
        little_side,
        thumb_side,
        PatternClass.WHORL,
        PatternClass.DOUBLE_LOOP,
    )[choice]


def _point(rng: np.random.Generator, x: float, y: float, spread_px: float) -> SingularPoint:
    dx, dy = rng.normal(0.0, spread_px, 2)
    bend = rng.normal(0.0, 0.13, 3)
    return SingularPoint(
        MASTER_CENTRE_PX[0] + x + float(dx),
        MASTER_CENTRE_PX[1] + y + float(dy),
        (float(bend[0]), float(bend[1]), float(bend[2])),
    )


def _lay_points(
    rng: np.random.Generator, pattern: PatternClass
) -> tuple[tuple[SingularPoint, ...], tuple[SingularPoint, ...]]:
    """Cores and deltas of a class, relative to the master's centre, in pixels at 500 ppi."""
    side = 1.0 if pattern is PatternClass.LEFT_LOOP else -1.0
    if pattern is PatternClass.ARCH:
        return (), ()
    if pattern is PatternClass.TENTED_ARCH:
        drop = float(rng.uniform(55.0, 110.0))
        return (_point(rng, 0.0, 10.0, 8.0),), (_point(rng, side * 6.0, 10.0 + drop, 8.0),)
    if pattern in (PatternClass.LEFT_LOOP, PatternClass.RIGHT_LOOP):
        across, drop = float(rng.uniform(50.0, 125.0)), float(rng.uniform(95.0, 175.0))
        return (_point(rng, -side * 8.0, 0.0, 12.0),), (_point(rng, side * across, drop, 10.0),)
    gap = float(rng.uniform(14.0, 55.0)) if pattern is PatternClass.WHORL else float(rng.uniform(55.0, 95.0))
    lean = float(rng.normal(0.0, 0.25 if pattern is PatternClass.WHORL else 0.75)) * gap
    cores = (_point(rng, -lean / 2, -gap / 2, 4.0), _point(rng, lean / 2, gap / 2, 4.0))
    left, right = rng.uniform(100.0, 170.0, 2)
    drop = float(rng.uniform(85.0, 150.0))
    return cores, (_point(rng, -float(left), drop, 14.0), _point(rng, float(right), drop, 14.0))


def _fold_cores(
    rng: np.random.Generator, cores: tuple[SingularPoint, ...], deltas: tuple[SingularPoint, ...]
) -> tuple[SingularPoint, ...]:
    """The cores with their ridges folded along the axis that the other points give them."""
    folded = []
    for core in cores:
        others = [(point, 1.0) for point in deltas] + [(point, -1.0) for point in cores if point is not core]
        axis = -sum(sign * np.arctan2(point.y - core.y, core.x - point.x) for point, sign in others)
        folded.append(replace(core, axis_rad=float(axis), fold=float(rng.uniform(0.25, 0.55))))
    return tuple(folded)


def draw_pattern(rng: np.random.Generator, position: FingerPosition, *, mean_period_px: float) -> FingerPattern:
    """The pattern of one finger of a person whose ridges are `mean_period_px` apart (500 ppi)."""
    pattern = draw_class(rng, position)
    cores, deltas = _lay_points(rng, pattern)
    cores = _fold_cores(rng, cores, deltas)
    width = (1.05, 1.0, 1.0, 0.98, 0.93)[(int(position) - 1) % 5]
    return FingerPattern(
        pattern=pattern,
        cores=cores,
        deltas=deltas,
        dome_rad=float(rng.uniform(0.45, 0.95)),
        arch_steepness=float(rng.uniform(0.7, 1.5)),
        arch_peak_y=MASTER_CENTRE_PX[1] + float(rng.uniform(-10.0, 50.0)),
        period_px=float(np.clip(mean_period_px * width * rng.normal(1.0, 0.03), 7.4, 11.5)),
        drift_seed=int(rng.integers(1 << 62)),
    )


def smooth_noise(
    rng: np.random.Generator, height: int, width: int, scale_px: float, height_px: float, width_px: float
) -> NDArray[np.float32]:
    """A smooth random field (height, width), mean about 0, standard deviation about 1.

    scale_px: distance over which it changes, in the pixels in which the field spans height_px × width_px.
    """
    pitch, blur = scale_px / 3.0, 1.4
    rows, columns = int(np.ceil(height_px / pitch)) + 3, int(np.ceil(width_px / pitch)) + 3
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    round_spots = cv2.GaussianBlur(grid, (0, 0), blur) * np.float32(2.0 * blur * np.sqrt(np.pi))
    return np.asarray(cv2.resize(round_spots, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _bent_angle(point: SingularPoint, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    angle = np.arctan2(point.y - y, x - point.x)
    sin2, cos2, sin3 = point.bend
    about = angle - point.axis_rad
    folded = angle - point.fold * (np.sin(about) + 0.35 * np.sin(2 * about))
    bent = folded + sin2 * np.sin(2 * angle) + cos2 * np.cos(2 * angle) + sin3 * np.sin(3 * angle)
    return np.asarray(bent, dtype=np.float32)


def ridge_direction(pattern: FingerPattern, step_px: int) -> NDArray[np.float32]:
    """Ridge directions on a grid of `step_px` over the master: (H/step, W/step) radians, y upwards, modulo pi."""
    height, width = MASTER_HEIGHT_PX // step_px, MASTER_WIDTH_PX // step_px
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) * step_px
    rng = np.random.default_rng(pattern.drift_seed)
    drift = smooth_noise(rng, height, width, 115.0, MASTER_HEIGHT_PX, MASTER_WIDTH_PX)
    across = (x - MASTER_CENTRE_PX[0]) / (MASTER_WIDTH_PX / 2)
    if pattern.pattern is PatternClass.ARCH:
        hump = np.exp(-0.5 * ((y - pattern.arch_peak_y) / 75.0) ** 2)
        tip = 1.0 / (1.0 + np.exp((y - pattern.arch_peak_y) / 45.0))
        flank = np.sin(np.clip(across * 1.35, -1.0, 1.0) * np.pi)
        rise = pattern.arch_steepness * hump * flank * 0.8 + tip * 1.25 * across
        return np.asarray(np.arctan(-rise) + 0.13 * drift, dtype=np.float32)
    theta = np.zeros((height, width), np.float32)
    for core in pattern.cores:
        theta += 0.5 * _bent_angle(core, x, y)
    for delta in pattern.deltas:
        theta -= 0.5 * _bent_angle(delta, x, y)
    top = min(core.y for core in pattern.cores)
    above = 1.0 / (1.0 + np.exp((y - top - 20.0) / 50.0))
    theta -= pattern.dome_rad * np.tanh(across * 1.9) * above
    return np.asarray(theta + 0.13 * drift, dtype=np.float32)


def ridge_period(pattern: FingerPattern, step_px: int) -> NDArray[np.float32]:
    """Distance between ridges on the same grid, in master pixels: closer near the core, wider below the deltas."""
    height, width = MASTER_HEIGHT_PX // step_px, MASTER_WIDTH_PX // step_px
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) * step_px
    rng = np.random.default_rng(pattern.drift_seed + 1)
    drift = smooth_noise(rng, height, width, 95.0, MASTER_HEIGHT_PX, MASTER_WIDTH_PX)
    from_centre = np.hypot(x - MASTER_CENTRE_PX[0], y - MASTER_CENTRE_PX[1])
    core = -0.06 * np.exp(-0.5 * (from_centre / 70.0) ** 2)
    base = 0.13 / (1.0 + np.exp(-(y - MASTER_CENTRE_PX[1] - 150.0) / 30.0))
    return np.asarray(pattern.period_px * np.clip(1.0 + core + base + 0.07 * drift, 0.8, 1.35), dtype=np.float32)
