"""Runs every compiled function once on a drawn pattern, so that the cache is full before the first citizen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.matcher_lite.finger_compare import compare
from edge.matcher_lite.finger_extract import extract
from edge.matcher_lite.finger_gallery import FingerGallery
from edge.matcher_lite.finger_template import FingerTemplate


def ridge_pattern(seed: int = 1, height: int = 360, width: int = 300) -> NDArray[np.uint8]:
    """An ellipse of level ridges with 28 dislocations where `seed` puts them: enough to pass through every stage."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    phase = 2 * np.pi * y / 9.0
    for index in range(28):
        centre_x, centre_y = random.uniform(0.2, 0.8) * width, random.uniform(0.15, 0.85) * height
        phase += (1 if index % 2 else -1) * np.arctan2(y - centre_y, x - centre_x)
    inside = np.hypot((x - width / 2) / (0.45 * width), (y - height / 2) / (0.45 * height)) < 1.0
    return np.where(inside, 128 + 90 * np.cos(phase), 250).astype(np.uint8)


def warm_fingers() -> None:
    """Extracts, reads a record, compares and searches once."""
    template = extract(ridge_pattern())
    compare(template, FingerTemplate.from_iso(template.to_iso()), explain=True)
    gallery = FingerGallery()
    gallery.add("warm", template)
    gallery.search(template)
