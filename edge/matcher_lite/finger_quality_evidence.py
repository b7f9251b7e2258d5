"""Measures on which a finger's quality is judged by the learnt model: area, belief, minutiae, contrast, grain, motion.

Every measure is brought to 0..1 by bounds of its own, so that one 8-bit scale serves the model's whole input. None of
them knows absolute grey levels: a scanner's brightness is no quality of the finger.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_input import Window
from edge.matcher_lite.finger_minutiae import Residues
from edge.matcher_lite.finger_segment import Region

Plane = NDArray[np.float32]
Flags = NDArray[np.bool_]

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
    pruning. window: what the scanner saw.
    """

    region: Region
    ridges: Plane
    theta: Plane
    coherence: Plane
    trust: Plane
    found: Residues
    kept: Residues
    window: Window


def evidence(stages: Stages) -> Plane:
    """The measures in the order of MEASURES, each 0..1: (len(MEASURES),) float32."""
    half = tuple(reversed(stages.trust.shape))
    inside = cv2.resize(stages.region.interior, half, interpolation=cv2.INTER_NEAREST) > 0
    if not inside.any():
        return np.zeros(len(MEASURES), np.float32)
    plane = np.asarray(cv2.resize(stages.region.plane, half, interpolation=cv2.INTER_AREA), np.float32)
    measured = {
        **_belief(stages.trust[inside], stages.coherence[inside]),
        "patchiness": _patchiness(stages.trust, inside),
        **_minutiae(stages.found, stages.kept, float(inside.sum()) * _CELL_MM2),
        **_tone(stages.region),
        **_texture(stages, plane, inside),
        **_place(stages.region, stages.window),
    }
    values = np.nan_to_num([measured[name] for name in MEASURES])
    return np.asarray(np.clip((values - _LOW) / (_HIGH - _LOW), 0.0, 1.0), np.float32)


_LOW, _HIGH = np.array(list(MEASURES.values())).T
_CELL_MM2 = 4.0 * (25.4 / p.WORKING_PPI) ** 2
_MM = 25.4 / p.WORKING_PPI
_NEAR = p.CYLINDER_RADIUS * p.WORKING_PPI / p.TEMPLATE_PPI


def _quantiles(values: Plane, shares: tuple[float, ...]) -> list[float]:
    """Quantiles of values in 0..1, to a 256th."""
    counts = np.cumsum(np.bincount((values * 255.0).astype(np.uint8), minlength=256))
    return [float(np.searchsorted(counts, share * counts[-1])) / 255.0 for share in shares]


