"""Lifts ridges out of noise: in each block the waves that its neighbourhood agrees on pass, the others fade.

Blocks of 24 px overlap by half under sine windows, whose squares add up to one, so that a gain of one everywhere
gives the image back. Only the 17 × 17 real waves of the ridge band are computed, as two small matrix products: that
costs a tenth of a full FFT. The image is mirrored at its edges, behind which ridges go on. After Chikkerur,
Cartwright, Govindaraju, "Fingerprint enhancement using STFT analysis" (2007), with the pooled-power gain in place of
its separate orientation and frequency filters.
"""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p

Plane = NDArray[np.float32]
Mask = NDArray[np.uint8]


def _basis() -> Plane:
    """Waves as rows: (17, 24), orthonormal over the block."""
    position = np.arange(p.BLOCK) + 0.5
    rows = [np.full(p.BLOCK, np.sqrt(1.0 / p.BLOCK))]
    rows += [np.sqrt(2.0 / p.BLOCK) * np.cos(2 * np.pi * k * position / p.BLOCK) for k in range(1, p.WAVES)]
    rows += [np.sqrt(2.0 / p.BLOCK) * np.sin(2 * np.pi * k * position / p.BLOCK) for k in range(1, p.WAVES)]
    return np.array(rows, np.float32)


def _band() -> Plane:
    """1 where the wave (|kx|, |ky|) has a ridge's period, else 0: (9, 9)."""
    ky, kx = np.mgrid[0 : p.WAVES, 0 : p.WAVES]
    radius = np.hypot(kx, ky)
    return np.asarray((radius >= p.BLOCK / p.PERIOD_MAX) & (radius <= p.BLOCK / p.PERIOD_MIN), np.float32)


_BASIS = _basis()
_BAND = _band()
_WINDOW = np.sin(np.pi * (np.arange(p.BLOCK) + 0.5) / p.BLOCK).astype(np.float32)


