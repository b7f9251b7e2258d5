"""The loop of a search's first stage: every reference minutia against every probe minutia, by 128-bit codes."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_compare_kernel import count_ones

Codes = NDArray[np.uint64]
Bins = NDArray[np.uint8]

_SLOTS = p.SHORT_MINUTIAE
_DIRECTIONS = p.DIRECTION_BINS
_RAMP = p.SHORT_DISTANCE_MAX


@njit(cache=True, nogil=True)
def short_scores(
    probe: Codes, probe_bins: Bins, gallery: Codes, bins: Bins, counts: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Stage-one score of each reference, 0 and up.

    probe: (m, 2); gallery: (rows × 32, 2) with `counts` used slots a row; bins: direction of each minutia in 36 parts.
    """
    scores = np.zeros(counts.shape[0], np.float32)
    votes = np.zeros(_DIRECTIONS, np.int32)
    for row in range(counts.shape[0]):
        count = counts[row]
        if count == 0:
            continue
        votes[:] = 0
        for slot in range(row * _SLOTS, row * _SLOTS + count):
            first = gallery[slot, 0]
            second = gallery[slot, 1]
            nearest = np.uint64(_RAMP) << np.uint64(8)
            for m in range(probe.shape[0]):
                bits = count_ones(first ^ probe[m, 0]) + count_ones(second ^ probe[m, 1])
                nearest = min(nearest, (bits << np.uint64(8)) | np.uint64(m))
            distance = np.int32(nearest >> np.uint64(8))
            if distance < _RAMP:
                turn = np.int32(bins[slot]) - np.int32(probe_bins[np.int32(nearest & np.uint64(255))])
                votes[turn if turn >= 0 else turn + _DIRECTIONS] += _RAMP - distance
        best = 0
        for middle in range(_DIRECTIONS):
            best = max(best, int(votes[middle - 1] + votes[middle] + votes[(middle + 1) % _DIRECTIONS]))
        scores[row] = best / (count + 10.0) ** 0.6
    return scores
