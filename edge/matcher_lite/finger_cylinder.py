"""Draws the surroundings of a minutia that neither rotation nor translation of the finger changes.

Around the minutia stands a cylinder: a disc of cells in space, turned to the minutia's direction, times layers of
direction difference. Its neighbours blur into the cells, each by a Gaussian in space times its share of the layers; a
ramp cuts the densities into a few levels. After Cappelli, Ferrara, Maltoni, "Minutia Cylinder-Code" (2010), without its
validity masks.

Gaussians and shares are read from tables, and everything is counted in 16-bit whole numbers: a neighbour costs one
product of a column and a row, and one weighted sum a layer, in loops without branches; and every machine draws the
same cells from the same minutiae.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p

Plane = NDArray[np.float32]
Levels = NDArray[np.uint8]
Places = NDArray[np.int32]
Table = NDArray[np.int16]

_SIDE = p.CYLINDER_SIDE
_LAYERS = p.CYLINDER_LAYERS
_LANES = 16  # columns of the grid in memory: a row fills vector registers
_GRID = _SIDE * _LANES
_PITCH = 2.0 * p.CYLINDER_RADIUS / _SIDE
_REACH = p.CYLINDER_REACH * p.CYLINDER_SIGMA  # px: farther contributions are nil
_NEAR = np.float32((p.CYLINDER_RADIUS + _REACH) ** 2)
_STEPS = 32  # places per cell in the table of Gaussians
_EDGE = math.ceil(_REACH / _PITCH) + 1  # cells of the table on either side of the grid
_ROWS = 6  # rows that a neighbour reaches: 2.4 cells either way
_WINDOW = _ROWS * _LANES
_TO_STEPS = np.float32(_STEPS / _PITCH)
_ORIGIN = np.float32(((_SIDE - 1) / 2 + _EDGE) * _STEPS + 0.5)  # the axis, in steps
_TURN_STEPS = 1024
_HEIGHT = 181  # of a table's Gaussian: the product of two fits 16 bits
_SHARE_ONE = 4096  # a whole layer
_SHARE_MIN = 40
_PEAK = _HEIGHT * _HEIGHT * _SHARE_ONE / 65536  # density that a neighbour whole in one layer has in its own cell
_FLOOR = np.int16(round(p.CELL_FLOOR * _PEAK))
_FULL = np.int16(round(p.CELL_FULL * _PEAK))
_LEVEL = round(65536 * p.CELL_LEVELS / (int(_FULL) - int(_FLOOR)))


def _gaussians() -> Table:
    """Gaussian around each place, in steps from `_EDGE` cells before the grid, at each column: (places, lanes).

    The product of two, one across and one down, is the neighbour's Gaussian in the plane.
    """
    place = np.arange(math.ceil((_SIDE - 1 + 2 * _EDGE) * _STEPS) + 2) / _STEPS - _EDGE
    gap = (np.arange(_SIDE)[None, :] - place[:, None]) * _PITCH
    table = np.zeros((place.size, _LANES), np.int16)
    table[:, :_SIDE] = np.round(_HEIGHT * np.exp(-0.5 * (gap / p.CYLINDER_SIGMA) ** 2))
    return table


def _layer_shares() -> Table:
    """Area of a Gaussian around each direction difference that falls on each layer: (steps of a turn, layers).

    What is too little to see is 0: adding nothing costs less than asking first.
    """
    difference = np.arange(_TURN_STEPS) * (2 * np.pi / _TURN_STEPS)
    width = 2 * np.pi / _LAYERS
    centre = -np.pi + (np.arange(_LAYERS) + 0.5) * width
    gap = np.mod(centre[None, :] - difference[:, None] + np.pi, 2 * np.pi) - np.pi
    scale = 1.0 / (p.CYLINDER_SIGMA_DIRECTION * math.sqrt(2.0))
    area = [[math.erf((g + width / 2) * scale) - math.erf((g - width / 2) * scale) for g in row] for row in gap]
    shares = np.round(0.5 * _SHARE_ONE * np.array(area)).astype(np.int16)
    return np.where(shares > _SHARE_MIN, shares, 0).astype(np.int16)


def _disc() -> Places:
    """Where each cell of the disc lies among the places of all grids, layer by layer of a cell: (CELLS,)."""
    centre = (np.arange(_SIDE) - (_SIDE - 1) / 2) * _PITCH
    rows, columns = np.nonzero(np.hypot(*np.meshgrid(centre, centre)) <= p.CYLINDER_RADIUS)
    places = (rows * _LANES + columns)[:, None] + np.arange(_LAYERS)[None, :] * _GRID
    return places.reshape(-1).astype(np.int32)


_GAUSSIANS = _gaussians()
_SHARES = _layer_shares()
DISC = _disc()
CELLS = int(DISC.size)
PLACES = _LAYERS * _GRID
SCRATCH = PLACES + _WINDOW
_IN_DISC = np.zeros(PLACES, np.uint8)
_IN_DISC[DISC] = 1
TABLES = (_GAUSSIANS, _SHARES, _IN_DISC)


def cell_levels(geometry: Plane) -> Levels:
    """Levels 0 to CELL_LEVELS of all minutiae's cells, 0 where nothing is near: (n, CELLS) uint8.

    geometry: (4, n) float32 rows x, y (px at 500 ppi, y up), cos, sin.
    """
    return np.asarray(_place_levels(geometry, *TABLES)[:, DISC], np.uint8)


@njit(cache=True, nogil=True, error_model="numpy")
def _place_levels(geometry: Plane, gaussians: Table, shares: Table, in_disc: Levels) -> Levels:
    """Levels of all places: (n, PLACES)."""
    turns = turn_steps(geometry)
    scratch = np.empty(SCRATCH, np.int16)
    levels = np.empty((geometry.shape[1], _LAYERS * _GRID), np.uint8)
    for i in range(levels.shape[0]):
        fill_levels(geometry, turns, i, gaussians, shares, in_disc, scratch, levels[i])
    return levels


@njit(cache=True, nogil=True, error_model="numpy")
def turn_steps(geometry: Plane) -> Places:
    """Directions of all minutiae in steps of the table of shares."""
    turns = np.empty(geometry.shape[1], np.int32)
    for i in range(turns.shape[0]):
        turns[i] = int(math.atan2(geometry[3, i], geometry[2, i]) * (_TURN_STEPS / (2.0 * math.pi)) + _TURN_STEPS + 0.5)
    return turns


@njit(cache=True, nogil=True, error_model="numpy")
def fill_levels(
    geometry: Plane, turns: Places, i: int, gaussians: Table, shares: Table, in_disc: Levels, scratch: Table,
    level: Levels,
) -> None:  # fmt: skip
    """Levels of minutia i at all places, 0 at those outside of the disc, into `level`, (PLACES,).

    turns: of `turn_steps`. gaussians, shares, in_disc: TABLES. scratch: (SCRATCH,).
    """
    everywhere = scratch[: _LAYERS * _GRID]
    density = everywhere.reshape((_LAYERS, _GRID))
    _surround(geometry, turns, i, gaussians, shares, density, scratch[_LAYERS * _GRID :])
    for k in range(everywhere.shape[0]):
        above = np.int16(everywhere[k] - _FLOOR)
        level[k] = ((np.int32(above if above > 0 else 0) * _LEVEL + 32768) >> 16) * in_disc[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _surround(
    geometry: Plane, turns: Places, i: int, gaussians: Table, shares: Table, density: Table, plane: Table
) -> None:
    """Density of minutia i's neighbours in each cell of each layer's grid, (layers, grid), at most _FULL.

    plane is scratch. Types are spelt out so that the compiler stays in 16 bits, 32 sums to a register.
    """
    density[:] = 0
    x, y, c, s = geometry[0, i], geometry[1, i], geometry[2, i], geometry[3, i]
    for j in range(geometry.shape[1]):
        rx = geometry[0, j] - x
        ry = geometry[1, j] - y
        if j == i or rx * rx + ry * ry > _NEAR:
            continue
        across = gaussians[int((c * rx + s * ry) * _TO_STEPS + _ORIGIN)]
        place = int((c * ry - s * rx) * _TO_STEPS + _ORIGIN)
        down = gaussians[place]
        first = min(max(place // _STEPS - _EDGE - (_ROWS // 2 - 1), 0), _SIDE - _ROWS)
        for row in range(_ROWS):
            for lane in range(across.shape[0]):
                plane[row * _LANES + lane] = down[first + row] * across[lane]
        share = shares[(turns[j] - turns[i]) & (_TURN_STEPS - 1)]
        for layer in range(_LAYERS):
            part = np.int32(share[layer])
            target = density[layer, first * _LANES : first * _LANES + _WINDOW]
            for k in range(_WINDOW):
                total = np.int16(target[k] + np.int16((np.int32(plane[k]) * part) >> 16))
                target[k] = total if total < _FULL else _FULL
