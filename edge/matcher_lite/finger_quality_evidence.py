"""Measures on which a finger's quality is judged by the learnt model: area, belief, minutiae, contrast, grain, motion.

Every measure is brought to 0..1 by bounds of its own, so that one 8-bit scale serves the model's whole input. None of
them knows absolute grey levels: a scanner's brightness is no quality of the finger.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_input import Window
from edge.matcher_lite.finger_minutiae import Residues
from edge.matcher_lite.finger_quality_sums import Counts, Flags, Sums, Texture, moments, spread, texture
from edge.matcher_lite.finger_segment import Region

Plane = NDArray[np.float32]

# What is measured, and the values that become 0 and 1.
MEASURES: dict[str, tuple[float, float]] = {
    "area_mm2": (0.0, 260.0),
    "sound_area_mm2": (0.0, 220.0),
    "trust_mean": (0.3, 1.0),
    "trust_p10": (0.0, 0.9),
    "trust_p30": (0.2, 1.0),
    "trust_p50": (0.3, 1.0),
    "trust_p80": (0.5, 1.0),
    "trust_deviation": (0.0, 0.4),
    "patchiness": (0.0, 0.3),
    "coherence_mean": (0.5, 1.0),
    "coherence_p20": (0.3, 1.0),
    "likeness_mean": (0.3, 1.0),
    "minutiae": (0.0, 90.0),
    "minutiae_sure": (0.0, 60.0),
    "evidence": (0.0, 40.0),
    "minutia_score_mean": (0.3, 1.0),
    "minutiae_spread_mm": (0.0, 7.0),
    "neighbours": (0.0, 30.0),
    "residues_per_mm2": (0.0, 1.5),
    "residues_kept": (0.0, 1.0),
    "darkness": (0.1, 0.9),
    "contrast": (0.0, 1.0),
    "local_contrast": (0.1, 0.5),
    "skewness": (-1.5, 1.5),
    "kurtosis": (1.0, 4.5),
    "thick_dark": (0.0, 0.3),
    "thick_light": (0.0, 0.3),
    "roughness": (0.0, 1.0),
    "grain": (0.0, 1.3),
    "fine_noise": (0.0, 0.5),
    "sharpness": (0.3, 1.6),
    "one_way_contrast": (0.0, 0.35),
    "one_way_sharpness": (0.0, 0.5),
    "one_direction": (0.0, 1.0),
    "bend": (0.0, 0.12),
    "wave_number": (0.4, 1.4),
    "cut_off": (0.0, 0.6),
    "fullness": (0.4, 1.0),
    "slenderness": (0.4, 1.6),
    "stains": (0.0, 0.6),
}


class Stages(NamedTuple):
    """What the extractor knows when quality is judged.

    ridges: (H, W), like `region`. theta, coherence, trust: at half resolution. found, kept: minutiae before and after
    pruning. window: what the scanner saw. levels: how many of the finger's pixels have each grey level, (256,).
    """

    region: Region
    ridges: Plane
    theta: Plane
    coherence: Plane
    trust: Plane
    found: Residues
    kept: Residues
    window: Window
    levels: Counts


def evidence(stages: Stages) -> Plane:
    """The measures in the order of MEASURES, each 0..1: (len(MEASURES),) float32."""
    half = tuple(reversed(stages.trust.shape))
    inside = cv2.resize(stages.region.interior, half, interpolation=cv2.INTER_NEAREST) > 0
    if not inside.any():
        return np.zeros(len(MEASURES), np.float32)
    plane = np.asarray(cv2.resize(stages.region.plane, half, interpolation=cv2.INTER_AREA), np.float32)
    measured = {
        **_belief(stages.trust, stages.coherence, inside),
        "patchiness": _patchiness(stages.trust, inside),
        **_minutiae(stages.found, stages.kept, float(inside.sum()) * _CELL_MM2),
        **_tone(stages.region, stages.levels),
        **_texture(stages, plane, inside),
        **_place(stages.region, stages.window),
    }
    values = np.nan_to_num([measured[name] for name in MEASURES])
    return np.asarray(np.clip((values - _LOW) / (_HIGH - _LOW), 0.0, 1.0), np.float32)


_LOW, _HIGH = np.array(list(MEASURES.values())).T
_CELL_MM2 = 4.0 * (25.4 / p.WORKING_PPI) ** 2
_MM = 25.4 / p.WORKING_PPI
_NEAR = p.CYLINDER_RADIUS * p.WORKING_PPI / p.TEMPLATE_PPI


def _quantiles(counts: Counts, shares: tuple[float, ...]) -> list[float]:
    """Quantiles of values in 0..1 that were counted in 255ths."""
    risen = np.cumsum(counts)
    return [float(place) / 255.0 for place in np.searchsorted(risen, np.array(shares) * risen[-1])]


def _belief(trust: Plane, coherence: Plane, inside: Flags) -> dict[str, float]:
    counts, (count, total, squares) = spread(trust, inside)
    agreed, (_, agreed_total, _) = spread(coherence, inside)
    p10, p30, p50, p80 = _quantiles(counts, (0.1, 0.3, 0.5, 0.8))
    mean, coherent = total / count, agreed_total / count
    return {
        "area_mm2": count * _CELL_MM2, "sound_area_mm2": np.count_nonzero(inside & (trust > p.SOUND_TRUST)) * _CELL_MM2,
        "trust_mean": mean, "trust_p10": p10, "trust_p30": p30, "trust_p50": p50, "trust_p80": p80,
        "trust_deviation": math.sqrt(max(squares / count - mean * mean, 0.0)), "coherence_mean": coherent,
        "coherence_p20": _quantiles(agreed, (0.2,))[0], "likeness_mean": mean / max(coherent, 1e-6),
    }  # fmt: skip


def _patchiness(trust: Plane, inside: Flags) -> float:
    """How much belief differs from place to place, at 2.4 mm."""
    coarse = (max(inside.shape[1] // 16, 1), max(inside.shape[0] // 16, 1))
    weight = cv2.resize(inside.astype(np.float32), coarse, interpolation=cv2.INTER_AREA)
    total = cv2.resize(trust * inside, coarse, interpolation=cv2.INTER_AREA)
    held = weight > 0.5
    return float((total[held] / weight[held]).std()) if held.any() else 0.0


def _minutiae(found: Residues, kept: Residues, area_mm2: float) -> dict[str, float]:
    count = kept.x.shape[0]
    apart = np.hypot(kept.x[:, None] - kept.x, kept.y[:, None] - kept.y)
    return {
        "minutiae": count,
        "minutiae_sure": float((kept.score > 0.75).sum()),
        "evidence": float(np.clip(kept.score - p.MINUTIA_QUALITY_MIN, 0.0, None).sum()),
        "minutia_score_mean": float(kept.score.mean()) if count else 0.0,
        "minutiae_spread_mm": float(np.hypot(kept.x.std(), kept.y.std())) * _MM if count else 0.0,
        "neighbours": float((apart < _NEAR).sum()) / max(count, 1) - 1.0,
        "residues_per_mm2": found.x.shape[0] / area_mm2,
        "residues_kept": count / max(found.x.shape[0], 1),
    }


def _tone(region: Region, levels: Counts) -> dict[str, float]:
    """How dark and light are spread, within the finger; the plane's ridges are negative."""
    size = int(levels.sum())
    if size == 0:
        return dict.fromkeys(_TONES, 0.0)
    shares = np.cumsum(levels) / size
    dark, light = (int(level) for level in np.searchsorted(shares, (0.05, 0.95)))
    span = max(light - dark, 1)
    textured = cv2.bitwise_and(region.finger, np.not_equal(region.plane, 0.0).view(np.uint8))
    below = cv2.threshold(region.grey, (dark + light) // 2 - 1, 1, cv2.THRESH_BINARY_INV)[1]
    ridge = cv2.bitwise_and(below, textured)
    block = np.ones((5, 5), np.uint8)
    ridges_near = np.asarray(cv2.dilate(ridge, block), np.uint8)
    count, *sums = moments(region.plane, region.deviation, ridges_near, region.finger)
    count = max(count, 1.0)
    mean, square, cube, fourth, deviation, far = (value / count for value in sums)
    variance = max(square - mean * mean, 1e-6)
    tones = (
        shares[(dark + light) // 2],
        span / 255.0,
        deviation / span,
        (cube - 3.0 * mean * square + 2.0 * mean**3) / variance**1.5,
        (fourth - 4.0 * mean * cube + 6.0 * mean**2 * square - 3.0 * mean**4) / variance**2,
        cv2.countNonZero(cv2.erode(ridge, block)) / size,
        far,
    )
    return dict(zip(_TONES, map(float, tones), strict=True))


_TONES = ("darkness", "contrast", "local_contrast", "skewness", "kurtosis", "thick_dark", "thick_light")


def _texture(stages: Stages, plane: Plane, inside: Flags) -> dict[str, float]:
    """Grain, blur and motion: gradients along and across the ridges, and whether they depend on the ridges' direction.

    A picture that moved keeps the ridges along the motion and loses those across it. Every second cell is looked at.
    """
    seen = stages.region.plane
    soft = np.asarray(cv2.GaussianBlur(seen, (0, 0), 0.8), np.float32)
    direction = np.cos(stages.theta), np.sin(stages.theta)
    sums = texture(inside, plane, *direction, seen, soft, stages.region.deviation, stages.ridges)
    if sums[Texture.COUNT] == 0.0:
        return dict.fromkeys(_TEXTURES, 0.0)
    mean = sums / sums[Texture.COUNT]
    along, across = mean[Texture.ALONG], mean[Texture.ACROSS]
    textures = (
        along / max(across, 1e-6),
        math.sqrt(along),
        mean[Texture.NOISE] / max(mean[Texture.SEEN], 1e-6),
        math.sqrt(across) / 1.5,
        _one_way(mean, Texture.LEVEL, Texture.LEVEL_C, Texture.LEVEL_S),
        _one_way(mean, Texture.ACROSS, Texture.ACROSS_C, Texture.ACROSS_S),
        math.hypot(mean[Texture.C], mean[Texture.S]),
        1.0 - mean[Texture.TURN],
        math.sqrt(mean[Texture.STEPS] / (4.0 * max(mean[Texture.RIDGES], 1e-12))),
    )
    return dict(zip(_TEXTURES, map(float, textures), strict=True))


_TEXTURES = (
    "roughness", "grain", "fine_noise", "sharpness", "one_way_contrast", "one_way_sharpness", "one_direction", "bend",
    "wave_number",
)  # fmt: skip


def _one_way(mean: Sums, of: Texture, of_c: Texture, of_s: Texture) -> float:
    """How much a level swings with the ridges' direction, relative to its mean: amplitude of a regression on 2θ."""
    level, c, s = mean[of], mean[Texture.C], mean[Texture.S]
    if level <= 0.0:
        return 0.0
    cc, ss = mean[Texture.CC] - c * c + 0.02, mean[Texture.SS] - s * s + 0.02
    cs, lc, ls = mean[Texture.CS] - c * s, mean[of_c] - level * c, mean[of_s] - level * s
    return float(math.hypot(lc * ss - ls * cs, ls * cc - lc * cs) / (cc * ss - cs * cs) / level)


def _place(region: Region, window: Window) -> dict[str, float]:
    """Where the finger lies on the glass, its outline, and stains outside of it."""
    finger, interior = region.finger, region.interior
    width, height = cv2.boundingRect(interior)[2:]
    left, top = region.left - window.left, region.top - window.top
    right, bottom = (size - 3 for size in (window.grey.shape[1] - left, window.grey.shape[0] - top))
    edges = [
        finger[:, 2] if left == 0 else None,
        finger[2] if top == 0 else None,
        finger[:, right] if right < finger.shape[1] else None,
        finger[bottom] if bottom < finger.shape[0] else None,
    ]
    faint = np.count_nonzero(np.greater(region.deviation, 2.0) & (finger == 0))
    area = max(cv2.countNonZero(finger), 1)
    return {
        "cut_off": sum(float(edge.sum()) for edge in edges if edge is not None) / (4.0 * float(np.sqrt(area))),
        "fullness": cv2.countNonZero(interior) / max(width * height, 1),
        "slenderness": width / max(height, 1),
        "stains": faint / area,
    }
