"""Grows the skin of a synthetic finger: ridges, valleys, pores and creases of one finger of one person.

Ridges grow from seeded noise: each point is replaced again and again by the answer of a Gabor filter turned along
the local ridge direction and tuned to the local ridge period, then squeezed into ±1. Lines form, meet and stop
where neighbouring patches disagree, and these places are the minutiae: nobody places them. Growth runs at half
resolution (a ridge is still 4–5 pixels wide there) and is enlarged once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from virtual.finger_pattern import (
    MASTER_HEIGHT_PX,
    MASTER_WIDTH_PX,
    FingerPattern,
    ridge_direction,
    ridge_period,
)

GROWTH_STEP_PX: Final = 2
GROWTH_PASSES: Final = 18
_DIRECTIONS: Final = 48
_RADIUS: Final = 6
_PERIODS_PX: Final = np.arange(2.9, 7.3, 0.2, dtype=np.float32)
_ALONG: Final = 0.55
_ACROSS: Final = 0.42


@dataclass(frozen=True, slots=True, eq=False)
class Master:
    """The skin of one finger, flat and undistorted, at 500 ppi.

    relief: (600, 460) float32, about −1 in a valley to +1 on a ridge, creases already cut in.
    pores: (600, 460) float32, 0 to 1 at open pores. pattern: its flow.
    """

    pattern: FingerPattern
    relief: NDArray[np.float32]
    pores: NDArray[np.float32]


def _filter_bank() -> NDArray[np.float32]:
    """Gabor filters (direction, period, 13, 13) of zero mean, with gain 1 for a ridge wave of their own."""
    span = np.arange(-_RADIUS, _RADIUS + 1, dtype=np.float32)
    y, x = np.meshgrid(-span, span, indexing="ij")
    bank = np.empty((_DIRECTIONS, len(_PERIODS_PX), span.size, span.size), np.float32)
    for d in range(_DIRECTIONS):
        angle = np.pi * d / _DIRECTIONS
        along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
        for p, period in enumerate(_PERIODS_PX):
            window = np.exp(-0.5 * ((along / (_ALONG * period)) ** 2 + (across / (_ACROSS * period)) ** 2))
            wave = np.cos(2 * np.pi * across / period)
            kernel = window * (wave - (window * wave).sum() / window.sum())
            bank[d, p] = kernel / (kernel * wave).sum()
    return bank


@njit(cache=True)
def _grow(
    start: NDArray[np.float32],
    bank: NDArray[np.float32],
    direction: NDArray[np.int64],
    period: NDArray[np.int64],
    passes: int,
    gain: float,
) -> NDArray[np.float32]:
    """Filter `start` (padded by the filters' radius) `passes` times, squeezed by tanh between passes; padded too."""
    height, width = direction.shape
    taps = bank.shape[2]
    radius = taps // 2
    now = start.copy()
    after = np.zeros_like(now)
    for turn in range(passes):
        last = turn == passes - 1
        for row in range(height):
            for column in range(width):
                kernel = bank[direction[row, column], period[row, column]]
                total = np.float32(0.0)
                for i in range(taps):
                    for j in range(taps):
                        total += kernel[i, j] * now[row + i, column + j]
                after[row + radius, column + radius] = total if last else np.tanh(np.float32(gain) * total)
        now, after = after, now
    return now


_BANK: Final = _filter_bank()


def grow_relief(pattern: FingerPattern, rng: np.random.Generator) -> NDArray[np.float32]:
    """Ridges of the whole master (600, 460), about ±1, before creases."""
    theta = ridge_direction(pattern, GROWTH_STEP_PX)
    period = ridge_period(pattern, GROWTH_STEP_PX) / GROWTH_STEP_PX
    direction = np.rint(theta / np.pi * _DIRECTIONS).astype(np.int64) % _DIRECTIONS
    level = np.clip(np.rint((period - _PERIODS_PX[0]) / 0.2), 0, len(_PERIODS_PX) - 1).astype(np.int64)
    height, width = theta.shape
    start = rng.standard_normal((height + 2 * _RADIUS, width + 2 * _RADIUS), dtype=np.float32)
    grown = _grow(start, _BANK, direction, level, GROWTH_PASSES, 2.2)
    inner = grown[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
    relief = cv2.resize(inner, (MASTER_WIDTH_PX, MASTER_HEIGHT_PX), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(relief / np.float32(0.9), -1.2, 1.2), dtype=np.float32)


def _lay_pores(relief: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Pores (600, 460): about one every ridge period along the ridges, each of its own size."""
    pitch = 8
    rows, columns = MASTER_HEIGHT_PX // pitch - 1, MASTER_WIDTH_PX // pitch - 1
    grid_y, grid_x = np.mgrid[0:rows, 0:columns]
    y = np.clip(grid_y * pitch + rng.integers(0, pitch, grid_y.shape), 2, MASTER_HEIGHT_PX - 3).ravel()
    x = np.clip(grid_x * pitch + rng.integers(0, pitch, grid_x.shape), 2, MASTER_WIDTH_PX - 3).ravel()
    for _ in range(4):  # climb to the ridge's middle
        best = relief[y, x]
        step_y, step_x = np.zeros_like(y), np.zeros_like(x)
        for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            value = relief[y + dy, x + dx]
            better = value > best
            best = np.where(better, value, best)
            step_y, step_x = np.where(better, dy, step_y), np.where(better, dx, step_x)
        y = np.clip(y + step_y, 2, MASTER_HEIGHT_PX - 3)
        x = np.clip(x + step_x, 2, MASTER_WIDTH_PX - 3)
    open_pore = (relief[y, x] > 0.6) & (rng.random(y.size) < 0.8)
    dots = np.zeros(relief.shape, np.float32)
    np.maximum.at(dots, (y[open_pore], x[open_pore]), rng.uniform(0.4, 1.0, int(open_pore.sum())).astype(np.float32))
    return np.asarray(np.clip(cv2.GaussianBlur(dots, (0, 0), 0.95) * 5.0, 0.0, 1.0), dtype=np.float32)


def _cut_creases(relief: NDArray[np.float32], rng: np.random.Generator, count: int) -> None:
    """Cut `count` thin creases into the relief, in place; they are the finger's own and show in every impression."""
    cut = np.zeros(relief.shape, np.float32)
    for _ in range(count):
        x, y = rng.uniform(60, MASTER_WIDTH_PX - 60), rng.uniform(90, MASTER_HEIGHT_PX - 120)
        angle = rng.normal(0.0, 0.6) + (np.pi / 2 if rng.random() < 0.25 else 0.0)
        length, bow = rng.uniform(25, 110), rng.normal(0, 0.05)
        t = np.linspace(-0.5, 0.5, 9)
        px = x + length * t * np.cos(angle) - bow * length * (1 - 4 * t * t) * np.sin(angle)
        py = y + length * t * np.sin(angle) + bow * length * (1 - 4 * t * t) * np.cos(angle)
        points = np.stack([px, py], axis=1).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(cut, [points], False, float(rng.uniform(0.8, 2.2)), 1 + int(rng.random() < 0.3), cv2.LINE_AA)
    relief -= cv2.GaussianBlur(cut, (0, 0), 0.8)


def grow_master(pattern: FingerPattern, rng: np.random.Generator, *, creases: int) -> Master:
    """The skin of one finger; `creases` grows with age."""
    relief = grow_relief(pattern, rng)
    pores = _lay_pores(relief, rng)
    _cut_creases(relief, rng, creases)
    relief.setflags(write=False)
    pores.setflags(write=False)
    return Master(pattern, relief, pores)
