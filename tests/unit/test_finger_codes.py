"""What a comparison would miss if codes were wrong: exact sums, the same code wherever the finger lies."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_codes import CODE_WORDS, cells, describe, shipped_projection, whole
from edge.matcher_lite.finger_cylinder import CELLS, cell_levels
from edge.matcher_lite.finger_learn import random_minutiae

Plane = NDArray[np.float32]


def moved(geometry: Plane, degrees: float, shift: tuple[float, float]) -> Plane:
    """The finger laid down again, turned and shifted."""
    turn = np.exp(1j * np.radians(degrees))
    place = (geometry[0] + 1j * geometry[1]) * turn + complex(*shift)
    direction = (geometry[2] + 1j * geometry[3]) * turn
    return np.array([place.real, place.imag, direction.real, direction.imag], np.float32)


def bits(codes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    return np.unpackbits(codes.T.copy().view(np.uint8), axis=1, bitorder="little").astype(bool)


@pytest.fixture(scope="module")
def finger() -> Plane:
    return random_minutiae(np.random.default_rng(21))


def test_codes_are_the_signs_of_the_projected_cells(finger: Plane) -> None:
    chosen = whole(shipped_projection())
    sums = cell_levels(finger).astype(np.int64) @ chosen.axes.astype(np.int64)
    assert np.array_equal(bits(describe(finger)), sums > chosen.offset)


def test_whole_numbers_change_few_bits(finger: Plane) -> None:
    exact = cells(finger) @ shipped_projection().axes > shipped_projection().offset
    assert float(np.mean(bits(describe(finger)) != exact)) < 0.03


def test_no_sum_leaves_sixteen_bits() -> None:
    chosen = whole(shipped_projection())
    axes = chosen.axes.astype(np.int64)
    for sign in (1, -1):
        furthest = p.CELL_LEVELS * np.maximum(sign * axes, 0).sum(0) + np.abs(chosen.offset.astype(np.int64))
        assert furthest.max() < 32768


def test_a_code_stays_where_the_finger_is_turned_and_shifted(finger: Plane) -> None:
    for degrees, shift in ((90.0, (0.0, 0.0)), (33.0, (120.5, -40.25)), (180.0, (1.0, 900.0))):
        apart = np.mean(bits(describe(finger)) != bits(describe(moved(finger, degrees, shift))))
        assert float(apart) < 0.04


def test_a_lone_minutia_has_empty_cells_and_a_crowd_fills_its_own() -> None:
    lone = np.array([[5.0], [5.0], [1.0], [0.0]], np.float32)
    assert not cell_levels(lone).any()
    crowd = np.repeat(lone, 255, axis=1)
    levels = cell_levels(crowd)
    assert levels.shape == (255, CELLS)
    assert levels.max() == p.CELL_LEVELS
    assert np.array_equal(levels[0], levels[254])
    assert describe(np.zeros((4, 0), np.float32)).shape == (CODE_WORDS, 0)


def test_a_neighbour_fills_the_cell_in_front_and_not_the_one_behind() -> None:
    pair = np.array([[0.0, 30.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0]], np.float32)
    ahead, behind = cells(pair)
    assert ahead.max() > 0.9
    assert not np.array_equal(ahead, behind)
    turned = cells(moved(pair, 77.0, (3.0, 4.0)))
    assert np.abs(turned - np.array([ahead, behind])).max() <= 2 / p.CELL_LEVELS
