"""Two iris templates to a score, and the score to a false match rate.

The score is the share of agreeing bits beyond chance at the best rotation, times the root of the jointly trusted
bits (after Daugman's normalisation), so that a few bits that happen to agree weigh no more than they should.

For eyes that have nothing in common the bits of a code behave like fewer independent coins, and the best of many
rotations like the best of fewer independent draws. So FMR(s) = 1 − (1 − Q(s / σ))^M with two constants. They were
fitted to pairs of seeded random textures (`rekam-match calibrate-iris`), not to anyone's eyes; the room's README
shows them against real ones. The curve is monotone and has no ceiling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from contract.comparison import ComparisonScore
from edge.matcher_lite import iris_parameters as p
from edge.matcher_lite.iris_kernel import EXACT, Words, best_rotation
from edge.matcher_lite.iris_template import IrisTemplate, probe_rotations


def compare_iris(probe: IrisTemplate, reference: IrisTemplate) -> ComparisonScore:
    """Compare two eyes: value −10·log10 FMR, 0 where too few bits are trusted by both.

    Rotations of ±28 degrees are tried. Eyes that are known to be left and right are compared all the
    same: a label can be wrong, and the codes tell.
    """
    if probe.rotations is None and reference.rotations is not None:
        probe, reference = reference, probe  # turning either eye is the same; the one from an image turns finer
    codes, masks = probe_rotations(probe)
    agreement, joint, _ = best_rotation(
        codes, masks, _one_row(reference.code), _one_row(reference.mask), 0, p.JOINT_BITS_MIN, EXACT
    )
    return score_of(normalised(agreement, joint))


def normalised(agreement: int, joint: int) -> float:
    """(½ − HD)·√(joint / 911): 0 for chance, about 0.4 for one eye twice."""
    return 0.5 * agreement / math.sqrt(joint * p.JOINT_BITS_TYPICAL) if joint else 0.0


def score_of(score: float) -> ComparisonScore:
    """A normalised score as −10·log10 of the false match rate of a threshold there."""
    value = max(-10.0 * log10_fmr(score), 0.0)
    return ComparisonScore(value=value, extrapolated=value > p.CALIBRATED_TO)


def log10_fmr(score: float) -> float:
    """log10 of 1 − (1 − Q(score / σ))^M, exact in the far tail; 0 for a score that is no better than chance."""
    if score <= 0.0:
        return 0.0
    z = score / p.SCORE_SIGMA
    tail = 0.5 * math.erfc(z / math.sqrt(2.0))
    if tail < 1e-300:
        # Q(z) by its asymptotic series, where erfc runs out of floating point.
        return math.log10(p.SCORE_DRAWS) + (-0.5 * z * z - math.log(z * math.sqrt(2.0 * math.pi))) / math.log(10.0)
    return math.log10(max(-math.expm1(p.SCORE_DRAWS * math.log1p(-tail)), 1e-300))


def fuse_eyes(scores: Sequence[ComparisonScore]) -> ComparisonScore:
    """One score for both eyes of two persons.

    The eyes' textures are independent, so the logarithms of their false match rates add up; the probability that a
    product of n uniform values is as small as this is the false match rate of the sum (Fisher's method).
    """
    total = sum(score.value for score in scores) * math.log(10.0) / 10.0
    if not scores or total <= 0.0:
        return ComparisonScore(value=0.0)
    terms = [k * math.log(total) - math.lgamma(k + 1) for k in range(len(scores))]
    peak = max(terms)
    log_rest = peak + math.log(sum(math.exp(term - peak) for term in terms))
    value = max((total - log_rest) * 10.0 / math.log(10.0), 0.0)
    return ComparisonScore(value=value, extrapolated=value > p.CALIBRATED_TO)


def _one_row(words: Words) -> Words:
    return np.ascontiguousarray(words).reshape(1, -1)
