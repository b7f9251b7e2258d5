"""Pupil and limbus as smooth closed contours, each with a centre of its own.

Dynamic programming in polar coordinates finds the path of steepest rise, a robust fit of few harmonics smooths it, so
that eyelids and lashes, which cross the limbus, are outliers instead of dents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.matcher_lite import iris_parameters as p
from edge.matcher_lite.iris_polar import (
    FloatImage,
    Floats,
    closed_path,
    fit_harmonics,
    harmonic_basis,
    polar,
    radial_steps,
)


@dataclass(frozen=True, slots=True)
class Contour:
    """A closed contour r(θ) around (x, y) in pixels; `support` is the share of directions that see it (0 to 1)."""

    x: float
    y: float
    coefficients: Floats
    support: float
    contrast: float

    @property
    def radius(self) -> float:
        """Mean radius in pixels."""
        return float(self.coefficients[0])

    def points(self, angles: int) -> tuple[Floats, Floats]:
        """x and y of the contour at `angles` equal steps of the angle."""
        theta = 2.0 * np.pi * np.arange(angles) / angles
        r = harmonic_basis(angles, (len(self.coefficients) - 1) // 2) @ self.coefficients
        return self.x + r * np.cos(theta), self.y + r * np.sin(theta)

    def level_inside(self, image: FloatImage) -> float:
        """Median brightness well inside the contour."""
        return float(np.median(polar(image, self.x, self.y, 0.0, 0.8 * self.radius, 32, 12)))

    def level_beyond(self, image: FloatImage) -> float:
        """Median brightness just outside the contour, at the sides, which lids seldom cover."""
        samples = polar(image, self.x, self.y, 1.06 * self.radius, 1.2 * self.radius, 64, 8)
        sides = np.abs(np.sin(2.0 * np.pi * np.arange(64) / 64)) < 0.45
        return float(np.median(samples[sides]))


def trace_pupil(filled: FloatImage, x: float, y: float, radius: float) -> Contour:
    """The pupil's contour: a circle first, which lashes and a lid across the pupil cannot dent, then its harmonics."""
    theta = 2.0 * np.pi * np.arange(p.CONTOUR_ANGLES) / p.CONTOUR_ANGLES
    weights = np.where(np.sin(theta) < -0.5, p.PUPIL_UPPER_WEIGHT, 1.0)
    contour = Contour(x, y, np.array([radius]), 0.0, 0.0)
    for search, harmonics, near in (
        (p.PUPIL_SEARCH, 1, False),
        ((0.75, 1.25), 1, True),
        ((0.80, 1.20), p.PUPIL_HARMONICS, True),
    ):
        contour = _contour(
            filled,
            contour,
            search,
            harmonics=harmonics,
            reach_px=max(1.5, 0.07 * contour.radius),
            soft_limit=60.0,
            weights=weights,
            ridge=p.PUPIL_RIDGE,
            stay=1e-9,
            keep_near=near,
        )
    return contour


def trace_limbus(filled: FloatImage, x: float, y: float, radius: float) -> Contour:
    """The limbus' contour: first from the sides, which lids seldom cover, then from wherever it agrees."""
    theta = 2.0 * np.pi * np.arange(p.CONTOUR_ANGLES) / p.CONTOUR_ANGLES
    sides = np.where(np.abs(np.sin(theta)) < 0.5, 1.0, np.where(np.sin(theta) > 0, 0.15, 0.04))
    contour = Contour(x, y, np.array([radius]), 0.0, 0.0)
    for search, harmonics, weights, stay, near in (
        (p.LIMBUS_SEARCH, 1, sides, 0.10, False),
        ((0.88, 1.12), 1, np.maximum(sides, 0.2), 0.05, True),
        ((0.90, 1.10), p.LIMBUS_HARMONICS, np.maximum(sides, 0.3), 0.02, True),
    ):
        contour = _contour(
            filled,
            contour,
            search,
            harmonics=harmonics,
            reach_px=max(2.0, 0.06 * radius),
            soft_limit=25.0,
            weights=weights,
            ridge=p.LIMBUS_RIDGE,
            stay=stay,
            keep_near=near,
        )
    return contour


def _contour(
    filled: FloatImage,
    start: Contour,
    search: tuple[float, float],
    *,
    harmonics: int,
    reach_px: float,
    soft_limit: float,
    weights: Floats,
    ridge: float,
    stay: float,
    keep_near: bool,
) -> Contour:
    """One round: unwrap around the start, find the closed path of steepest rise, fit, and move to the fit's centre."""
    r_min, r_max = search[0] * start.radius, search[1] * start.radius
    step = (r_max - r_min) / (p.CONTOUR_RADII - 1)
    samples = polar(filled, start.x, start.y, r_min, r_max, p.CONTOUR_ANGLES, p.CONTOUR_RADII)
    reach = min(max(2, round(reach_px / step)), p.CONTOUR_RADII // 4)
    # Compressed, not clipped: a plateau would leave the path free to wander on it.
    rises = radial_steps(samples, reach, -20.0, 255.0)
    rises /= 1.0 + np.abs(rises) / soft_limit
    path = closed_path(rises, 1.5)
    rows = np.arange(p.CONTOUR_ANGLES)
    seen = rises[rows, path]
    radii = r_min + step * path.astype(np.float64)
    trust = weights * np.clip(seen / max(float(np.median(seen)), 1.0), 0.02, 1.5)
    coefficients, final = fit_harmonics(
        radii,
        trust,
        harmonics,
        scale=max(1.0, 0.02 * start.radius),
        ridge=ridge,
        stay=stay,
        near=start.radius if keep_near else None,
    )
    support = float(final.sum() / max(trust.sum(), 1e-9))
    contrast = float((final * seen).sum() / max(final.sum(), 1e-9))
    # The first harmonic is the offset of the centre: move there and keep the rest.
    x, y = start.x + coefficients[1], start.y + coefficients[2]
    coefficients = coefficients.copy()
    coefficients[1:3] = 0.0
    return Contour(float(x), float(y), coefficients, support, contrast)
