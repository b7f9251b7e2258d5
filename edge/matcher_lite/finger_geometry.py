"""Minutiae of any source as the columns of a template: rounded to what a template stores, ready for comparison.

A search that reads records of others does this for every one of them, so it is done in one pass over the minutiae.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from contract.finger_minutiae import COORDINATE_MAX, MINUTIA_BYTES
from edge.matcher_lite import finger_parameters as p

Bytes = NDArray[np.uint8]
Plane = NDArray[np.float32]
Column = NDArray[np.float64]

_STEPS = p.COORDINATE_STEPS
_PLACES = 65536  # a coordinate's steps fit 16 bits
_ANGLE_STEPS = p.ANGLE_STEPS
_TO_STEPS = p.ANGLE_STEPS / (2 * np.pi)
_TO_RADIANS = 2 * np.pi / p.ANGLE_STEPS
_MINUTIA_BYTES = MINUTIA_BYTES
_COORDINATE_MAX = COORDINATE_MAX


def settle(x: NDArray[Any], y: NDArray[Any], angle: NDArray[Any]) -> tuple[Plane, Column, bool]:
    """The geometry of a template and the directions, both rounded, and whether all minutiae lie where a finger can.

    x, y: (n,) px at 500 ppi, y down; angle: (n,) rad. Returns (4, n) float32 rows x, −y, cos, sin; (n,) rad in [0, 2π).
    """
    geometry, turn, inside = _settle(*(np.ascontiguousarray(column, np.float64) for column in (x, y, angle)))
    geometry[2] = np.cos(turn)
    geometry[3] = np.sin(turn)
    return geometry, turn, bool(inside)


@njit(cache=True, nogil=True)
def _settle(x: Column, y: Column, angle: Column) -> tuple[Plane, Column, bool]:
    """See `settle`; without cosines and sines."""
    geometry = np.empty((4, x.shape[0]), np.float32)
    turn = np.empty(x.shape[0], np.float64)
    inside = True
    for n in range(x.shape[0]):
        across, down = np.rint(x[n] * _STEPS), np.rint(y[n] * _STEPS)
        inside &= (across >= 0) & (across < _PLACES) & (down >= 0) & (down < _PLACES)
        geometry[0, n] = across / _STEPS
        geometry[1, n] = -down / _STEPS
        turn[n] = (np.int64(np.rint(angle[n] * _TO_STEPS)) & (_ANGLE_STEPS - 1)) * _TO_RADIANS
    return geometry, turn, inside


def unpacked(minutiae: bytes, per_x: float, per_y: float) -> tuple[Column, Column, Column, Bytes, Bytes]:
    """Columns of a record's packed minutiae: x, y (px at 500 ppi), angle (rad), kind, quality (0 where not known).

    per_x, per_y: pixels at 500 ppi in a pixel of the record.
    """
    columns: tuple[Column, Column, Column, Bytes, Bytes] = _unpacked(np.frombuffer(minutiae, np.uint8), per_x, per_y)
    return columns


@njit(cache=True, nogil=True)
def _unpacked(octets: Bytes, per_x: float, per_y: float) -> tuple[Column, Column, Column, Bytes, Bytes]:
    """See `unpacked`; the bytes of a minutia are those of ISO/IEC 19794-2:2005, 7.4.2."""
    count = octets.shape[0] // _MINUTIA_BYTES
    x, y, angle = np.empty(count), np.empty(count), np.empty(count)
    kind, quality = np.empty(count, np.uint8), np.empty(count, np.uint8)
    for n in range(count):
        at = n * _MINUTIA_BYTES
        first = np.int64(octets[at]) << 8 | octets[at + 1]
        second = np.int64(octets[at + 2]) << 8 | octets[at + 3]
        x[n] = (first & _COORDINATE_MAX) * per_x
        y[n] = (second & _COORDINATE_MAX) * per_y
        angle[n] = octets[at + 4] * (2 * np.pi / 256)
        kind[n] = first >> 14
        quality[n] = octets[at + 5] if octets[at + 5] <= 100 else 0
    return x, y, angle, kind, quality
