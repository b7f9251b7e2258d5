"""Describes each minutia by 256 bits that neither rotation nor translation of the finger changes.

Around a minutia stands a cylinder: a disc of cells in space, turned to the minutia's direction, times layers of
direction difference. Its neighbours blur into the cells; a soft threshold and a learnt projection give a real vector,
whose signs are the code. Similar surroundings have a small Hamming distance. The cylinder follows Cappelli, Ferrara,
Maltoni, "Minutia Cylinder-Code" (2010), without its validity masks; the projection is ours (`finger_learn`).
"""

from __future__ import annotations

import math
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from contract.errors import RemoteError
from edge.matcher_lite import finger_parameters as p

Plane = NDArray[np.float32]
Codes = NDArray[np.uint64]

PROJECTION_FILE = Path(__file__).with_name("finger_projection.npz")
CODE_WORDS = p.CODE_BITS // 64


class Projection(NamedTuple):
    """axes: (cells, 256) float32; offset: (256,) float32. A bit is cells @ axes > offset."""

    axes: Plane
    offset: Plane


def _disc() -> NDArray[np.int32]:
    """Index of each cell of the square among those of the disc, −1 outside: (side, side)."""
    centre = (np.arange(p.CYLINDER_SIDE) - (p.CYLINDER_SIDE - 1) / 2) * (2 * p.CYLINDER_RADIUS / p.CYLINDER_SIDE)
    inside = np.hypot(*np.meshgrid(centre, centre)) <= p.CYLINDER_RADIUS
    index = np.full(inside.shape, -1, np.int32)
    index[inside] = np.arange(inside.sum(), dtype=np.int32)
    return index


def _layer_shares() -> Plane:
    """Area of a Gaussian around each direction difference that falls on each layer: (steps of a turn, layers)."""
    difference = np.arange(_TURN_STEPS) * (2 * np.pi / _TURN_STEPS)
    width = 2 * np.pi / p.CYLINDER_LAYERS
    centre = -np.pi + (np.arange(p.CYLINDER_LAYERS) + 0.5) * width
    gap = np.mod(centre[None, :] - difference[:, None] + np.pi, 2 * np.pi) - np.pi
    scale = 1.0 / (p.CYLINDER_SIGMA_DIRECTION * math.sqrt(2.0))
    area = [[math.erf((g + width / 2) * scale) - math.erf((g - width / 2) * scale) for g in row] for row in gap]
    return (0.5 * np.array(area)).astype(np.float32)


def _softened() -> Plane:
    """Sigmoid of a cell's value less that of an empty cell, over 0.._CELL_TOP."""
    value = np.linspace(0.0, _CELL_TOP, _CELL_STEPS)
    sigmoid = 1.0 / (1.0 + np.exp(-p.CELL_STEEPNESS * (value - p.CELL_MIDDLE)))
    return np.asarray(sigmoid - sigmoid[0], np.float32)


_TURN_STEPS = 1024
_CELL_STEPS = 2048
_CELL_TOP = p.CELL_MIDDLE + 10.0 / p.CELL_STEEPNESS  # the sigmoid is 1 beyond
_LAYER_SHARES = _layer_shares()
_SOFTENED = _softened()
_DISC = _disc()
CELLS = int(_DISC.max() + 1) * p.CYLINDER_LAYERS


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


def reproduces(made: Projection, stored: Projection) -> bool:
    """Whether `made` would be stored as exactly what `stored` was read from."""
    axes = made.axes.astype(np.float16).astype(np.float32)
    return bool(np.array_equal(axes, stored.axes) and np.array_equal(made.offset, stored.offset))


def describe(geometry: Plane, projection: Projection | None = None) -> Codes:
    """Codes of all minutiae of a template.

    geometry: (4, n) float32 rows x, y (px at 500 ppi, y up), cos, sin. Returns (4, n) uint64; the first
    words hold the most telling bits.
    """
    chosen = projection or shipped_projection()
    if geometry.shape[1] == 0:
        return np.zeros((CODE_WORDS, 0), np.uint64)
    codes: Codes = _pack(cells(geometry), chosen.axes, chosen.offset)
    return codes


def cells(geometry: Plane) -> Plane:
    """Cylinder cells of all minutiae after the soft threshold, 0 where nothing is near: (n, CELLS) float32."""
    return _cells(
        geometry,
        _DISC,
        _LAYER_SHARES,
        _SOFTENED,
        p.CYLINDER_RADIUS,
        p.CYLINDER_SIGMA,
        p.CYLINDER_REACH * p.CYLINDER_SIGMA,
        _CELL_TOP,
    )


