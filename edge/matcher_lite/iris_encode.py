"""Texture to bits: the signs of two bands' complex log-Gabor responses, and which of them deserve trust.

Eight rows are averaged out of the texture with Gaussian weights; each is filtered around the ring at two wavelengths.
The response is taken at 256 positions, 1.4 degrees apart; a code takes every fourth of them, so a rotated code is
the same response read from another start, which is how a probe gets its rotations without a second extraction.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from edge.matcher_lite import iris_parameters as p
from edge.matcher_lite.iris_polar import FloatImage

Bits = NDArray[np.bool_]
Words = NDArray[np.uint64]


def _row_weights(sigma: float) -> NDArray[np.float64]:
    """Gaussian weights (CODE_ROWS, TEXTURE_ROWS); each code row's centre lies in the middle of its eighth."""
    centres = (np.arange(p.CODE_ROWS) + 0.5) * p.TEXTURE_ROWS / p.CODE_ROWS - 0.5
    distance = np.arange(p.TEXTURE_ROWS)[None, :] - centres[:, None]
    weights = np.exp(-0.5 * (distance / sigma) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _band(wavelength: float) -> NDArray[np.float64]:
    """One-sided log-Gabor transfer function over TEXTURE_COLUMNS frequencies."""
    cycles = np.fft.fftfreq(p.TEXTURE_COLUMNS, 1.0 / p.TEXTURE_COLUMNS)
    transfer = np.zeros(p.TEXTURE_COLUMNS)
    positive = cycles > 0
    ratio = np.log(cycles[positive] * wavelength / p.TEXTURE_COLUMNS) / np.log(p.BAND_SIGMA)
    transfer[positive] = np.exp(-0.5 * ratio**2)
    return transfer


def _support(wavelength: float) -> NDArray[np.complex128]:
    """Spectrum of a Gaussian window as wide as the band's filter: how much of a response rests on masked samples."""
    distance = np.minimum(np.arange(p.TEXTURE_COLUMNS), p.TEXTURE_COLUMNS - np.arange(p.TEXTURE_COLUMNS))
    window = np.exp(-0.5 * (distance / (0.35 * wavelength)) ** 2)
    return np.asarray(np.fft.fft(window / window.sum()))


_ROW_WEIGHTS = tuple(_row_weights(sigma) for sigma in p.ROW_SIGMAS)
_BANDS = tuple(_band(wavelength) for wavelength in p.WAVELENGTHS)
_SUPPORTS = tuple(_support(wavelength) for wavelength in p.WAVELENGTHS)


def fine_bits(texture: FloatImage, valid: Bits) -> tuple[Bits, Bits]:
    """Signs and trust at all fine positions, both of shape (bands, CODE_ROWS, FINE_COLUMNS, 2).

    texture: (TEXTURE_ROWS, TEXTURE_COLUMNS); valid: the same shape.
    """
    weight = valid.astype(np.float64)
    level = float((texture * weight).sum() / max(weight.sum(), 1.0))
    centred = (texture - level) * weight
    shape = (len(p.WAVELENGTHS), p.CODE_ROWS, p.FINE_COLUMNS, 2)
    bits, trust = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    stride = p.TEXTURE_COLUMNS // p.FINE_COLUMNS
    for band, rows in enumerate(_ROW_WEIGHTS):
        share = rows @ weight
        signal = np.where(share > 0.05, (rows @ centred) / np.maximum(share, 0.05), 0.0)
        # A row's own level must not leak through the edges of its masked stretches.
        row_level = (signal * share).sum(axis=1) / np.maximum(share.sum(axis=1), 1e-6)
        signal = (signal - row_level[:, None]) * np.minimum(share * 2.0, 1.0)
        response = np.fft.ifft(np.fft.fft(signal, axis=1) * _BANDS[band], axis=1)[:, ::stride]
        covered = np.fft.ifft(np.fft.fft(share, axis=1) * _SUPPORTS[band], axis=1).real[:, ::stride]
        parts = np.stack([response.real, response.imag], axis=-1)
        seen = covered >= p.VALID_SHARE_MIN
        bits[band] = parts > 0.0
        for part in (0, 1):
            strength = np.abs(parts[:, :, part])
            floor = np.quantile(strength[seen], p.FRAGILE_SHARE) if seen.any() else 0.0
            trust[band, :, :, part] = seen & (strength > floor)
    return bits, trust


def rotated_words(bits: Bits) -> Words:
    """The code at every rotation of −ROTATIONS … +ROTATIONS steps: shape (2·ROTATIONS + 1, CODE_WORDS)."""
    step = p.FINE_COLUMNS // p.CODE_COLUMNS
    # (step, bands, rows, columns, parts): the code from each of the first `step` positions
    phases = np.moveaxis(bits.reshape(*bits.shape[:2], p.CODE_COLUMNS, step, 2), 3, 0)
    packed = np.packbits(np.ascontiguousarray(phases).reshape(step, p.CODE_BITS), axis=1, bitorder="little")
    return _turned_words(packed.view(np.uint64), p.ROTATIONS)


@numba.njit(cache=True, nogil=True)
def _turned_words(phases: Words, rotations: int) -> Words:
    """Turn codes by whole columns: a row of 64 columns is two words, low columns first, two bits a column."""
    step, words = phases.shape
    out = np.empty((2 * rotations + 1, words), dtype=np.uint64)
    for k in range(-rotations, rotations + 1):
        phase, bits = k % step, 2 * ((k // step) % 64)
        for w in range(0, words, 2):
            low, high = phases[phase, w], phases[phase, w + 1]
            if bits >= 64:
                low, high = high, low
            shift = np.uint64(bits % 64)
            if shift:
                back = np.uint64(64) - shift
                low, high = (low >> shift) | (high << back), (high >> shift) | (low << back)
            out[k + rotations, w], out[k + rotations, w + 1] = low, high
    return out
