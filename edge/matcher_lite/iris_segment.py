"""Where the iris is: pupil and limbus as smooth closed contours with centres of their own.

Coarse: every steep gradient votes for the points that it could be the rim of a dark disc around; the best places
are judged by how many directions see a step at the same radius, for pupil and limbus together. Fine: dynamic
programming in polar coordinates, then a robust fit of few harmonics, so that eyelids and lashes, which cross the
limbus, are outliers instead of dents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Pupil and limbus in pixels of `image`, the working image with its glints filled; `glints` marks them."""

    image: FloatImage
    glints: NDArray[np.bool_]
    pupil: Contour
    limbus: Contour
    scale: float  # working pixels per pixel of the original

    def is_plausible(self) -> bool:
        """Whether the contours can be those of an eye; doubtful ones are left to the code, which will not match."""
        ratio = self.pupil.radius / max(self.limbus.radius, 1e-6)
        offset = math.hypot(self.pupil.x - self.limbus.x, self.pupil.y - self.limbus.y)
        return (
            p.RATIO_MIN < ratio < p.RATIO_MAX
            and self.limbus.radius >= p.IRIS_RADIUS_MIN_PX
            and offset + self.pupil.radius < self.limbus.radius
            and self.pupil.contrast >= p.PUPIL_CONTRAST_MIN
            and self.limbus.contrast >= p.LIMBUS_CONTRAST_MIN
        )


def segment(image: NDArray[np.uint8]) -> Segmentation | None:
    """Find pupil and limbus in a near-infrared image (H, W); None where nothing looks like an eye."""
    working, scale = _working_size(image)
    filled, texture, glints = fill_speculars(working)
    small, reduction = _reduced(filled)
    found = _coarse(small)
    if found is None:
        return None
    x, y, radius = found
    # Pixel centres: the middle of reduced pixel 0 lies at `shift` of the working image.
    shift = (1.0 / reduction - 1.0) / 2.0
    pupil = _pupil(filled, x / reduction + shift, y / reduction + shift, radius / reduction)
    x, y, radius = _place_limbus(
        small, (pupil.x - shift) * reduction, (pupil.y - shift) * reduction, pupil.radius * reduction
    )
    limbus = _limbus(filled, x / reduction + shift, y / reduction + shift, radius / reduction)
    return Segmentation(texture, glints, pupil, limbus, scale)


def _working_size(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    height, width = image.shape
    scale = min(1.0, p.WORKING_WIDTH_PX / max(height, width))
    if scale == 1.0:
        return image, 1.0
    size = (max(round(width * scale), 2), max(round(height * scale), 2))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8), scale


