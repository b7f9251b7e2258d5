"""Lifts ridges out of noise: in each block the waves that its neighbourhood agrees on pass, the others fade.

Blocks of 24 px overlap by half under sine windows, whose squares add up to one, so that a gain of one everywhere
gives the image back. Only the 17 × 17 real waves of the ridge band are computed, as two small matrix products: that
costs a tenth of a full FFT. Eight blocks lie side by side in memory, so that sums run in lanes, each in its own order.
The image is mirrored at its edges, behind which ridges go on. After Chikkerur, Cartwright, Govindaraju, "Fingerprint
enhancement using STFT analysis" (2007), with the pooled-power gain in place of its separate orientation and frequency
filters.
"""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p

Plane = NDArray[np.float32]
Mask = NDArray[np.uint8]
Places = NDArray[np.int64]

_LANES = 8  # blocks side by side in memory
_SINES = p.WAVES - 1  # from a wave's cosine to its sine


def _basis() -> Plane:
    """Waves as rows: (17, 24), orthonormal over the block."""
    position = np.arange(p.BLOCK) + 0.5
    rows = [np.full(p.BLOCK, np.sqrt(1.0 / p.BLOCK))]
    rows += [np.sqrt(2.0 / p.BLOCK) * np.cos(2 * np.pi * k * position / p.BLOCK) for k in range(1, p.WAVES)]
    rows += [np.sqrt(2.0 / p.BLOCK) * np.sin(2 * np.pi * k * position / p.BLOCK) for k in range(1, p.WAVES)]
    return np.array(rows, np.float32)


def _band() -> Places:
    """The waves (|ky|, |kx|) that have a ridge's period: (n, 2)."""
    ky, kx = np.mgrid[0 : p.WAVES, 0 : p.WAVES]
    radius = np.hypot(kx, ky)
    return np.argwhere((radius >= p.BLOCK / p.PERIOD_MAX) & (radius <= p.BLOCK / p.PERIOD_MIN)).astype(np.int64)


_BASIS = _basis()
_BAND = _band()
_WINDOW = np.sin(np.pi * (np.arange(p.BLOCK) + 0.5) / p.BLOCK).astype(np.float32)


