"""Polar sampling, dynamic programming and harmonic fits: how a closed contour is found around a centre."""

from __future__ import annotations

import math
from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]
Floats = NDArray[np.float64]


@numba.njit(cache=True, nogil=True, fastmath=True)
def sample(image: NDArray[np.float32], x: float, y: float) -> float:
    """The image at (x, y), bilinear; places outside take the nearest pixel."""
    height, width = image.shape
    px, py = min(max(x, 0.0), width - 1.001), min(max(y, 0.0), height - 1.001)
    left, top = int(px), int(py)
    fx, fy = px - left, py - top
    upper = image[top, left] * (1.0 - fx) + image[top, left + 1] * fx
    lower = image[top + 1, left] * (1.0 - fx) + image[top + 1, left + 1] * fx
    return float(upper * (1.0 - fy) + lower * fy)


@numba.njit(cache=True, nogil=True, fastmath=True)
def polar(
    image: NDArray[np.float32], x: float, y: float, r_min: float, r_max: float, angles: int, radii: int
) -> NDArray[np.float32]:
    """Bilinear samples of `image` around (x, y), shape (angles, radii), to the bit those of `sample`.

    Where each ray's samples lie is found first and what is there fetched then: the first goes abreast in lanes, which
    halves the time.
    """
    out = np.empty((angles, radii), dtype=np.float32)
    step = (r_max - r_min) / (radii - 1)
    height, width = image.shape
    x_max, y_max = width - 1.001, height - 1.001
    pixels, below = image.ravel(), np.int32(width)
    places = np.empty(radii, dtype=np.int32)
    right, down = np.empty(radii, dtype=np.float64), np.empty(radii, dtype=np.float64)
    for i in range(angles):
        angle = 2.0 * math.pi * i / angles
        cosine, sine = math.cos(angle), math.sin(angle)
        for j in range(radii):
            r = r_min + step * j
            px, py = min(max(x + r * cosine, 0.0), x_max), min(max(y + r * sine, 0.0), y_max)
            left, top = np.int32(px), np.int32(py)
            right[j], down[j] = px - left, py - top
            places[j] = top * below + left
        for j in range(radii):
            at, fx, fy = np.uint32(places[j]), right[j], down[j]
            upper = pixels[at] * (1.0 - fx) + pixels[at + np.uint32(1)] * fx
            lower = pixels[at + np.uint32(below)] * (1.0 - fx) + pixels[at + np.uint32(below + 1)] * fx
            out[i, j] = upper * (1.0 - fy) + lower * fy
    return out


@numba.njit(cache=True, nogil=True, fastmath=True)
def radial_steps(samples: NDArray[np.float32], reach: int, low: float, high: float) -> NDArray[np.float32]:
    """Rise of brightness outwards: mean of the next `reach` samples minus mean of the last, clipped to [low, high].

    samples: (angles, radii). The first and last `reach` columns are `low`.
    """
    angles, radii = samples.shape
    out = np.full((angles, radii), low, dtype=np.float32)
    for i in range(angles):
        inner, outer = 0.0, 0.0
        for j in range(reach):
            inner += samples[i, j]
            outer += samples[i, j + reach + 1]
        for j in range(reach, radii - reach):
            rise = (outer - inner) / reach
            out[i, j] = min(max(rise, low), high)
            if j + reach + 1 < radii:
                inner += samples[i, j] - samples[i, j - reach]
                outer += samples[i, j + reach + 1] - samples[i, j + 1]
    return out


