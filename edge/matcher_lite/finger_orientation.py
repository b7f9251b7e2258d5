"""Local ridge orientation and how sure it is, from the structure tensor of an enhanced plane."""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p

Plane = NDArray[np.float32]

_HALF_TURN = np.float32(np.pi)


def orient(plane: Plane, sigma: float = p.TENSOR_SIGMA) -> tuple[Plane, Plane]:
    """Ridge direction and coherence at half resolution.

    plane: (H, W). Returns theta in [0, π) rad, image axes (x right, y down), along the ridge; and coherence 0..1;
    both ((H+1)//2, (W+1)//2) float32.
    """
    xx, yy, xy = (np.asarray(cv2.GaussianBlur(part, (0, 0), sigma), np.float32) for part in _tensor(plane))
    difference = xx - yy
    theta = 0.5 * np.arctan2(2.0 * xy, difference) + _HALF_TURN / 2
    energy = xx + yy
    coherence = np.sqrt(difference * difference + 4.0 * xy * xy) / np.maximum(energy, 1e-12)
    return np.where(theta < _HALF_TURN, theta, theta - _HALF_TURN), coherence.astype(np.float32)


@njit(cache=True, nogil=True)
def _tensor(plane: Plane) -> tuple[Plane, Plane, Plane]:
    """Products of the gradient summed over 2 × 2 cells: (xx, yy, xy), each at half resolution."""
    height, width = plane.shape
    shape = ((height + 1) // 2, (width + 1) // 2)
    xx = np.zeros(shape, np.float32)
    yy = np.zeros(shape, np.float32)
    xy = np.zeros(shape, np.float32)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            gx = plane[y, x + 1] - plane[y, x - 1]
            gy = plane[y + 1, x] - plane[y - 1, x]
            xx[y // 2, x // 2] += gx * gx
            yy[y // 2, x // 2] += gy * gy
            xy[y // 2, x // 2] += gx * gy
    return xx, yy, xy