def enhance(plane: Plane, finger: Mask) -> Plane:
    """The plane with the waves kept that each block's neighbourhood supports; (H, W) float32, 0 outside the finger."""
    height, width = plane.shape
    rows = -(-height // p.BLOCK_STEP) + 1
    columns = -(-width // p.BLOCK_STEP) + 1
    below = rows * p.BLOCK_STEP - height
    right = columns * p.BLOCK_STEP - width
    inside = plane * finger
    mirrored = cv2.copyMakeBorder(inside, p.BLOCK_STEP, below, p.BLOCK_STEP, right, cv2.BORDER_REFLECT)
    padded = np.asarray(mirrored, np.float32)
    output: Plane = _filter(padded, rows, columns, _BASIS, np.ascontiguousarray(_BASIS.T), _BAND, _WINDOW)
    return np.ascontiguousarray(output[p.BLOCK_STEP : p.BLOCK_STEP + height, p.BLOCK_STEP : p.BLOCK_STEP + width])


@njit(cache=True, nogil=True)
def _combine(matrix: Plane, source: Plane, target: Plane) -> None:
    """target = matrix @ source. Four rows at once, so that the target is read and written less; summed in order."""
    terms = matrix.shape[1]
    whole = terms // 4 * 4
    for m in range(matrix.shape[0]):
        row = target[m]
        row[:] = 0.0
        for n in range(0, whole, 4):
            f0, f1, f2, f3 = matrix[m, n], matrix[m, n + 1], matrix[m, n + 2], matrix[m, n + 3]
            s0, s1, s2, s3 = source[n], source[n + 1], source[n + 2], source[n + 3]
            for k in range(row.shape[0]):
                row[k] = row[k] + f0 * s0[k] + f1 * s1[k] + f2 * s2[k] + f3 * s3[k]
        for n in range(whole, terms):
            factor = matrix[m, n]
            added = source[n]
            for k in range(row.shape[0]):
                row[k] += factor * added[k]


@njit(cache=True, nogil=True)
def _swap(source: Plane, target: Plane) -> None:
    """target[j, i] = source[i, j], where each is a number for every lane."""
    for i in range(target.shape[1] // _LANES):
        for j in range(target.shape[0]):
            for lane in range(_LANES):
                target[j, i * _LANES + lane] = source[i, j * _LANES + lane]


@njit(cache=True, nogil=True)
def _read(padded: Plane, row: int, first: int, columns: int, window: Plane, tiles: Plane) -> bool:
    """The windowed blocks of a row from column `first` on, side by side in the lanes; False where all are empty."""
    side = window.shape[0]
    step = side // 2
    lanes = min(_LANES, columns - first)
    if not np.any(padded[row * step : row * step + side, first * step : (first + lanes + 1) * step]):
        return False
    tiles[:] = 0.0
    for y in range(side):
        tile = tiles[y]
        for lane in range(lanes):
            left = (first + lane) * step
            block = padded[row * step + y, left : left + side]
            for x in range(side):
                tile[x * _LANES + lane] = block[x] * window[y] * window[x]
    return True


@njit(cache=True, nogil=True)
def _add(tiles: Plane, row: int, first: int, columns: int, window: Plane, output: Plane) -> None:
    """Adds what `_read` would read, windowed once more, to its place."""
    side = window.shape[0]
    step = side // 2
    for y in range(side):
        tile = tiles[y]
        for lane in range(min(_LANES, columns - first)):
            left = (first + lane) * step
            block = output[row * step + y, left : left + side]
            for x in range(side):
                block[x] += tile[x * _LANES + lane] * window[y] * window[x]


@njit(cache=True, nogil=True)
def _power(waves: Plane, band: Places, power: Plane) -> None:
    """Power of the waves (kx, ky) of the band, then of the waves (kx, −ky), in every lane: (2 n, lanes).

    waves: cosines and sines along x by the same along y × lanes. Worked out in double precision.
    """
    count = band.shape[0]
    for n in range(count):
        ky, kx = band[n, 0] * _LANES, band[n, 1]
        sy, sx = ky + _SINES * _LANES, kx + _SINES
        for lane in range(_LANES):
            cc = np.float64(waves[kx, ky + lane])
            sc = np.float64(waves[kx, sy + lane]) if ky > 0 else 0.0
            cs = np.float64(waves[sx, ky + lane]) if kx > 0 else 0.0
            ss = np.float64(waves[sx, sy + lane]) if ky > 0 and kx > 0 else 0.0
            power[n, lane] = (cc - ss) * (cc - ss) + (cs + sc) * (cs + sc)
            power[count + n, lane] = (cc + ss) * (cc + ss) + (cs - sc) * (cs - sc)


@njit(cache=True, nogil=True)
def _apply(waves: Plane, band: Places, gains: Plane, kept: Plane) -> None:
    """Scales each of the two diagonal waves of (|kx|, |ky|) by its own gain, in every lane; written into `kept`.

    gains: (2 n, lanes), as `_power` orders them. What is not of the band stays as it is in `kept`.
    """
    count = band.shape[0]
    for n in range(count):
        ky, kx = band[n, 0] * _LANES, band[n, 1]
        sy, sx = ky + _SINES * _LANES, kx + _SINES
        for lane in range(_LANES):
            forward, backward = 0.5 * gains[n, lane], 0.5 * gains[count + n, lane]
            cc = np.float64(waves[kx, ky + lane])
            sc = np.float64(waves[kx, sy + lane]) if ky > 0 else 0.0
            cs = np.float64(waves[sx, ky + lane]) if kx > 0 else 0.0
            ss = np.float64(waves[sx, sy + lane]) if ky > 0 and kx > 0 else 0.0
            alike, apart = forward * (cc - ss), backward * (cc + ss)
            plus, minus = forward * (cs + sc), backward * (cs - sc)
            kept[kx, ky + lane] = alike + apart
            if ky > 0:
                kept[kx, sy + lane] = plus - minus
            if kx > 0:
                kept[sx, ky + lane] = plus + minus
            if ky > 0 and kx > 0:
                kept[sx, sy + lane] = apart - alike


@njit(cache=True, nogil=True)
def _gains(power: Plane, row: int, gains: Plane) -> None:
    """Root of the power pooled over 3 × 3 blocks, relative to its strongest wave, of a whole row of blocks.

    power: (rows, waves, 1 + columns + 1); gains: (waves, columns).
    """
    gains[:] = 0.0
    for wave in range(gains.shape[0]):
        pooled = gains[wave]
        for r in range(max(row - 1, 0), min(row + 2, power.shape[0])):
            blocks = power[r, wave]
            for column in range(pooled.shape[0]):
                pooled[column] = pooled[column] + blocks[column] + blocks[column + 1] + blocks[column + 2]
    scale = np.zeros(gains.shape[1], np.float32)
    for wave in range(gains.shape[0]):
        for column in range(scale.shape[0]):
            scale[column] = max(scale[column], gains[wave, column])
    for column in range(scale.shape[0]):
        scale[column] = np.float32(1.0 / scale[column]) if scale[column] > 0.0 else np.float32(0.0)
    for wave in range(gains.shape[0]):
        for column in range(scale.shape[0]):
            gains[wave, column] = np.sqrt(gains[wave, column] * scale[column])


@njit(cache=True, nogil=True)
def _filter(
    padded: Plane, rows: int, columns: int, basis: Plane, transposed: Plane, band: Places, window: Plane
) -> Plane:
    """All blocks of the padded plane: transform, pool, weigh, transform back, overlap and add."""
    terms, side = basis.shape
    groups = -(-columns // _LANES)
    waves = np.empty((rows, groups, terms, terms * _LANES), np.float32)
    power = np.zeros((rows, 2 * band.shape[0], groups * _LANES + 2), np.float32)
    filled = np.zeros((rows, groups), np.bool_)
    tiles = np.empty((side, side * _LANES), np.float32)
    down = np.empty((terms, side * _LANES), np.float32)
    across = np.empty((side, terms * _LANES), np.float32)
    for row in range(rows):
        for group in range(groups):
            first = group * _LANES
            filled[row, group] = _read(padded, row, first, columns, window, tiles)
            if filled[row, group]:
                _combine(basis, tiles, down)
                _swap(down, across)
                _combine(basis, across, waves[row, group])
                _power(waves[row, group], band, power[row, :, 1 + first : 1 + first + _LANES])
    output = np.zeros_like(padded)
    gains = np.empty((2 * band.shape[0], groups * _LANES), np.float32)
    kept = np.zeros((terms, terms * _LANES), np.float32)
    for row in range(rows):
        _gains(power, row, gains)
        for group in range(groups):
            if filled[row, group]:
                first = group * _LANES
                _apply(waves[row, group], band, gains[:, first : first + _LANES], kept)
                _combine(transposed, kept, across)
                _swap(across, down)
                _combine(transposed, down, tiles)
                _add(tiles, row, first, columns, window, output)
    return output
