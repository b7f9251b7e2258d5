"""Iris codes compare as their bits say, survive bytes, and are found among many."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.comparison import ComparisonScore, threshold_at
from contract.errors import RekamError, RemoteError
from contract.sample import IrisPosition
from edge.matcher_lite import iris_parameters as p
from edge.matcher_lite.iris_compare import compare_iris, fuse_eyes, log10_fmr, normalised, score_of
from edge.matcher_lite.iris_encode import fine_bits, rotated_words
from edge.matcher_lite.iris_gallery import IrisGallery
from edge.matcher_lite.iris_template import TEMPLATE_BYTES, IrisTemplate, unusable


def template(seed: int, *, turned: int = 0, noise: float = 0.0, seen: float = 1.0) -> IrisTemplate:
    """A template of a random texture, optionally turned by texture columns, noisy, or partly covered."""
    rng = np.random.default_rng(seed)
    texture = rng.normal(120.0, 25.0, (p.TEXTURE_ROWS, p.TEXTURE_COLUMNS)).astype(np.float32)
    texture += np.random.default_rng(seed + 9999).normal(0.0, 1.0, texture.shape).astype(np.float32) * noise
    valid = np.ones(texture.shape, dtype=bool)
    valid[:, int(seen * p.TEXTURE_COLUMNS) :] = False
    bits, trust = fine_bits(np.roll(texture, turned, axis=1), np.roll(valid, turned, axis=1))
    codes, masks = rotated_words(bits), rotated_words(trust)
    code, mask = codes[p.ROTATIONS].copy(), masks[p.ROTATIONS].copy()
    return IrisTemplate(IrisPosition.LEFT, 80, True, "", code, mask, (codes, masks))


SECOND = template(2)


def test_an_eye_matches_itself_beyond_any_threshold() -> None:
    score = compare_iris(template(1), template(1))
    assert score.value > 500
    assert score.extrapolated
    assert score.value >= threshold_at(1e-6)


def test_different_eyes_score_as_their_false_match_rate_says() -> None:
    eyes = [template(seed) for seed in range(40)]
    values = [compare_iris(a, b).value for i, a in enumerate(eyes) for b in eyes[:i]]
    assert np.mean(np.array(values) >= threshold_at(1e-1)) < 0.2
    assert max(values) < threshold_at(1e-5)


@pytest.mark.parametrize("turned", [-40, -21, -2, 0, 3, 17, 40])
def test_a_turned_head_is_found_up_to_28_degrees(turned: int) -> None:
    assert compare_iris(template(5, turned=turned), template(5, noise=5.0)).value > 200


def test_a_head_turned_further_is_no_match() -> None:
    assert compare_iris(template(5, turned=90), template(5)).value < threshold_at(1e-4)


def test_too_few_common_bits_are_no_evidence() -> None:
    left, right = template(3, seen=0.15), template(3)
    assert compare_iris(left, right).value == 0.0
    assert compare_iris(unusable(IrisPosition.LEFT, "x"), right).value == 0.0


def test_the_score_never_saturates_and_never_falls() -> None:
    values = [score_of(score).value for score in np.linspace(-0.2, 0.75, 400)]
    assert values == sorted(values)
    assert len({round(value, 6) for value in values if value > 1.0}) == sum(value > 1.0 for value in values)
    assert math.isfinite(log10_fmr(3.0))
    assert log10_fmr(3.0) < log10_fmr(2.0)
    assert normalised(0, 0) == 0.0


def test_two_weak_eyes_are_stronger_together() -> None:
    weak = ComparisonScore(value=25.0)
    assert 35.0 < fuse_eyes([weak, weak]).value < 50.0
    assert fuse_eyes([weak]).value == pytest.approx(25.0)
    assert fuse_eyes([]).value == 0.0
    assert fuse_eyes([ComparisonScore(value=0.0)] * 2).value == 0.0
    assert fuse_eyes([ComparisonScore(value=900.0)] * 2).value > 1700


def test_a_template_survives_bytes_and_still_matches() -> None:
    original = template(7)
    again = IrisTemplate.from_bytes(original.to_bytes())
    assert len(original.to_bytes()) == TEMPLATE_BYTES <= 512 + 16
    assert (again.position, again.quality, again.usable, again.stamp) == (IrisPosition.LEFT, 80, True, original.stamp)
    assert compare_iris(template(7, turned=6), again).value > 500
    assert compare_iris(again, original).value > 500
    assert compare_iris(again, template(8)).value < threshold_at(1e-4)


@given(st.binary(max_size=2 * TEMPLATE_BYTES))
@settings(max_examples=100, deadline=None)
def test_garbage_is_no_template(garbage: bytes) -> None:
    whole = template(2).to_bytes()
    for octets in (
        garbage,
        whole[: TEMPLATE_BYTES - len(garbage)] + garbage,
        garbage[:10] + whole[len(garbage[:10]) :],
    ):
        with contextlib.suppress(RemoteError):
            assert compare_iris(IrisTemplate.from_bytes(octets), SECOND).value >= 0.0


def test_a_template_of_another_version_asks_for_its_image() -> None:
    octets = bytearray(template(2).to_bytes())
    octets[5] += 1
    with pytest.raises(RemoteError, match="Extract the template again"):
        IrisTemplate.from_bytes(bytes(octets))


def test_a_gallery_finds_the_same_scores_as_one_by_one() -> None:
    gallery = IrisGallery()
    eyes = [template(seed) for seed in range(30)]
    for seed, eye in enumerate(eyes):
        gallery.add(f"eye-{seed}", eye)
    probe = template(17, turned=8, noise=10.0)
    found = gallery.search(probe, count_max=5)
    assert found[0].reference_id == "eye-17"
    assert found[0].score.value == pytest.approx(compare_iris(probe, eyes[17]).value, rel=1e-4)
    assert [candidate.score.value for candidate in found] == sorted(
        (candidate.score.value for candidate in found), reverse=True
    )
    assert gallery.search(probe, value_min=threshold_at(1e-6))[1:] == []


def test_the_prefiltered_search_finds_what_the_exact_one_finds() -> None:
    gallery = IrisGallery()
    for seed in range(60):
        gallery.add(f"eye-{seed}", template(seed))
    for seed in range(0, 60, 6):
        probe = template(seed, turned=seed - 30, noise=12.0)
        exact = gallery.search(probe, value_min=threshold_at(1e-4))
        assert gallery.search(probe, value_min=threshold_at(1e-4), exact=False) == exact
        assert exact[0].reference_id == f"eye-{seed}"


def test_a_gallery_grows_replaces_and_forgets() -> None:
    gallery = IrisGallery()
    assert gallery.search(template(0)) == []
    few = [template(seed) for seed in range(7)]
    for number in range(1500):
        gallery.add(str(number), few[number % 7])
    gallery.add("3", template(99))
    assert len(gallery) == 1500
    assert gallery.search(template(99))[0].reference_id == "3"
    gallery.remove("3")
    assert "3" not in gallery
    assert gallery.search(template(99), value_min=threshold_at(1e-6)) == []
    assert "1499" in gallery
    with pytest.raises(RekamError):
        gallery.remove("3")