def fill_speculars(image: NDArray[np.uint8]) -> tuple[FloatImage, FloatImage, NDArray[np.bool_]]:
    """Replace small bright spots by their surroundings.

    Returns the image for contours, where every spot is filled, the image for texture, where only glints are, as an
    iris has bright spots of its own, and where the glints were.
    """
    size = max(3, round(p.SPECULAR_KERNEL * max(image.shape))) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    opened = cv2.morphologyEx(image, cv2.MORPH_OPEN, kernel)
    rise = cv2.subtract(image, opened)
    spots = cv2.dilate((rise > p.SPECULAR_RISE).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    glint = ((rise > p.GLINT_RISE) & (image > p.GLINT_LEVEL)).astype(np.uint8)
    glints = cv2.dilate(glint, np.ones((5, 5), np.uint8)).astype(bool)
    for_contours = np.where(spots, opened, image).astype(np.float32)
    for_texture = np.where(glints, opened, image).astype(np.float32)
    return for_contours, for_texture, glints


def _reduced(filled: FloatImage) -> tuple[FloatImage, float]:
    """The image at COARSE_WIDTH_PX, slightly blurred, and its scale."""
    height, width = filled.shape
    reduction = p.COARSE_WIDTH_PX / max(height, width)
    size = (max(round(width * reduction), 16), max(round(height * reduction), 16))
    small = cv2.GaussianBlur(cv2.resize(filled, size, interpolation=cv2.INTER_AREA), (0, 0), 1.0)
    return np.asarray(small, dtype=np.float32), reduction


def _coarse(small: FloatImage) -> tuple[float, float, float] | None:
    """Centre and radius of the pupil in pixels of the reduced image."""
    dx = np.asarray(cv2.Sobel(small, cv2.CV_32F, 1, 0, ksize=3), dtype=np.float32)
    dy = np.asarray(cv2.Sobel(small, cv2.CV_32F, 0, 1, ksize=3), dtype=np.float32)
    magnitude = np.hypot(dx, dy)
    floor = max(float(np.quantile(magnitude, 1.0 - p.VOTE_SHARE)), 4.0)
    votes = cv2.GaussianBlur(_vote(dx, dy, magnitude, floor), (0, 0), 1.5)
    places = _peaks(np.asarray(votes, dtype=np.float32))
    if len(places) == 0:
        return None
    score, x, y, radius = _judge_places(small, places)
    return (x, y, radius) if score > 0.0 else None


@numba.njit(cache=True, nogil=True, fastmath=True)
def _vote(
    dx: NDArray[np.float32], dy: NDArray[np.float32], magnitude: NDArray[np.float32], floor: float
) -> NDArray[np.float32]:
    """Votes of steep pixels along the way from bright to dark; near votes weigh more, as their aim is better."""
    height, width = magnitude.shape
    votes = np.zeros((height, width), dtype=np.float32)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            steepness = magnitude[y, x]
            if steepness < floor:
                continue
            ux, uy = -dx[y, x] / steepness, -dy[y, x] / steepness
            weight = min(steepness, 80.0) ** 0.5
            for r in range(p.VOTE_RADIUS_MIN, p.VOTE_RADIUS_MAX):
                px, py = int(x + ux * r + 0.5), int(y + uy * r + 0.5)
                if not (0 <= px < width and 0 <= py < height):
                    break
                votes[py, px] += weight / (r + 6.0)
    return votes


@numba.njit(cache=True, nogil=True)
def _peaks(votes: NDArray[np.float32]) -> NDArray[np.int64]:
    """The CANDIDATES places (x, y) of most votes that keep their distance from each other."""
    left = votes.copy()
    _, width = left.shape
    places = np.empty((p.CANDIDATES, 2), dtype=np.int64)
    count = 0
    for _ in range(p.CANDIDATES):
        at = int(np.argmax(left))
        y, x = at // width, at % width
        if left[y, x] <= 0.0:
            break
        places[count, 0], places[count, 1] = x, y
        count += 1
        d = p.CANDIDATE_SPACING
        left[max(0, y - d) : y + d + 1, max(0, x - d) : x + d + 1] = 0.0
    return places[:count]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _judge_places(small: NDArray[np.float32], places: NDArray[np.int64]) -> tuple[float, float, float, float]:
    """The best (score, x, y, pupil radius) near the places: coarse grid, then single pixels."""
    best = (0.0, 0.0, 0.0, 0.0)
    for spacing, reach in ((3, 3), (1, 1), (1, 1)):
        if spacing == 1:
            if best[0] <= 0.0:
                return best
            tried = np.empty((1, 2), dtype=np.int64)
            tried[0, 0], tried[0, 1] = int(best[1]), int(best[2])
        else:
            tried = places
        for k in range(len(tried)):
            for oy in range(-reach, reach + 1, spacing):
                for ox in range(-reach, reach + 1, spacing):
                    x, y = float(tried[k, 0] + ox), float(tried[k, 1] + oy)
                    score, pupil, _ = _judge(small, x, y)
                    if score > best[0]:
                        best = (score, x, y, pupil)
    return best


@numba.njit(cache=True, nogil=True, fastmath=True)
def _judge(small: NDArray[np.float32], x: float, y: float) -> tuple[float, float, float]:
    """Score of (x, y) as the centre of an eye, with the radii of pupil and limbus that give it."""
    radii = p.LIMBUS_RADIUS_MAX
    samples = polar(small, x, y, 0.0, radii - 1.0, p.RING_ANGLES, radii)
    steps = radial_steps(samples, 2, p.PUPIL_STEP_CLIP[0], p.PUPIL_STEP_CLIP[1])
    pupil_score = np.zeros(radii, dtype=np.float64)
    for i in range(p.RING_ANGLES):
        for j in range(radii):
            pupil_score[j] += steps[i, j] / p.RING_ANGLES
    best, best_pupil, best_limbus = 0.0, 0.0, 0.0
    for a in range(p.PUPIL_RADIUS_MIN, p.PUPIL_RADIUS_MAX + 1):
        if pupil_score[a] <= max(best - p.LIMBUS_WEIGHT * p.LIMBUS_STEP_CLIP[1], 0.0):
            continue
        if pupil_score[a] < max(pupil_score[a - 1], pupil_score[a + 1]):
            continue
        limbus_score, limbus = _limbus_step(samples, float(a), 0.0)
        score = pupil_score[a] + p.LIMBUS_WEIGHT * limbus_score
        if limbus_score > 0.0 and score > best:
            best, best_pupil, best_limbus = score, float(a), limbus
    return best, best_pupil, best_limbus


@numba.njit(cache=True, nogil=True, fastmath=True)
def _limbus_step(samples: NDArray[np.float32], pupil: float, offset: float) -> tuple[float, float]:
    """The strongest step from iris to sclera in `samples` (angles, radii of 1 pixel) and its radius.

    pupil, offset: the pupil's radius, and how far its centre is from the samples'. A direction counts by the lesser
    of two rises, clipped: over the step itself, and from the whole iris up to it, which a ring within the iris does
    not have. The sides count most, since lids cover the rest.
    """
    angles, radii = samples.shape
    low = max(int(pupil / p.PUPIL_TO_IRIS_MAX), int(pupil) + 6) + 1 + int(offset + 0.5)
    high = min(int(pupil / p.PUPIL_TO_IRIS_MIN), radii - 9)
    first = int(pupil + offset) + 2
    scores = np.zeros(radii, dtype=np.float64)
    sums = np.zeros(radii + 1, dtype=np.float64)
    sides = 0.0
    for i in range(angles):
        sine = math.sin(2.0 * math.pi * i / angles)
        side = 1.0 if abs(sine) < 0.6 else 0.2
        sides += side
        for j in range(radii):
            sums[j + 1] = sums[j] + samples[i, j]
        for b in range(low, high + 1):
            reach = 3 + b // 16
            outer = (sums[b + reach + 1] - sums[b + 1]) / reach
            rise = outer - (sums[b] - sums[b - reach]) / reach
            overall = outer - (sums[b] - sums[first]) / (b - first)
            value = min(rise, 0.8 * overall)
            scores[b] += side * min(max(value, p.LIMBUS_STEP_CLIP[0]), p.LIMBUS_STEP_CLIP[1])
    best = low
    for b in range(low, high + 1):
        if scores[b] > scores[best]:
            best = b
    top = scores[best]
    for b in range(best + 1, high + 1):
        # Rings within the iris may be steeper than a soft limbus; the outermost clear step is the limbus.
        if scores[b] > p.OUTERMOST_SHARE * top and scores[b] >= max(scores[b - 1], scores[b + 1]):
            best = b
    return scores[best] / sides, float(best)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _place_limbus(small: NDArray[np.float32], x: float, y: float, pupil: float) -> tuple[float, float, float]:
    """Centre and radius of the limbus around a known pupil: centres are seldom more than a fifth of it apart."""
    best, best_x, best_y, best_radius = -1e9, x, y, 2.0 * pupil
    reach = max(2, int(0.2 * pupil + 0.5))
    for oy in range(-reach, reach + 1, 2):
        for ox in range(-reach, reach + 1, 1):
            samples = polar(small, x + ox, y + oy, 0.0, p.LIMBUS_RADIUS_MAX - 1.0, p.RING_ANGLES, p.LIMBUS_RADIUS_MAX)
            score, radius = _limbus_step(samples, pupil, math.hypot(ox, oy))
            score -= 0.05 * abs(ox) + 0.12 * abs(oy)
            if score > best:
                best, best_x, best_y, best_radius = score, x + ox, y + oy, radius
    return best_x, best_y, best_radius


def _pupil(filled: FloatImage, x: float, y: float, radius: float) -> Contour:
    """The pupil's contour; searched twice, the second time from the centre that the first gave."""
    contour = Contour(x, y, np.array([radius]), 0.0, 0.0)
    for search in (p.PUPIL_SEARCH, (0.75, 1.25)):
        contour = _contour(
            filled,
            contour,
            search,
            harmonics=p.PUPIL_HARMONICS,
            reach_px=max(1.5, 0.07 * contour.radius),
            soft_limit=60.0,
            weights=np.ones(p.CONTOUR_ANGLES),
            ridge=p.PUPIL_RIDGE,
            stay=1e-9,
            keep_near=False,
        )
    return contour


def _limbus(filled: FloatImage, x: float, y: float, radius: float) -> Contour:
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