@njit(cache=True, nogil=True)
def _cells(
    geometry: Plane,
    disc: NDArray[np.int32],
    shares: Plane,
    softened: Plane,
    radius: float,
    sigma: float,
    reach: float,
    top: float,
) -> Plane:
    """See `cells`."""
    count = geometry.shape[1]
    layers = shares.shape[1]
    per_radian = shares.shape[0] / (2.0 * math.pi)
    side = disc.shape[0]
    result = np.zeros((count, (disc.max() + 1) * layers), np.float32)
    pitch = 2.0 * radius / side
    falloff = -0.5 / (sigma * sigma)
    height = 1.0 / (sigma * math.sqrt(2.0 * math.pi))
    span = int(reach / pitch)
    across = np.zeros(side, np.float32)
    for i in range(count):
        x, y, c, s = geometry[0, i], geometry[1, i], geometry[2, i], geometry[3, i]
        for j in range(count):
            rx = geometry[0, j] - x
            ry = geometry[1, j] - y
            if j == i or rx * rx + ry * ry > (radius + reach) * (radius + reach):
                continue
            u = (c * rx + s * ry) / pitch + 0.5 * (side - 1)
            v = (c * ry - s * rx) / pitch + 0.5 * (side - 1)
            turn = math.atan2(c * geometry[3, j] - s * geometry[2, j], c * geometry[2, j] + s * geometry[3, j])
            share = shares[int(turn * per_radian + shares.shape[0] + 0.5) % shares.shape[0]]
            left = max(math.ceil(u) - 1 - span, 0)
            right = min(math.floor(u) + 2 + span, side)
            for column in range(left, right):
                across[column] = height * math.exp(falloff * ((column - u) * pitch) ** 2)
            for row in range(max(math.ceil(v) - 1 - span, 0), min(math.floor(v) + 2 + span, side)):
                down = np.float32(math.exp(falloff * ((row - v) * pitch) ** 2))
                for column in range(left, right):
                    if disc[row, column] >= 0:
                        weight = down * across[column]
                        first = disc[row, column] * layers
                        for layer in range(layers):
                            result[i, first + layer] += weight * share[layer]
        _soften(result[i], softened, top)
    return result


@njit(cache=True, nogil=True)
def _soften(row: Plane, softened: Plane, top: float) -> None:
    """Each cell through the table of the sigmoid, in place."""
    scale = np.float32((softened.shape[0] - 1) / top)
    last = softened.shape[0] - 1
    for cell in range(row.shape[0]):
        if row[cell] > 0.0:
            row[cell] = softened[min(int(row[cell] * scale + np.float32(0.5)), last)]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _project(values: Plane, axes: Plane, offset: Plane) -> Plane:
    """values @ axes − offset: (n, bits). Four axes at a time are read once for all minutiae; the disc's cells × layers
    are a multiple of four by symmetry. Empty cells cost nothing.
    """
    bits = axes.shape[1]
    total = np.empty((values.shape[0], bits), np.float32)
    for i in range(values.shape[0]):
        total[i] = -offset
    for cell in range(0, axes.shape[0], 4):
        first, second, third, fourth = axes[cell], axes[cell + 1], axes[cell + 2], axes[cell + 3]
        for i in range(values.shape[0]):
            v0, v1, v2, v3 = values[i, cell], values[i, cell + 1], values[i, cell + 2], values[i, cell + 3]
            if v0 != 0.0 or v1 != 0.0 or v2 != 0.0 or v3 != 0.0:
                row = total[i]
                for b in range(bits):
                    row[b] += (v0 * first[b] + v1 * second[b]) + (v2 * third[b] + v3 * fourth[b])
    return total


@njit(cache=True, nogil=True)
def _pack(values: Plane, axes: Plane, offset: Plane) -> Codes:
    """Signs of values @ axes − offset as words: (bits / 64, n) uint64."""
    total = _project(values, axes, offset)
    codes = np.zeros((axes.shape[1] // 64, values.shape[0]), np.uint64)
    for i in range(values.shape[0]):
        for word in range(codes.shape[0]):
            bits = np.uint64(0)
            for b in range(64):
                bits |= np.uint64(total[i, word * 64 + b] > 0.0) << np.uint64(b)
            codes[word, i] = bits
    return codes
