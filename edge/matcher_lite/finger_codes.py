"""Describes each minutia by 256 bits that neither rotation nor translation of the finger changes.

The levels of the minutia's cylinder (`finger_cylinder`) go through a learnt projection (`finger_learn`); the signs are
the code, and similar surroundings have a small Hamming distance. Codes are computed in whole numbers: levels are few,
axes are rounded to a byte such that no sum can leave 16 bits. That is fast, since four in five cells are empty and a
register holds 32 sums, and exact: every machine computes the same code from the same cells.
"""

from __future__ import annotations

import zipfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from contract.errors import RemoteError
from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_cylinder import (
    CELLS,
    DISC,
    PLACES,
    SCRATCH,
    TABLES,
    Levels,
    Table,
    cell_levels,
    fill_levels,
    turn_steps,
)

Plane = NDArray[np.float32]
Codes = NDArray[np.uint64]
Axes = NDArray[np.int8]
Sums = NDArray[np.int16]
Places = NDArray[np.int32]

PROJECTION_FILE = Path(__file__).with_name("finger_projection.npz")
CODE_WORDS = p.CODE_BITS // 64
_SUM_MAX = 32_000  # 32,767 less what rounding the axes may add
_TOGETHER = 4  # cells added at once


class Projection(NamedTuple):
    """axes: (cells, 256) float32; offset: (256,) float32. A bit is cells @ axes > offset, cells being 0 to 1."""

    axes: Plane
    offset: Plane


class WholeProjection(NamedTuple):
    """axes: (cells, 256) int8; offset: (256,) int16. A bit is levels @ axes > offset, exact in 16 bits."""

    axes: Axes
    offset: Sums


@lru_cache(maxsize=1)
def shipped_projection() -> Projection:
    """The projection that this version's codes are made with."""
    return load_projection(PROJECTION_FILE)


def load_projection(path: Path) -> Projection:
    """A projection from the file that `store_projection` wrote; RemoteError where it is none that fits."""
    try:
        with np.load(path) as stored:
            found = Projection(stored["axes"].astype(np.float32), stored["offset"].astype(np.float32))
    except (OSError, EOFError, ValueError, LookupError, AttributeError, zipfile.BadZipFile) as error:
        raise RemoteError(
            f"{path.name} is no projection.", next_step="Give a file that 'rekam-match learn --out' wrote."
        ) from error
    if found.axes.shape != (CELLS, p.CODE_BITS) or found.offset.shape != (p.CODE_BITS,):
        raise RemoteError(
            f"{path.name} is a projection of other cylinders than this version's.", next_step="Learn it again."
        )
    return found


def store_projection(projection: Projection, path: Path = PROJECTION_FILE) -> None:
    """Writes `projection`, by default where the package ships it; half precision, since only signs are used."""
    axes, offset = projection.axes.astype(np.float16), projection.offset.astype(np.float32)
    with path.open("wb") as file:
        np.savez_compressed(file, axes=axes, offset=offset)
    shipped_projection.cache_clear()
    _shipped_placed.cache_clear()


def reproduces(made: Projection, stored: Projection) -> bool:
    """Whether `made` would be stored as exactly what `stored` was read from."""
    axes = made.axes.astype(np.float16).astype(np.float32)
    return bool(np.array_equal(axes, stored.axes) and np.array_equal(made.offset, stored.offset))


@lru_cache(maxsize=1)
def _shipped_placed() -> WholeProjection:
    return _placed(shipped_projection())


def _placed(projection: Projection) -> WholeProjection:
    """The projection in whole numbers with its axes where the cells lie in memory, (PLACES, 256), 0 between them."""
    chosen = whole(projection)
    axes = np.zeros((PLACES, chosen.axes.shape[1]), np.int8)
    axes[DISC] = chosen.axes
    return WholeProjection(axes, chosen.offset)


