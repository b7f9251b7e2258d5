"""Evens out local brightness and contrast, and finds where there is finger.

Flat areas (glass, saturated or padded background) carry no contrast and are left out of the local statistics:
without that, every border of the print is amplified noise.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p

Grey = NDArray[np.uint8]
Plane = NDArray[np.float32]
Mask = NDArray[np.uint8]


def normalise(grey: Grey) -> tuple[Plane, Plane]:
    """Zero local mean and unit local deviation.

    grey: (H, W) uint8 at the working resolution. Returns the normalised plane and the local standard deviation in
    grey levels, both (H, W) float32; the plane is 0 where nothing but flat area is near.
    """
    window = np.ones((p.FLAT_WINDOW, p.FLAT_WINDOW), np.uint8)
    textured = cv2.subtract(cv2.dilate(grey, window), cv2.erode(grey, window)) > p.FLAT_RANGE_MAX
    weight = textured.astype(np.float32)
    side = (p.NORMALISE_WINDOW, p.NORMALISE_WINDOW)
    level = grey.astype(np.float32)
    count = cv2.boxFilter(weight, -1, side, normalize=False, borderType=cv2.BORDER_CONSTANT)
    total = cv2.boxFilter(level * weight, -1, side, normalize=False, borderType=cv2.BORDER_CONSTANT)
    squares = cv2.boxFilter(level * level * weight, -1, side, normalize=False, borderType=cv2.BORDER_CONSTANT)
    known = np.maximum(count, 1.0)
    mean = total / known
    deviation = np.sqrt(np.maximum(squares / known - mean * mean, 0.0))
    deviation[count < p.NORMALISE_WINDOW] = 0.0
    plane = (level - mean) / np.maximum(deviation, 1.0)
    plane[(deviation == 0.0) | ~textured] = 0.0
    return np.clip(plane, -3.0, 3.0).astype(np.float32), deviation.astype(np.float32)


def segment(deviation: Plane) -> tuple[Mask, Mask]:
    """Foreground from local contrast: (finger, interior), both (H, W) uint8 of 0 and 1.

    interior lies half a window inside the finger, where a minutia can be believed.
    """
    present = deviation[deviation > 1.0]
    if present.size == 0:
        empty = np.zeros(deviation.shape, np.uint8)
        return empty, empty
    limit = max(p.CONTRAST_MIN, p.CONTRAST_SHARE * float(np.median(present)))
    mask = (deviation > limit).astype(np.uint8)
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _disc(p.MASK_CLOSE))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, _disc(p.MASK_OPEN))
    filled = _without_holes(np.asarray(opened, np.uint8))
    interior = np.zeros_like(filled)
    edge = slice(p.IMAGE_MARGIN, -p.IMAGE_MARGIN)
    interior[edge, edge] = cv2.erode(filled, _disc(p.MASK_ERODE))[edge, edge]
    return filled, interior


def _without_holes(mask: Mask) -> Mask:
    """The mask with everything inside its outer contours filled."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(np.zeros_like(mask), contours, -1, (1,), cv2.FILLED), np.uint8)


def _disc(side: int) -> Mask:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)).astype(np.uint8)
