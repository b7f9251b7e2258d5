"""Core and delta where the finger was drawn with them, and none where it has none."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.sample import FingerPosition
from edge.matcher_lite import find_singularities
from edge.matcher_lite.finger_singularities import SingularKind
from virtual.finger_master import grow_master
from virtual.finger_pattern import FingerPattern, PatternClass
from virtual.finger_presets import GUIDED
from virtual.people import person

NEAR_PX = 14.0  # a ridge and a half at 500 ppi


@cache
def drawn(index: int) -> tuple[FingerPattern, NDArray[np.uint8]]:
    """A finger's pattern and its undistorted print, (600, 460) uint8 at 500 ppi."""
    pattern = person(81, index).pattern(FingerPosition(index % 10 + 1))
    relief = grow_master(pattern, np.random.default_rng(index), creases=0).relief
    return pattern, np.clip(255.0 / (1.0 + np.exp(5.0 * relief)), 0, 255).astype(np.uint8)


def test_cores_and_deltas_lie_where_they_were_drawn() -> None:
    away = []
    for index in range(8):
        pattern, image = drawn(index)
        found = find_singularities(image, 500)
        for kind, truth in ((SingularKind.CORE, pattern.cores), (SingularKind.DELTA, pattern.deltas)):
            mine = [point for point in found if point.kind is kind]
            assert len(mine) == len(truth)
            for point in mine:
                away.append(min(float(np.hypot(point.x - drawn.x, point.y - drawn.y)) for drawn in truth))
    assert max(away) < NEAR_PX
    assert np.median(away) < 6.0


def test_they_keep_their_place_and_direction_when_the_print_is_turned_or_scaled() -> None:
    index = next(i for i in range(40) if drawn(i)[0].pattern in {PatternClass.LEFT_LOOP, PatternClass.RIGHT_LOOP})
    image = drawn(index)[1]
    upright = {point.kind: point for point in find_singularities(image, 500)}
    turned = {point.kind: point for point in find_singularities(np.rot90(image), 500)}
    coarse = {point.kind: point for point in find_singularities(np.kron(image, np.ones((2, 2), np.uint8)), 1000)}
    for kind, point in upright.items():
        assert (turned[kind].x, turned[kind].y) == pytest.approx((point.y, 459 - point.x), abs=4.0)
        turn = turned[kind].angle - point.angle - np.pi / 2
        fold = 1 if kind is SingularKind.CORE else 3
        assert np.cos(fold * turn) > np.cos(0.3)
        assert (coarse[kind].x, coarse[kind].y) == pytest.approx((point.x, point.y), abs=3.0)
    assert -2.6 < np.angle(np.exp(1j * upright[SingularKind.CORE].angle)) < -0.5  # a loop opens downwards


def test_touches_invent_hardly_any() -> None:
    surplus = 0
    for index in range(10):
        position = FingerPosition(index % 10 + 1)
        someone = person(82, index)
        found = find_singularities(someone.finger(position, 0, preset=GUIDED), 500)
        pattern = someone.pattern(position)
        cores = sum(point.kind is SingularKind.CORE for point in found)
        surplus += max(cores - len(pattern.cores), 0) + max(len(found) - cores - len(pattern.deltas), 0)
    assert surplus <= 1


def test_arches_and_noise_have_none() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (400, 350), dtype=np.uint8)
    assert find_singularities(noise, 500) == ()
    arch = next(i for i in range(400) if person(81, i).pattern(FingerPosition(i % 10 + 1)).pattern is PatternClass.ARCH)
    assert find_singularities(drawn(arch)[1], 500) == ()
