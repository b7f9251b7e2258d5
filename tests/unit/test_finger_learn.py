"""What whoever learns a projection would miss: the same numbers again, one from prints that works, a file refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from contract.errors import RekamError, RemoteError
from contract.sample import FingerPosition
from edge.matcher_lite import FingerTemplate
from edge.matcher_lite.__main__ import app
from edge.matcher_lite.finger_codes import (
    Projection,
    describe,
    load_projection,
    reproduces,
    shipped_projection,
    store_projection,
)
from edge.matcher_lite.finger_evaluation import evaluate
from edge.matcher_lite.finger_learn import learn_from_templates, learn_projection, random_minutiae, second_impression
from edge.matcher_lite.finger_template import build
from edge.matcher_lite.finger_warm import ridge_pattern

runner = CliRunner()
FINGERS = 40
IMPRESSIONS = 4


def template(geometry: NDArray[np.float32]) -> FingerTemplate:
    """A template of bare minutiae."""
    count = geometry.shape[1]
    return build(
        geometry[0] + 400, 400 - geometry[1], np.arctan2(geometry[3], geometry[2]),
        np.ones(count, np.uint8), np.full(count, 80, np.uint8),
        size=(800, 800), position=FingerPosition.UNKNOWN, quality=80, advice=(), stamp=("bare", 1),
    )  # fmt: skip


@pytest.fixture(scope="module")
def seen_often() -> list[list[FingerTemplate]]:
    random = np.random.default_rng(5)
    ideal = [random_minutiae(random) for _ in range(FINGERS)]
    return [[template(second_impression(random, each)[0]) for _ in range(IMPRESSIONS)] for each in ideal]


@pytest.fixture(scope="module")
def small() -> Projection:
    return learn_projection(3, 50)


def test_the_same_seed_learns_the_same_and_another_does_not(small: Projection) -> None:
    assert reproduces(
        learn_projection(3, 50), Projection(small.axes.astype(np.float16).astype(np.float32), small.offset)
    )
    assert not reproduces(small, shipped_projection())


def test_a_projection_learnt_from_prints_knows_a_minutia_again(seen_often: list[list[FingerTemplate]]) -> None:
    learnt = learn_from_templates(seen_often)
    random = np.random.default_rng(8)
    ideal = random_minutiae(random)
    (one, origin_one), (two, origin_two) = second_impression(random, ideal), second_impression(random, ideal)
    _, i, j = np.intersect1d(origin_one[origin_one >= 0], origin_two[origin_two >= 0], return_indices=True)
    bits = [describe(geometry, learnt) for geometry in (one, two)]
    differing = np.bitwise_count(bits[0][:, i, None] ^ bits[1][:, None, j]).astype(np.int64).sum(0)
    same = np.eye(i.size, dtype=bool)
    assert np.median(differing[same]) < np.percentile(differing[~same], 5)


def test_too_few_mated_minutiae_are_refused(seen_often: list[list[FingerTemplate]]) -> None:
    with pytest.raises(RemoteError):
        learn_from_templates(seen_often[:1])


def test_a_stored_projection_is_read_back_and_anything_else_refused(small: Projection, tmp_path: Path) -> None:
    target = tmp_path / "projection"
    store_projection(small, target)
    assert reproduces(small, load_projection(target))
    store_projection(Projection(small.axes[:10], small.offset), target)
    with pytest.raises(RemoteError, match="other cylinders"):
        load_projection(target)
    for octets in (b"", b"PK\x03\x04 half", bytes(100)):
        target.write_bytes(octets)
        with pytest.raises(RemoteError):
            load_projection(target)


def test_prints_are_evaluated_with_another_projection(small: Projection, tmp_path: Path) -> None:
    for finger in (1, 2):
        for impression in (1, 2):
            cv2.imwrite(str(tmp_path / f"{finger}_{impression}.png"), np.roll(ridge_pattern(finger), 4 * impression, 0))
    shipped, other = evaluate(tmp_path), evaluate(tmp_path, projection=small)
    assert other.mated.min() > other.cross.max()
    assert not np.array_equal(shipped.mated, other.mated)


def test_what_is_learnt_from_prints_never_replaces_what_ships(tmp_path: Path) -> None:
    refused = runner.invoke(app, ["learn", str(tmp_path)])
    assert isinstance(refused.exception, RekamError)
    assert "--out" in refused.exception.next_step


def test_the_check_says_when_another_seed_learns_something_else() -> None:
    result = runner.invoke(app, ["learn", "--seed", "9", "--fingers", "50", "--check"])
    assert result.exit_code == 1
    assert "differs" in result.output
