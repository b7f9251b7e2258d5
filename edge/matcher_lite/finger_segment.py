"""Evens out local brightness and contrast, and finds where there is finger.

Flat areas (glass, saturated or padded background) carry no contrast and are left out of the local statistics:
without that, every border of the print is amplified noise.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_input import Window

Grey = NDArray[np.uint8]
Plane = NDArray[np.float32]
Mask = NDArray[np.uint8]


def normalise(grey: Grey) -> tuple[Plane, Plane]:
    """Zero local mean and unit local deviation.

    grey: (H, W) uint8 at the working resolution. Returns the normalised plane and the local standard deviation in
    grey levels, both (H, W) float32; the plane is 0 where nothing but flat area is near.
    """
    window = np.ones((p.FLAT_WINDOW, p.FLAT_WINDOW), np.uint8)
    span = cv2.subtract(cv2.dilate(grey, window), cv2.erode(grey, window))
    textured = np.asarray(cv2.threshold(span, p.FLAT_RANGE_MAX, 1, cv2.THRESH_BINARY)[1], np.uint8)
    level = np.asarray(cv2.multiply(grey, textured), np.uint8)
    side = (p.NORMALISE_WINDOW, p.NORMALISE_WINDOW)
    zero = cv2.BORDER_CONSTANT
    count = cv2.boxFilter(textured, cv2.CV_32F, side, normalize=False, borderType=zero)
    total = cv2.boxFilter(level, cv2.CV_32F, side, normalize=False, borderType=zero)
    squares = cv2.sqrBoxFilter(level, cv2.CV_32F, side, normalize=False, borderType=zero)
    sums = np.array([count, total, squares], np.float32)
    planes: tuple[Plane, Plane] = _standardise(grey, textured, sums, float(p.NORMALISE_WINDOW))
    return planes


@njit(cache=True, nogil=True, error_model="numpy")
def _standardise(grey: Grey, textured: Mask, sums: Plane, count_min: float) -> tuple[Plane, Plane]:
    """(level − mean) / deviation within ±3, and the deviation; both 0 where too little texture is near.

    sums: (3, H, W), the window's textured pixels, their levels and their squares. Without branches, for lanes.
    """
    plane = np.empty(grey.shape, np.float32)
    deviation = np.empty(grey.shape, np.float32)
    zero, one, most = np.float32(0.0), np.float32(1.0), np.float32(3.0)
    enough = np.float32(count_min)
    for y in range(grey.shape[0]):
        counts, totals, squares = sums[0, y], sums[1, y], sums[2, y]
        for x in range(grey.shape[1]):
            known = max(counts[x], one)
            mean = totals[x] / known
            spread = np.sqrt(max(squares[x] / known - mean * mean, zero))
            value = min(max((np.float32(grey[y, x]) - mean) / max(spread, one), -most), most)
            deviation[y, x] = spread if known >= enough else zero
            plane[y, x] = value if (known >= enough) & (textured[y, x] != 0) else zero
    return plane, deviation


def segment(deviation: Plane) -> tuple[Mask, Mask]:
    """Foreground from local contrast: (finger, interior), both (H, W) uint8 of 0 and 1.

    interior lies half a window inside the finger, where a minutia can be believed. Worked out at half resolution.
    """
    height, width = deviation.shape
    half = np.ascontiguousarray(deviation[::2, ::2])
    present = half[half > 1.0]
    if present.size == 0 or min(height, width) <= 2 * p.IMAGE_MARGIN:
        empty = np.zeros(deviation.shape, np.uint8)
        return empty, empty
    middle, strong = (float(level) for level in np.percentile(present, (50, 90)))
    least = min(max(p.CONTRAST_STRONG_SHARE * strong, p.CONTRAST_FAINT), p.CONTRAST_MIN)
    limit = max(least, p.CONTRAST_SHARE * middle)
    _, mask = cv2.threshold(half, limit, 1, cv2.THRESH_BINARY)
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, _disc(p.MASK_CLOSE))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, _disc(p.MASK_OPEN))
    filled = _without_holes(np.asarray(opened, np.uint8))
    eroded = cv2.erode(filled, _disc(p.MASK_ERODE))
    finger = _double(filled, height, width)
    interior = np.zeros_like(finger)
    edge = slice(p.IMAGE_MARGIN, -p.IMAGE_MARGIN)
    interior[edge, edge] = _double(np.asarray(eroded, np.uint8), height, width)[edge, edge]
    return finger, interior


class Region(NamedTuple):
    """The part of the image that holds the finger; left, top: its corner in the working image, pixels."""

    grey: Grey
    plane: Plane
    finger: Mask
    interior: Mask
    deviation: Plane
    left: int
    top: int


def crop(window: Window, plane: Plane, deviation: Plane, finger: Mask, interior: Mask) -> Region:
    """What lies within the finger's box and a margin, so that later stages do not work on empty glass."""
    left, top, width, height = cv2.boundingRect(finger)
    left = max(left - p.CROP_MARGIN, 0) // 2 * 2  # even, so that cells of two pixels stay the same cells
    top = max(top - p.CROP_MARGIN, 0) // 2 * 2
    box = (slice(top, top + height + 2 * p.CROP_MARGIN), slice(left, left + width + 2 * p.CROP_MARGIN))
    parts = [np.ascontiguousarray(part[box]) for part in (window.grey, finger, interior)]
    planes = [np.ascontiguousarray(part[box]) for part in (plane, deviation)]
    return Region(parts[0], planes[0], parts[1], parts[2], planes[1], window.left + left, window.top + top)


def _double(mask: Mask, height: int, width: int) -> Mask:
    """A half-resolution mask at full resolution."""
    return np.ascontiguousarray(mask.repeat(2, 0).repeat(2, 1)[:height, :width])


def _without_holes(mask: Mask) -> Mask:
    """The mask with everything inside its outer contours filled."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(np.zeros_like(mask), contours, -1, (1,), cv2.FILLED), np.uint8)


@lru_cache(maxsize=8)
def _disc(side: int) -> Mask:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)).astype(np.uint8)
