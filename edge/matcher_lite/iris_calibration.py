"""Where the two constants of the iris score come from: pairs of seeded random textures that have nothing in common.

A texture is noise with radial fibres (long across the rows, short around the ring) and isotropic grain, partly
covered by a lid. No eye of any person is involved, so what is shipped depends on nobody's data.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import log_ndtr

from edge.matcher_lite import iris_parameters as p
from edge.matcher_lite.iris_encode import fine_bits, rotated_words
from edge.matcher_lite.iris_kernel import EXACT, score_all
from edge.matcher_lite.iris_polar import FloatImage

TEXTURES = 1500
SEED = 20260101
_FMRS = np.logspace(-1.0, -5.0, 17)


@dataclass(frozen=True, slots=True)
class IrisCalibration:
    """sigma, draws: constants of FMR(s) = 1 − (1 − Q(s / σ))^M. pairs: how many the fit saw.

    error_decades: largest distance of the curve from the data between FMR 1e-1 and 1e-5, in decades.
    """

    sigma: float
    draws: float
    pairs: int
    error_decades: float


def calibrate(count: int = TEXTURES, seed: int = SEED) -> IrisCalibration:
    """Compare `count` random textures with each other and fit the curve to the tail of their scores."""
    rng = np.random.default_rng(seed)
    probes, codes, masks = [], [], []
    for _ in range(count):
        bits, trust = fine_bits(random_texture(rng), random_lids(rng))
        turned, trusted = rotated_words(bits), rotated_words(trust)
        probes.append((turned, trusted))
        codes.append(turned[p.ROTATIONS])
        masks.append(trusted[p.ROTATIONS])
    references, reference_masks = np.stack(codes), np.stack(masks)
    scores = np.concatenate(
        [
            score_all(turned, trusted, references[:index], reference_masks[:index], p.JOINT_BITS_MIN, EXACT)
            for index, (turned, trusted) in enumerate(probes)
            if index
        ]
    )
    return fit(scores.astype(np.float64))


def fit(scores: NDArray[np.float64]) -> IrisCalibration:
    """Fit the curve to non-mated scores at false match rates from 1e-1 to as far as ten pairs reach."""
    fmrs = _FMRS[_FMRS * len(scores) >= 10.0]
    at = np.quantile(scores, 1.0 - fmrs)

    def residual(constants: NDArray[np.float64]) -> NDArray[np.float64]:
        tail = np.exp(log_ndtr(-at / np.exp(constants[0])))
        return np.asarray(np.log10(-np.expm1(np.exp(constants[1]) * np.log1p(-tail))) - np.log10(fmrs))

    found = least_squares(residual, np.log([p.SCORE_SIGMA, p.SCORE_DRAWS]))
    sigma, draws = np.exp(found.x)
    return IrisCalibration(float(sigma), float(draws), len(scores), float(np.abs(found.fun).max()))


def random_texture(rng: np.random.Generator) -> FloatImage:
    """A texture (TEXTURE_ROWS, TEXTURE_COLUMNS) of fibres and grain."""
    shape = (p.TEXTURE_ROWS, p.TEXTURE_COLUMNS)
    fibres = cv2.GaussianBlur(rng.normal(size=shape).astype(np.float32), (0, 0), sigmaX=2.0, sigmaY=6.0)
    grain = cv2.GaussianBlur(rng.normal(size=shape).astype(np.float32), (0, 0), sigmaX=3.0, sigmaY=3.0)
    mixed = fibres / fibres.std() + grain / grain.std()
    return np.asarray(120.0 + 15.0 * mixed, dtype=np.float32)


def random_lids(rng: np.random.Generator) -> NDArray[np.bool_]:
    """What two lids leave: an upper one around column 384 (twelve o'clock), a lower one around 128."""
    columns = np.arange(p.TEXTURE_COLUMNS)
    seen = np.ones((p.TEXTURE_ROWS, p.TEXTURE_COLUMNS), dtype=bool)
    for centre, depth_max in ((384, 60.0), (128, 35.0)):
        depth = rng.uniform(0.0, depth_max)
        height = depth * (1.0 - ((columns - centre) / 100.0) ** 2)
        seen &= np.arange(p.TEXTURE_ROWS)[:, None] < p.TEXTURE_ROWS - height[None, :]
    return seen
