"""What a decision rests on: the same finger scores high, another low, whichever comes first."""

from __future__ import annotations

import dataclasses
import itertools

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from contract.comparison import Decision
from contract.errors import RemoteError
from contract.sample import FingerPosition
from edge.matcher_lite import FingerTemplate, compare, extract
from edge.matcher_lite.finger_calibration import calibrate, shipped_calibration
from edge.matcher_lite.finger_template import build
from edge.matcher_lite.finger_warm import ridge_pattern


def moved(image: NDArray[np.uint8], degrees: float, shift: tuple[float, float], seed: int = 0) -> NDArray[np.uint8]:
    """The print laid down again: turned, shifted, with sensor noise."""
    height, width = image.shape
    motion = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    motion[:, 2] += shift
    turned = cv2.warpAffine(image, motion, (width, height), borderValue=250)
    noise = np.random.default_rng(seed).normal(0, 12, turned.shape)
    return np.clip(turned + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def fingers() -> list[FingerTemplate]:
    return [extract(ridge_pattern(seed)) for seed in range(1, 7)]


def test_a_finger_matches_itself_turned_and_shifted(fingers: list[FingerTemplate]) -> None:
    for seed, reference in enumerate(fingers, 1):
        probe = extract(moved(ridge_pattern(seed), 25.0, (18.0, -24.0), seed))
        assert compare(probe, reference).decide(1e-4) is Decision.MATCH


def test_another_finger_does_not_match(fingers: list[FingerTemplate]) -> None:
    values = [compare(a, b).value for i, a in enumerate(fingers) for b in fingers[:i]]
    mated = [compare(a, a).value for a in fingers]
    assert max(values) < min(mated) / 2


def test_the_order_of_the_two_does_not_matter(fingers: list[FingerTemplate]) -> None:
    for first in fingers:
        for second in fingers:
            there, back = compare(first, second, explain=True), compare(second, first, explain=True)
            assert there.value == pytest.approx(back.value, abs=1e-9)
            assert sorted(there.paired) == sorted((i, j) for j, i in back.paired)


def test_paired_minutiae_are_the_same_points_of_the_finger(fingers: list[FingerTemplate]) -> None:
    probe = extract(moved(ridge_pattern(2), 0.0, (10.0, 6.0)))
    score = compare(probe, fingers[1], explain=True)
    assert len(score.paired) >= 10
    gaps = [np.hypot(probe.x[i] - fingers[1].x[j] - 10, probe.y[i] - fingers[1].y[j] - 6) for i, j in score.paired]
    assert np.median(gaps) < 3.0
    assert compare(probe, fingers[1]).paired == ()


@pytest.mark.parametrize("seed", range(5))
def test_skin_that_was_pulled_apart_meets_by_its_larger_half(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y, angle = random.uniform(20, 280, 60), random.uniform(20, 330, 60), random.uniform(0, 2 * np.pi, 60)
    right = x > 150
    whole, stretched = of_minutiae(x, y, angle), of_minutiae(x + 60.0 * right, y, angle)
    paired = compare(stretched, whole, explain=True).paired
    assert sum(i == j for i, j in paired) >= 0.9 * min(right.sum(), (~right).sum())


def of_minutiae(x: NDArray[np.float64], y: NDArray[np.float64], angle: NDArray[np.float64]) -> FingerTemplate:
    kind, quality = np.ones(x.size, np.uint8), np.full(x.size, 50, np.uint8)
    return build(
        x, y, angle, kind, quality, size=(400, 400), position=FingerPosition.UNKNOWN, quality=80, advice=(),
        stamp=("drawn", 1),
    )  # fmt: skip


def test_no_usable_finger_scores_nothing(fingers: list[FingerTemplate]) -> None:
    blank = extract(np.full((300, 300), 255, np.uint8))
    assert compare(blank, fingers[0]).value == 0.0
    assert compare(fingers[0], blank).value == 0.0
    assert compare(blank, blank).value == 0.0


def test_templates_of_another_version_are_refused_but_iso_is_not(fingers: list[FingerTemplate]) -> None:
    old = dataclasses.replace(fingers[0], version=fingers[0].version + 1)
    with pytest.raises(RemoteError, match="do not compare"):
        compare(old, fingers[0])
    assert compare(FingerTemplate.from_iso(old.to_iso()), fingers[0]).value > 60


def test_a_higher_raw_score_never_means_less() -> None:
    calibration = shipped_calibration()
    raw = np.geomspace(1e-4, 1e3, 400)
    values = [calibration.meaning(float(score))[0] for score in raw]
    assert all(b > a for a, b in itertools.pairwise(values))
    assert calibration.meaning(0.0) == (0.0, False)
    assert calibration.meaning(float(calibration.raw[-1]) * 1.01)[1]
    for value in (10.0, 30.0, 60.0, 90.0):
        assert calibration.meaning(calibration.raw_at(value))[0] == pytest.approx(value, abs=1e-6)


def test_a_calibration_names_the_rate_that_it_counted() -> None:
    impostors = np.random.default_rng(1).exponential(1.0, 200_000)
    calibration = calibrate(impostors)
    for fmr in (0.1, 1e-2, 1e-3):
        threshold = calibration.raw_at(-10 * np.log10(fmr))
        assert float((impostors >= threshold).mean()) == pytest.approx(fmr, rel=0.1)
