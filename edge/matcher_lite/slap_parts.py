"""Where a slap shows ridges, and in which connected parts: a finger each, or a segment of one."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.matcher_lite import slap_parameters as p

Grey = NDArray[np.uint8]
Plane = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One connected area of ridges, in pixels at the segmenter's working resolution.

    mask: (H, W) uint8 of 0 and 1, of the whole image. x, y: (n,) px of its pixels. lean: rad by which its long axis
    departs from upright, clockwise as seen. elongation: ratio of the axes. cut_by_side, cut_off: whether it touches
    the left or right, or any edge of the image.
    """

    mask: Grey
    x: Plane
    y: Plane
    lean: float
    elongation: float
    cut_by_side: bool
    cut_off: bool

    @property
    def area(self) -> int:
        """Pixels."""
        return int(self.x.shape[0])

    def across(self, lean: float) -> Plane:
        """Coordinates across fingers that lean by `lean`."""
        return np.asarray(self.x * np.cos(lean) + self.y * np.sin(lean))

    def along(self, lean: float) -> Plane:
        """Coordinates along them, growing from tip to palm."""
        return np.asarray(self.y * np.cos(lean) - self.x * np.sin(lean))


def find_parts(grey: Grey) -> list[Part]:
    """Connected areas of ridges that may be fingers or their segments. grey: (H, W) at the working resolution."""
    energy = _ridge_energy(grey)
    pieces = [piece for piece in _pieces(_mask(energy)) if int(piece.sum()) >= _pixels(p.PART_AREA_MM2_MIN)]
    strengths = [float(np.median(energy[piece > 0])) for piece in pieces]
    weakest = p.PART_STRENGTH_SHARE * max(strengths, default=0.0)
    return [_measure(piece) for piece, strength in zip(pieces, strengths, strict=True) if strength >= weakest]


def _ridge_energy(grey: Grey) -> Plane:
    """Amplitude of waves of a ridge's width, in grey levels, where they run one way; (H, W)."""
    plane = grey.astype(np.float32)
    fine = cv2.GaussianBlur(plane, (0, 0), p.RIDGE_SIGMA_FINE * p.WORKING_PX_PER_MM)
    coarse = cv2.GaussianBlur(plane, (0, 0), p.RIDGE_SIGMA_COARSE * p.WORKING_PX_PER_MM)
    amplitude = np.minimum(np.abs(fine - coarse), p.AMPLITUDE_MAX)
    bridged = cv2.morphologyEx(amplitude, cv2.MORPH_CLOSE, _disc(p.RIDGE_GAP))
    side = _odd(p.ENERGY_WINDOW)
    energy = cv2.blur(bridged, (side, side)) * (_coherence(fine - coarse) > p.COHERENCE_MIN)
    return np.asarray(energy, np.float64)


def _mask(energy: Plane) -> Grey:
    """Where there are ridges over some width: (H, W) uint8 of 0 and 1."""
    limit = max(p.ENERGY_LEVEL_MIN, p.ENERGY_SHARE * float(np.percentile(energy, p.ENERGY_STRONG_PERCENTILE)))
    mask = (energy > limit).astype(np.uint8)
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _disc(p.CLOSE))
    filled = _without_holes(np.asarray(closed, np.uint8))
    opened = cv2.morphologyEx(filled, cv2.MORPH_OPEN, _disc(p.OPEN), borderType=cv2.BORDER_CONSTANT, borderValue=(0,))
    return np.asarray(opened, np.uint8)


def _coherence(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far the waves around each pixel run one way, 0..1: ridges do, crossing handwriting does not."""
    gx, gy = cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1)
    sigma = p.COHERENCE_SIGMA * p.WORKING_PX_PER_MM
    xx, yy, xy = (cv2.GaussianBlur(part, (0, 0), sigma) for part in (gx * gx, gy * gy, gx * gy))
    return np.asarray(np.sqrt((xx - yy) ** 2 + 4.0 * xy * xy) / np.maximum(xx + yy, 1e-6), np.float32)


def _pieces(mask: Grey) -> list[Grey]:
    """Connected pieces; fingers that touch are parted where they are narrowest."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    large = [label for label in range(1, count) if stats[label, cv2.CC_STAT_AREA] >= _pixels(p.PART_AREA_MM2_MIN)]
    return [piece for label in large for piece in _parted((labels == label).astype(np.uint8))]


def _parted(whole: Grey) -> list[Grey]:
    """The part itself, or the fingers that touch in it: eroded until it falls apart, then grown back."""
    outline = cv2.convexHull(cv2.findNonZero(whole))
    _, (width, height), _ = cv2.minAreaRect(outline)
    narrow = min(width, height) <= p.FINGER_WIDTH_MAX * p.WORKING_PX_PER_MM
    if narrow and float(whole.sum()) >= p.SOLIDITY_MIN * cv2.contourArea(outline):
        return [whole]
    depth = cv2.distanceTransform(whole, cv2.DIST_L2, 5)
    for step in range(1, p.SPLIT_STEPS_MAX + 1):
        kernel = (depth > step * p.SPLIT_STEP * p.WORKING_PX_PER_MM).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(kernel)
        large = [label for label in range(1, count) if stats[label, cv2.CC_STAT_AREA] >= _pixels(p.SPLIT_AREA_MM2_MIN)]
        if len(large) >= 2:
            seeds = [(labels == label).astype(np.uint8) for label in large]
            away = np.array([cv2.distanceTransform(1 - seed, cv2.DIST_L2, 5) for seed in seeds])
            nearest = away.argmin(axis=0)
            return [piece for owner in range(len(seeds)) for piece in _parted(_largest(whole * (nearest == owner)))]
    return [whole]


def _largest(mask: NDArray[np.generic]) -> Grey:
    """The largest connected part of a mask."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count <= 1:
        return np.zeros(labels.shape, np.uint8)
    return np.asarray(labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()), np.uint8)


def _measure(mask: Grey) -> Part:
    """Axes of a part from its second moments."""
    rows, columns = np.nonzero(mask)
    x, y = columns.astype(np.float64), rows.astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(np.array([x, y]))) if x.size > 2 else (np.ones(2), np.eye(2))
    down = vectors[:, 1] * (1.0 if vectors[1, 1] >= 0 else -1.0)
    height, width = mask.shape
    near = p.CUT_EDGE_MM * p.WORKING_PX_PER_MM
    side = x.size > 0 and bool(x.min() < near or x.max() > width - 1 - near)
    ends = y.size > 0 and bool(y.min() < near or y.max() > height - 1 - near)
    return Part(
        mask, x, y,
        lean=float(np.arctan2(-down[0], down[1])),
        elongation=float(np.sqrt(max(values[1], 1e-9) / max(values[0], 1e-9))),
        cut_by_side=side,
        cut_off=side or ends,
    )  # fmt: skip


def _pixels(area_mm2: float) -> float:
    return area_mm2 * p.WORKING_PX_PER_MM**2


def _odd(length_mm: float) -> int:
    """A window's side in pixels, with a middle."""
    return round(length_mm * p.WORKING_PX_PER_MM) | 1


def _without_holes(mask: Grey) -> Grey:
    """The mask with everything inside its outer contours filled, such as the hole punched into a card."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(np.zeros_like(mask), contours, -1, (1,), cv2.FILLED), np.uint8)


def _disc(diameter_mm: float) -> Grey:
    side = _odd(diameter_mm)
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)).astype(np.uint8)
