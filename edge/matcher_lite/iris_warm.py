"""Runs every compiled iris function once on a drawn eye, so that the cache is full before the first citizen."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.sample import IrisPosition
from edge.matcher_lite.iris_compare import compare_iris
from edge.matcher_lite.iris_extract import extract_iris
from edge.matcher_lite.iris_gallery import IrisGallery


def drawn_eye(height: int = 280, width: int = 320) -> NDArray[np.uint8]:
    """A dark pupil in a grained iris in a bright sclera: enough to pass through every stage."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    radius = np.hypot(x - 0.5 * width, y - 0.5 * height) / height
    grain = 14.0 * np.sin(23.0 * np.arctan2(y - 0.5 * height, x - 0.5 * width) + 40.0 * radius)
    eye = np.where(radius < 0.13, 30.0, np.where(radius < 0.34, 115.0 + grain, 170.0))
    return np.asarray(cv2.GaussianBlur(eye.astype(np.uint8), (0, 0), 1.2), dtype=np.uint8)


def warm_irises() -> None:
    """Extract, compare and search once."""
    template = extract_iris(drawn_eye(), IrisPosition.LEFT)
    compare_iris(template, template)
    gallery = IrisGallery()
    gallery.add("warm", template)
    gallery.search(template)
    gallery.search(template, exact=False)