def enhance(plane: Plane, finger: Mask) -> Plane:
    """The plane with the waves kept that each block's neighbourhood supports; (H, W) float32, 0 outside the finger."""
    height, width = plane.shape
    rows = -(-height // p.BLOCK_STEP) + 1
    columns = -(-width // p.BLOCK_STEP) + 1
    below = (rows + 1) * p.BLOCK_STEP - p.BLOCK_STEP - height
    right = (columns + 1) * p.BLOCK_STEP - p.BLOCK_STEP - width
    inside = plane * finger
    mirrored = cv2.copyMakeBorder(inside, p.BLOCK_STEP, below, p.BLOCK_STEP, right, cv2.BORDER_REFLECT)
    padded = np.asarray(mirrored, np.float32)
    output: Plane = _filter(padded, rows, columns, _BASIS, np.ascontiguousarray(_BASIS.T), _BAND, _WINDOW)
    return np.ascontiguousarray(output[p.BLOCK_STEP : p.BLOCK_STEP + height, p.BLOCK_STEP : p.BLOCK_STEP + width])


@njit(cache=True, nogil=True)
def _forward(tile: Plane, basis: Plane, transposed: Plane, partial: Plane, waves: Plane) -> None:
    """Separable transform of one 24 × 24 tile into 17 × 17 real waves; written into `waves`."""
    partial[:] = 0.0
    waves[:] = 0.0
    for u in range(basis.shape[0]):
        for y in range(tile.shape[0]):
            factor = basis[u, y]
            for x in range(tile.shape[1]):
                partial[u, x] += factor * tile[y, x]
        for x in range(tile.shape[1]):
            factor = partial[u, x]
            for v in range(basis.shape[0]):
                waves[u, v] += factor * transposed[x, v]


@njit(cache=True, nogil=True)
def _inverse(waves: Plane, basis: Plane, transposed: Plane, partial: Plane, tile: Plane) -> None:
    """Waves back into the tile: the transpose of `_forward`."""
    partial[:] = 0.0
    tile[:] = 0.0
    for u in range(basis.shape[0]):
        for v in range(basis.shape[0]):
            factor = waves[u, v]
            for x in range(tile.shape[1]):
                partial[u, x] += factor * basis[v, x]
    for y in range(tile.shape[0]):
        for u in range(basis.shape[0]):
            factor = transposed[y, u]
            for x in range(tile.shape[1]):
                tile[y, x] += factor * partial[u, x]


@njit(cache=True, nogil=True)
def _power(waves: Plane, band: Plane, power: Plane) -> None:
    """Power of the waves (kx, ky) and (kx, −ky): (2, 9, 9), 0 outside the ridge band."""
    shift = band.shape[0] - 1
    power[:] = 0.0
    for ky in range(band.shape[0]):
        for kx in range(band.shape[1]):
            if band[ky, kx] == 0.0:
                continue
            cc = waves[ky, kx]
            sc = waves[ky + shift, kx] if ky > 0 else 0.0
            cs = waves[ky, kx + shift] if kx > 0 else 0.0
            ss = waves[ky + shift, kx + shift] if ky > 0 and kx > 0 else 0.0
            power[0, ky, kx] = (cc - ss) * (cc - ss) + (cs + sc) * (cs + sc)
            power[1, ky, kx] = (cc + ss) * (cc + ss) + (cs - sc) * (cs - sc)


@njit(cache=True, nogil=True)
def _apply(waves: Plane, gain: Plane) -> None:
    """Scales each of the two diagonal waves of (|kx|, |ky|) by its own gain, in place."""
    shift = gain.shape[1] - 1
    for ky in range(gain.shape[1]):
        for kx in range(gain.shape[2]):
            forward = gain[0, ky, kx]
            backward = gain[1, ky, kx]
            cc = waves[ky, kx]
            sc = waves[ky + shift, kx] if ky > 0 else 0.0
            cs = waves[ky, kx + shift] if kx > 0 else 0.0
            ss = waves[ky + shift, kx + shift] if ky > 0 and kx > 0 else 0.0
            even = 0.5 * forward * (cc - ss)
            odd = 0.5 * backward * (cc + ss)
            plus = 0.5 * forward * (cs + sc)
            minus = 0.5 * backward * (cs - sc)
            waves[ky, kx] = even + odd
            if ky > 0:
                waves[ky + shift, kx] = plus - minus
            if kx > 0:
                waves[ky, kx + shift] = plus + minus
            if ky > 0 and kx > 0:
                waves[ky + shift, kx + shift] = odd - even


@njit(cache=True, nogil=True)
def _gain(power: Plane, row: int, column: int, gain: Plane) -> None:
    """Root of the power pooled over 3 × 3 blocks, relative to its strongest wave; written into `gain`."""
    gain[:] = 0.0
    for r in range(max(row - 1, 0), min(row + 2, power.shape[0])):
        for c in range(max(column - 1, 0), min(column + 2, power.shape[1])):
            for s in range(2):
                for ky in range(gain.shape[1]):
                    for kx in range(gain.shape[2]):
                        gain[s, ky, kx] += power[r, c, s, ky, kx]
    strongest = gain.max()
    scale = np.float32(1.0 / strongest) if strongest > 0.0 else np.float32(0.0)
    for s in range(2):
        for ky in range(gain.shape[1]):
            for kx in range(gain.shape[2]):
                gain[s, ky, kx] = np.sqrt(gain[s, ky, kx] * scale)


@njit(cache=True, nogil=True)
def _filter(
    padded: Plane, rows: int, columns: int, basis: Plane, transposed: Plane, band: Plane, window: Plane
) -> Plane:
    """All blocks of the padded plane: transform, pool, weigh, transform back, overlap and add."""
    step = window.shape[0] // 2
    side = window.shape[0]
    terms = basis.shape[0]
    waves = np.zeros((rows, columns, terms, terms), np.float32)
    power = np.zeros((rows, columns, 2, band.shape[0], band.shape[0]), np.float32)
    output = np.zeros_like(padded)
    tile = np.zeros((side, side), np.float32)
    partial = np.zeros((terms, side), np.float32)
    gain = np.zeros((2, band.shape[0], band.shape[0]), np.float32)
    filled = np.zeros((rows, columns), np.bool_)
    for row in range(rows):
        for column in range(columns):
            content = np.float32(0.0)
            for y in range(side):
                for x in range(side):
                    value = padded[row * step + y, column * step + x] * window[y] * window[x]
                    tile[y, x] = value
                    content += abs(value)
            if content > 0.0:
                filled[row, column] = True
                _forward(tile, basis, transposed, partial, waves[row, column])
                _power(waves[row, column], band, power[row, column])
    for row in range(rows):
        for column in range(columns):
            if not filled[row, column]:
                continue
            _gain(power, row, column, gain)
            _apply(waves[row, column], gain)
            _inverse(waves[row, column], basis, transposed, partial, tile)
            for y in range(side):
                for x in range(side):
                    output[row * step + y, column * step + x] += tile[y, x] * window[y] * window[x]
    return output
