"""An iris score means what it says on textures that the calibration has not seen; the coarse look loses no mate."""

from __future__ import annotations

import math

import numpy as np

from edge.matcher_lite import iris_parameters as p
from edge.matcher_lite.iris_calibration import calibrate, random_lids, random_texture
from edge.matcher_lite.iris_compare import log10_fmr
from edge.matcher_lite.iris_encode import fine_bits, rotated_words
from edge.matcher_lite.iris_kernel import EXACT, LIKELY, score_all


def test_the_shipped_constants_are_those_of_the_calibration() -> None:
    found = calibrate(count=400)
    for score in (0.10, 0.13, 0.16):
        z, shipped = score / found.sigma, log10_fmr(score)
        tail = 0.5 * math.erfc(z / math.sqrt(2.0))
        assert abs(np.log10(-np.expm1(found.draws * np.log1p(-tail))) - shipped) < 0.35


def test_a_threshold_lets_through_what_its_name_says() -> None:
    rng = np.random.default_rng(99)
    codes, masks = [], []
    for _ in range(300):
        bits, trust = fine_bits(random_texture(rng), random_lids(rng))
        codes.append(rotated_words(bits))
        masks.append(rotated_words(trust))
    upright = np.stack([code[p.ROTATIONS] for code in codes])
    upright_masks = np.stack([mask[p.ROTATIONS] for mask in masks])
    scores = np.concatenate(
        [score_all(codes[i], masks[i], upright[:i], upright_masks[:i], p.JOINT_BITS_MIN, EXACT) for i in range(1, 300)]
    )
    values = np.array([-10.0 * log10_fmr(float(score)) for score in scores])
    for fmr in (1e-1, 1e-2, 1e-3):
        assert fmr / 2 < np.mean(values >= -10.0 * np.log10(fmr)) < fmr * 2


def test_the_coarse_look_loses_no_mate_that_the_exact_one_finds() -> None:
    rng = np.random.default_rng(7)
    for _ in range(60):
        texture = random_texture(rng)
        noisy = np.roll(texture, int(rng.integers(-40, 41)), axis=1) + rng.normal(0, 35, texture.shape)
        bits, trust = fine_bits(noisy.astype(np.float32), random_lids(rng))
        codes, masks = rotated_words(bits), rotated_words(trust)
        bits, trust = fine_bits(texture, random_lids(rng))
        code, mask = rotated_words(bits)[p.ROTATIONS :][:1], rotated_words(trust)[p.ROTATIONS :][:1]
        exact = score_all(codes, masks, code, mask, p.JOINT_BITS_MIN, EXACT)[0]
        likely = score_all(codes, masks, code, mask, p.JOINT_BITS_MIN, LIKELY)[0]
        if log10_fmr(float(exact)) <= -3.0:
            assert likely == exact
