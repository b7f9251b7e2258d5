"""The sums over a finger's pixels that the quality measures rest on, each in one pass.

Sums are kept in double precision and in one order, so that every machine comes to the same measures.
"""

from __future__ import annotations

from enum import IntEnum, auto
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Mask = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]
Sums = NDArray[np.float64]


@njit(cache=True, nogil=True)
def level_counts(grey: Mask, plane: Plane, finger: Mask) -> Counts:
    """How many of the finger's pixels have each grey level, flat areas left out: (256,).

    Odd rows are counted apart, so that a level waits less for its like nearby.
    """
    counts = np.zeros(256, np.int64)
    odd = np.zeros(256, np.int64)
    for y in range(grey.shape[0]):
        row = odd if y & 1 else counts
        for x in range(grey.shape[1]):
            row[grey[y, x]] += (finger[y, x] != 0) & (plane[y, x] != 0.0)
    counts += odd
    return counts


@njit(cache=True, nogil=True)
def moments(plane: Plane, deviation: Plane, light: Mask, finger: Mask) -> Sums:
    """Of every second pixel of every second row, flat areas left out, (7,): how many there are, the sums of the
    plane's first four powers, the sum of the local deviation, how many are not `light`.
    """
    sums = np.zeros(7, np.float64)
    for y in range(0, plane.shape[0], 2):
        for x in range(0, plane.shape[1], 2):
            value = np.float64(plane[y, x])
            if finger[y, x] == 0 or value == 0.0:
                continue
            square = value * value
            sums[0] += 1.0
            sums[1] += value
            sums[2] += square
            sums[3] += square * value
            sums[4] += square * square
            sums[5] += deviation[y, x]
            sums[6] += light[y, x] == 0
    return sums


@njit(cache=True, nogil=True)
def spread(values: Plane, inside: Flags) -> tuple[Counts, Sums]:
    """Counts of values 0..1 in 255ths, (256,), and how many there are, their sum and the sum of their squares, (3,)."""
    counts = np.zeros(256, np.int64)
    sums = np.zeros(3, np.float64)
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            if inside[y, x]:
                value = min(max(values[y, x], np.float32(0.0)), np.float32(1.0))
                counts[int(value * np.float32(255.0))] += 1
                sums[0] += 1.0
                sums[1] += value
                sums[2] += np.float64(value) * value
    return counts, sums


class Texture(IntEnum):
    """What `texture` sums up, by its place. c and s are the cosine and the sine of twice the ridges' direction."""

    COUNT = 0
    ALONG = auto()  # energy of the gradient along the ridges
    ACROSS = auto()
    NOISE = auto()  # what a light blur takes away, squared
    SEEN = auto()  # the image, squared
    RIDGES = auto()  # the drawn ridges, squared
    STEPS = auto()  # their gradient, squared
    TURN = auto()  # cosine of twice the angle to the next cell's direction
    C = auto()
    S = auto()
    CC = auto()
    SS = auto()
    CS = auto()
    LEVEL = auto()  # local deviation
    LEVEL_C = auto()
    LEVEL_S = auto()
    ACROSS_C = auto()
    ACROSS_S = auto()


_TEXTURES = len(Texture)


@njit(cache=True, nogil=True)
def texture(
    inside: Flags, plane: Plane, cosine: Plane, sine: Plane, seen: Plane, soft: Plane, deviation: Plane, ridges: Plane
) -> Sums:
    """Sums over every second cell inside the finger, as `Texture` names them.

    inside, plane (the image), cosine and sine of the ridges' direction: at half resolution. seen (the image), soft (the
    same, lightly blurred), deviation, ridges: at the whole one.
    """
    sums = np.zeros(_TEXTURES, np.float64)
    for y in range(1, inside.shape[0] - 1, 2):
        for x in range(1, inside.shape[1] - 1, 2):
            if inside[y, x]:
                _texture_at(y, x, plane, cosine, sine, seen, soft, deviation, ridges, sums)
    return sums


@njit(cache=True, nogil=True)
def _texture_at(
    y: int, x: int, plane: Plane, cosine: Plane, sine: Plane, seen: Plane, soft: Plane, deviation: Plane, ridges: Plane,
    sums: Sums,
) -> None:  # fmt: skip
    """Adds one cell to the sums."""
    gx = np.float64(plane[y, x + 1] - plane[y, x - 1])
    gy = np.float64(plane[y + 1, x] - plane[y - 1, x])
    tx, ty = np.float64(cosine[y, x]), np.float64(sine[y, x])
    along, across = gx * tx + gy * ty, gy * tx - gx * ty
    along *= along
    across *= across
    c, s = tx * tx - ty * ty, 2.0 * tx * ty
    nx, ny = np.float64(cosine[y, x + 1]), np.float64(sine[y, x + 1])
    level = np.float64(deviation[2 * y, 2 * x])
    value, noise = np.float64(seen[2 * y, 2 * x]), np.float64(seen[2 * y, 2 * x] - soft[2 * y, 2 * x])
    ridge = np.float64(ridges[2 * y, 2 * x])
    step_x = np.float64(ridges[2 * y, 2 * x + 1] - ridges[2 * y, 2 * x - 1])
    step_y = np.float64(ridges[2 * y + 1, 2 * x] - ridges[2 * y - 1, 2 * x])
    cell: Any = (
        1.0, along, across, noise * noise, value * value, ridge * ridge, step_x * step_x + step_y * step_y,
        c * (nx * nx - ny * ny) + s * (2.0 * nx * ny),
        c, s, c * c, s * s, c * s, level, level * c, level * s, across * c, across * s,
    )  # fmt: skip
    for n in range(_TEXTURES):
        sums[n] += cell[n]
