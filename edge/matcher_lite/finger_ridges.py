"""Draws the ridges clean: a Gabor filter turned to the local orientation, then a light blur.

Four neighbouring pixels share one orientation, hence one kernel.
"""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p

Plane = NDArray[np.float32]
Mask = NDArray[np.uint8]

_LANES = 16  # kernel rows padded to a vector's width


def _bank() -> Plane:
    """Kernels of zero mean: (orientations, side, lanes); columns beyond the side are 0."""
    reach = p.GABOR_SIDE // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float64)
    bank = np.zeros((p.GABOR_ORIENTATIONS, p.GABOR_SIDE, _LANES), np.float32)
    for index in range(p.GABOR_ORIENTATIONS):
        theta = np.pi * index / p.GABOR_ORIENTATIONS
        along = x * np.cos(theta) + y * np.sin(theta)
        across = y * np.cos(theta) - x * np.sin(theta)
        envelope = np.exp(-0.5 * ((across / p.GABOR_SIGMA_ACROSS) ** 2 + (along / p.GABOR_SIGMA_ALONG) ** 2))
        kernel = envelope * np.cos(2 * np.pi * across / p.GABOR_PERIOD)
        kernel -= envelope * (kernel.sum() / envelope.sum())
        bank[index, :, : p.GABOR_SIDE] = kernel / np.abs(kernel).sum()
    return bank


_BANK = _bank()


def draw(plane: Plane, theta: Plane, finger: Mask) -> Plane:
    """Ridge pattern, dark ridges negative: (H, W) float32, 0 outside the finger.

    theta: ridge direction at half resolution, as `finger_orientation.orient` gives it.
    """
    height, width = plane.shape
    reach = p.GABOR_SIDE // 2
    padded = np.zeros((height + 2 * reach + 2, width + _LANES + 2), np.float32)
    padded[reach : reach + height, reach : reach + width] = plane
    ridges = _convolve(padded, theta, finger, _BANK)
    return cv2.GaussianBlur(ridges, (0, 0), p.RIDGE_BLUR_SIGMA).astype(np.float32)


@njit(cache=True, nogil=True)
def _convolve(padded: Plane, theta: Plane, finger: Mask, bank: Plane) -> Plane:
    """Each 2 × 2 cell of the finger through the kernel of its orientation."""
    height, width = finger.shape
    orientations, side, _ = bank.shape
    output = np.zeros((height, width), np.float32)
    total = np.zeros(16, np.float32)
    per_radian = orientations / np.pi
    for y in range(0, height, 2):
        for x in range(0, width, 2):
            if finger[y, x] == 0:
                continue
            index = int(theta[y // 2, x // 2] * per_radian + 0.5) % orientations
            for dy in range(min(2, height - y)):
                for dx in range(min(2, width - x)):
                    total[:] = 0.0
                    for j in range(side):
                        for i in range(16):
                            total[i] += bank[index, j, i] * padded[y + dy + j, x + dx + i]
                    value = np.float32(0.0)
                    for i in range(11):
                        value += total[i]
                    output[y + dy, x + dx] = value
    return output