@numba.njit(cache=True, nogil=True)
def closed_path(gain: NDArray[np.float32], stiffness: float) -> NDArray[np.int64]:
    """The closed path of most gain: one radius index per angle, neighbours at most 2 apart.

    stiffness: loss per index of change. The ring is cut open, overlapped by a quarter at both ends, and the middle
    of the best open path is taken, which is closed wherever the contour has any evidence.
    """
    angles, radii = gain.shape
    overlap = angles // 4
    total = angles + 2 * overlap
    best = np.empty((total, radii), dtype=np.float32)
    came = np.zeros((total, radii), dtype=np.int8)
    best[0] = gain[(angles - overlap) % angles]
    for i in range(1, total):
        row = (i - overlap) % angles
        for j in range(radii):
            top, move = best[i - 1, j], 0
            for change in (-2, -1, 1, 2):
                k = j + change
                if 0 <= k < radii:
                    value = best[i - 1, k] - stiffness * abs(change)
                    if value > top:
                        top, move = value, change
            best[i, j] = top + gain[row, j]
            came[i, j] = move
    path = np.empty(angles, dtype=np.int64)
    j = int(np.argmax(best[total - 1]))
    for i in range(total - 1, -1, -1):
        if overlap <= i < overlap + angles:
            path[i - overlap] = j
        j += came[i, j]
    return path


@lru_cache(maxsize=16)
def harmonic_basis(angles: int, harmonics: int) -> Floats:
    """Columns 1, cos θ, sin θ, …, shape (angles, 1 + 2·harmonics); read-only."""
    theta = 2.0 * np.pi * np.arange(angles) / angles
    columns = [np.ones(angles)]
    for k in range(1, harmonics + 1):
        columns += [np.cos(k * theta), np.sin(k * theta)]
    basis = np.stack(columns, axis=1)
    basis.setflags(write=False)
    return basis


def fit_harmonics(
    radii: Floats,
    weights: Floats,
    harmonics: int,
    *,
    scale: float,
    ridge: float,
    stay: float,
    near: float | None = None,
    rounds: int = 6,
) -> tuple[Floats, Floats]:
    """Robust least squares of a contour r(θ) by a few harmonics.

    radii, weights: one per angle. scale: residual in pixels beyond which a point counts little.
    ridge: penalty on harmonics from the second on, stay: on the first (the offset of the centre), both per point.
    near: a radius that points of the first round should keep close to. Returns the coefficients and final weights.
    """
    first: Floats = weights
    if near is not None:
        first = np.asarray(weights / (1.0 + ((radii - near) / (3.0 * scale)) ** 2) ** 2)
    basis = harmonic_basis(len(radii), harmonics)
    penalty = _penalty(len(radii), harmonics, ridge, stay)
    return _reweighted(basis, radii, weights, first, penalty, scale * _tightening(rounds))


@lru_cache(maxsize=16)
def _penalty(angles: int, harmonics: int, ridge: float, stay: float) -> Floats:
    order = np.concatenate([[0], np.repeat(np.arange(1, harmonics + 1), 2)])
    penalty = np.where(order >= 2, ridge * order.astype(float) ** 2, np.where(order == 1, stay, 1e-12)) * angles
    penalty.setflags(write=False)
    return np.asarray(penalty)


@lru_cache(maxsize=4)
def _tightening(rounds: int) -> Floats:
    """How much wider than its end the scale of residuals is in each round."""
    wider = np.geomspace(4.0, 1.0, rounds)
    wider.setflags(write=False)
    return np.asarray(wider)


@numba.njit(cache=True, nogil=True)
def _reweighted(
    basis: Floats, radii: Floats, weights: Floats, first: Floats, penalty: Floats, scales: Floats
) -> tuple[Floats, Floats]:
    """Least squares, again and again, with points of large residuals (in `scales`) counting less."""
    angles, size = basis.shape
    current = first.copy()
    coefficients: Floats = np.zeros(size)
    for scale in scales:
        normal = np.zeros((size, size))
        right = np.zeros(size)
        for i in range(angles):
            for a in range(size):
                weighted = basis[i, a] * current[i]
                right[a] += weighted * radii[i]
                for b in range(a + 1):
                    normal[a, b] += weighted * basis[i, b]
        for a in range(size):
            for b in range(a):
                normal[b, a] = normal[a, b]
            normal[a, a] += penalty[a]
        coefficients[:] = np.linalg.solve(normal, right)
        for i in range(angles):
            residual = radii[i]
            for a in range(size):
                residual -= basis[i, a] * coefficients[a]
            current[i] = weights[i] / (1.0 + (residual / scale) ** 2) ** 2
    return coefficients, current
