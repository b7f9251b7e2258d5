"""The loop of a search's first stage: every reference minutia against every probe minutia, by 128-bit codes."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_compare_kernel import count_ones

Codes = NDArray[np.uint64]
Bins = NDArray[np.uint8]
Counts = NDArray[np.int32]

_SLOTS = p.SHORT_MINUTIAE
_DIRECTIONS = p.DIRECTION_BINS
_RAMP = p.SHORT_DISTANCE_MAX


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest(first: np.uint64, second: np.uint64, words: Codes) -> np.int64:
    """Distance × 256 + index of the probe minutia whose code is nearest; words: (2, m)."""
    w0, w1 = words[0], words[1]
    nearest = np.uint64(_RAMP) << np.uint64(8)
    for m in range(words.shape[1]):
        bits = count_ones(first ^ w0[m]) + count_ones(second ^ w1[m])
        packed = (np.uint64(bits) << np.uint64(8)) | np.uint64(m)
        nearest = packed if packed < nearest else nearest
    return np.int64(nearest)


@njit(cache=True, nogil=True, error_model="numpy")
def short_scores(words: Codes, probe_bins: Bins, gallery: Codes, bins: Bins, counts: Counts) -> NDArray[np.float32]:
    """Stage-one score of each reference, 0 and up.

    words: (2, m) codes of the probe; gallery: (rows × 32, 2) with `counts` used slots a row; bins: direction of each
    minutia in 36 parts.
    """
    scores = np.zeros(counts.shape[0], np.float32)
    votes = np.zeros(_DIRECTIONS + 2, np.int32)  # a copy of the last bin before the first, of the first after the last
    for row in range(counts.shape[0]):
        count = counts[row]
        if count == 0:
            continue
        votes[:] = 0
        for slot in range(row * _SLOTS, row * _SLOTS + count):
            nearest = _nearest(gallery[slot, 0], gallery[slot, 1], words)
            distance = nearest >> 8
            if distance < _RAMP:
                turn = np.int64(bins[slot]) - np.int64(
                    probe_bins[nearest & 255]
                )  # int() of a uint8 stays unsigned here
                votes[turn + 1 if turn >= 0 else turn + _DIRECTIONS + 1] += _RAMP - distance
        votes[0] = votes[_DIRECTIONS]
        votes[_DIRECTIONS + 1] = votes[1]
        best = np.int32(0)
        for place in range(1, _DIRECTIONS + 1):
            three = votes[place - 1] + votes[place] + votes[place + 1]
            best = three if three > best else best
        scores[row] = best / (count + 10.0) ** 0.6
    return scores