def _belief(trust: Plane, coherence: Plane) -> dict[str, float]:
    p10, p30, p50, p80 = _quantiles(trust, (0.1, 0.3, 0.5, 0.8))
    sound = float((trust > p.SOUND_TRUST).sum()) * _CELL_MM2
    return {
        "area_mm2": trust.size * _CELL_MM2, "sound_area_mm2": sound, "trust_mean": float(trust.mean()),
        "trust_p10": p10, "trust_p30": p30, "trust_p50": p50, "trust_p80": p80,
        "trust_deviation": float(trust.std()), "coherence_mean": float(coherence.mean()),
        "coherence_p20": _quantiles(np.clip(coherence, 0.0, 1.0), (0.2,))[0],
        "likeness_mean": float(trust.mean()) / max(float(coherence.mean()), 1e-6),
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


def _tone(region: Region) -> dict[str, float]:
    """How dark and light are spread, within the finger; the plane's ridges are negative."""
    finger = (region.finger != 0) & (region.plane != 0.0)
    grey = region.grey[finger]
    if grey.size == 0:
        return dict.fromkeys(_TONES, 0.0)
    shares = np.cumsum(np.bincount(grey, minlength=256)) / grey.size
    dark, light = (int(level) for level in np.searchsorted(shares, (0.05, 0.95)))
    span = max(light - dark, 1)
    ridge = ((region.grey < (dark + light) // 2) & finger).astype(np.uint8)
    block = np.ones((5, 5), np.uint8)
    some = finger[::2, ::2]
    values = region.plane[::2, ::2][some]
    values = values - values.mean()
    square = values * values
    variance = max(float(square.mean()), 1e-6)
    tones = (
        shares[(dark + light) // 2],
        span / 255.0,
        region.deviation[::2, ::2][some].mean() / span,
        (square * values).mean() / variance**1.5,
        (square * square).mean() / variance**2,
        cv2.countNonZero(cv2.erode(ridge, block)) / grey.size,
        1.0 - np.count_nonzero(cv2.dilate(ridge, block)[::2, ::2][some]) / values.size,
    )
    return dict(zip(_TONES, map(float, tones), strict=True))


_TONES = ("darkness", "contrast", "local_contrast", "skewness", "kurtosis", "thick_dark", "thick_light")


def _texture(stages: Stages, plane: Plane, inside: Flags) -> dict[str, float]:
    """Grain, blur and motion: gradients along and across the ridges, and whether they depend on the ridges' direction.

    A picture that moved keeps the ridges along the motion and loses those across it. Every second cell is looked at.
    """
    few = np.zeros_like(inside)
    few[1:-1:2, 1:-1:2] = inside[1:-1:2, 1:-1:2]
    rows, columns = np.nonzero(few)
    if rows.size == 0:
        return dict.fromkeys(_TEXTURES, 0.0)
    gx = plane[rows, columns + 1] - plane[rows, columns - 1]
    gy = plane[rows + 1, columns] - plane[rows - 1, columns]
    theta = stages.theta[rows, columns]
    cosine, sine = np.cos(theta), np.sin(theta)
    along, across = gx * cosine + gy * sine, gy * cosine - gx * sine
    energy_along, energy_across = along * along, across * across
    double = (cosine * cosine - sine * sine, 2.0 * cosine * sine)
    level = stages.region.deviation[2 * rows, 2 * columns]
    seen = stages.region.plane
    noise = (seen - cv2.GaussianBlur(seen, (0, 0), 0.8))[2 * rows, 2 * columns]
    variance = max(_mean_square(seen[2 * rows, 2 * columns]), 1e-6)
    ridges = stages.ridges
    steps = (
        ridges[2 * rows, 2 * columns + 1] - ridges[2 * rows, 2 * columns - 1],
        ridges[2 * rows + 1, 2 * columns] - ridges[2 * rows - 1, 2 * columns],
    )
    power = max(_mean_square(ridges[2 * rows, 2 * columns]), 1e-12)
    textures = (
        energy_along.mean() / max(float(energy_across.mean()), 1e-6),
        np.sqrt(energy_along.mean()),
        _mean_square(noise) / variance,
        np.sqrt(energy_across.mean()) / 1.5,
        _one_way(level, double),
        _one_way(energy_across, double),
        np.hypot(double[0].mean(), double[1].mean()),
        1.0 - np.cos(2.0 * (theta - stages.theta[rows, columns + 1])).mean(),
        np.sqrt((_mean_square(steps[0]) + _mean_square(steps[1])) / (4.0 * power)),
    )
    return dict(zip(_TEXTURES, map(float, textures), strict=True))


_TEXTURES = (
    "roughness", "grain", "fine_noise", "sharpness", "one_way_contrast", "one_way_sharpness", "one_direction", "bend",
    "wave_number",
)  # fmt: skip


def _mean_square(values: Plane) -> float:
    return float(np.dot(values, values)) / values.size


def _one_way(level: Plane, double: tuple[NDArray[Any], NDArray[Any]]) -> float:
    """How much a level swings with the ridges' direction, relative to its mean: amplitude of a regression on 2θ."""
    mean = float(level.mean())
    if mean <= 0.0:
        return 0.0
    rest = level - mean
    c, s = double[0] - double[0].mean(), double[1] - double[1].mean()
    cc, ss, cs = float((c * c).mean()) + 0.02, float((s * s).mean()) + 0.02, float((c * s).mean())
    lc, ls = float((rest * c).mean()), float((rest * s).mean())
    determinant = cc * ss - cs * cs
    return float(np.hypot(lc * ss - ls * cs, ls * cc - lc * cs)) / determinant / mean


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
    outside = finger == 0
    faint = (region.deviation > 2.0) & outside
    area = max(int(finger.sum()), 1)
    return {
        "cut_off": sum(float(edge.sum()) for edge in edges if edge is not None) / (4.0 * float(np.sqrt(area))),
        "fullness": float(interior.sum()) / max(width * height, 1),
        "slenderness": width / max(height, 1),
        "stains": float(faint.sum()) / area,
    }