def whole(projection: Projection) -> WholeProjection:
    """The projection in whole numbers, each axis by a scale of its own: as fine as a byte and a 16-bit sum allow."""
    axes = projection.axes.astype(np.float64)
    furthest = np.maximum(np.maximum(axes, 0.0).sum(0), np.maximum(-axes, 0.0).sum(0)) + np.abs(projection.offset)
    scale = np.minimum(127.0 / np.abs(axes).max(0), _SUM_MAX / (p.CELL_LEVELS * furthest))
    offset = np.round(projection.offset * scale * p.CELL_LEVELS)
    return WholeProjection(np.round(axes * scale).astype(np.int8), offset.astype(np.int16))


def describe(geometry: Plane, projection: Projection | None = None) -> Codes:
    """Codes of all minutiae of a template.

    geometry: (4, n) float32 rows x, y (px at 500 ppi, y up), cos, sin. Returns (4, n) uint64; the first
    words hold the most telling bits.
    """
    if geometry.shape[1] == 0:
        return np.zeros((CODE_WORDS, 0), np.uint64)
    chosen = _shipped_placed() if projection is None else _placed(projection)
    codes: Codes = _describe(geometry, *TABLES, chosen.axes, chosen.offset)
    return codes


def cells(geometry: Plane) -> Plane:
    """Cylinder cells of all minutiae, 0 where nothing is near to 1: (n, CELLS) float32."""
    return cell_levels(geometry).astype(np.float32) / np.float32(p.CELL_LEVELS)


@njit(cache=True, nogil=True, error_model="numpy")
def _describe(geometry: Plane, gaussians: Table, shares: Table, in_disc: Levels, axes: Axes, offset: Sums) -> Codes:
    """Codes of all minutiae, one after the other, so that a cylinder stays near: (bits / 64, n) uint64."""
    turns = turn_steps(geometry)
    codes = np.zeros((axes.shape[1] // 64, turns.shape[0]), np.uint64)
    scratch = np.empty(SCRATCH, np.int16)
    level = np.empty(axes.shape[0], np.uint8)
    where = np.zeros(axes.shape[0] + _TOGETHER, np.int32)
    height = np.zeros(axes.shape[0] + _TOGETHER, np.int16)
    sums = np.empty(axes.shape[1], np.int16)
    for i in range(turns.shape[0]):
        fill_levels(geometry, turns, i, gaussians, shares, in_disc, scratch, level)
        filled = _filled(level, where, height)
        sums[:] = offset
        _subtract(axes, where, height, filled, sums)
        for word in range(codes.shape[0]):
            signs = np.uint64(0)
            for b in range(64):
                signs |= np.uint64(sums[word * 64 + b] < 0) << np.uint64(b)
            codes[word, i] = signs
    return codes


@njit(cache=True, nogil=True, error_model="numpy")
def _filled(level: Levels, where: Places, height: Sums) -> int:
    """Which places are not empty, and their levels; zeros follow. Returns how many."""
    filled = 0
    eights = level.view(np.uint64)
    for eight in range(eights.shape[0]):
        if eights[eight] == 0:
            continue
        for place in range(8 * eight, 8 * eight + 8):
            where[filled] = place
            height[filled] = level[place]
            filled += 1 if level[place] > 0 else 0
    height[filled : filled + _TOGETHER] = 0
    return filled


@njit(cache=True, nogil=True, error_model="numpy")
def _subtract(axes: Axes, where: Places, height: Sums, filled: int, sums: Sums) -> None:
    """sums −= levels @ axes over the filled places. Empty cells cost nothing."""
    for k in range(0, filled, _TOGETHER):
        l0, l1, l2, l3 = height[k], height[k + 1], height[k + 2], height[k + 3]
        a0, a1, a2, a3 = axes[where[k]], axes[where[k + 1]], axes[where[k + 2]], axes[where[k + 3]]
        for b in range(sums.shape[0]):
            sums[b] -= l0 * a0[b] + l1 * a1[b] + l2 * a2[b] + l3 * a3[b]
