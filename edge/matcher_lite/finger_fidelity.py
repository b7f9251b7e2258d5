"""How far the drawn ridges can be believed: their correlation with what the sensor saw, and one orientation only."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p

Plane = NDArray[np.float32]


def trust(plane: Plane, ridges: Plane, coherence: Plane) -> Plane:
    """Correlation of normalised image and ridges × coherence, each 0..1, at half resolution.

    plane, ridges: (H, W); coherence: ((H+1)//2, (W+1)//2).
    """
    half = (coherence.shape[1], coherence.shape[0])
    sums = []
    for product in (plane * ridges, plane * plane, ridges * ridges):
        reduced = cv2.resize(product, half, interpolation=cv2.INTER_AREA)
        sums.append(cv2.GaussianBlur(reduced, (0, 0), p.QUALITY_SIGMA / 2))
    mixed, seen, drawn = sums
    correlation = mixed / np.sqrt(np.maximum(seen * drawn, 1e-12))
    return np.asarray(np.clip(correlation, 0.0, 1.0) * coherence, np.float32)
