"""Draws the ridges clean: a Gabor filter turned to the local orientation, then a light blur.

Four neighbouring pixels share one orientation. Their four kernels are laid on one common window, which is then read
once for all four. The sums are reordered by the compiler, once and for all runs alike.
"""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p

Plane = NDArray[np.float32]
Mask = NDArray[np.uint8]

_WINDOW = p.GABOR_SIDE + 1


def _bank() -> Plane:
    """Kernels of zero mean, each at the four places of a cell: (orientations, 4, window²)."""
    reach = p.GABOR_SIDE // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float64)
    bank = np.zeros((p.GABOR_ORIENTATIONS, 4, _WINDOW, _WINDOW), np.float32)
    for index in range(p.GABOR_ORIENTATIONS):
        theta = np.pi * index / p.GABOR_ORIENTATIONS
        along = x * np.cos(theta) + y * np.sin(theta)
        across = y * np.cos(theta) - x * np.sin(theta)
        envelope = np.exp(-0.5 * ((across / p.GABOR_SIGMA_ACROSS) ** 2 + (along / p.GABOR_SIGMA_ALONG) ** 2))
        kernel = envelope * np.cos(2 * np.pi * across / p.GABOR_PERIOD)
        kernel -= envelope * (kernel.sum() / envelope.sum())
        kernel /= np.abs(kernel).sum()
        for place in range(4):
            top, left = divmod(place, 2)
            bank[index, place, top : top + p.GABOR_SIDE, left : left + p.GABOR_SIDE] = kernel
    return bank.reshape(p.GABOR_ORIENTATIONS, 4, -1)


_BANK = _bank()


def draw(plane: Plane, theta: Plane, finger: Mask) -> Plane:
    """Ridge pattern, dark ridges negative: (H, W) float32, 0 outside the finger.

    theta: ridge direction at half resolution, as `finger_orientation.orient` gives it.
    """
    height, width = plane.shape
    reach = p.GABOR_SIDE // 2
    padded = np.zeros((height + _WINDOW + 1, width + _WINDOW + 1), np.float32)
    padded[reach : reach + height, reach : reach + width] = plane
    ridges = _convolve(padded, theta, finger, _BANK)[:height, :width]
    return np.asarray(cv2.GaussianBlur(ridges, (0, 0), p.RIDGE_BLUR_SIGMA), np.float32)


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _correlate(kernels: Plane, window: Plane) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Sums of products of the four kernels (4, n) with one window (n,)."""
    first = second = third = fourth = np.float32(0.0)
    for i in range(window.shape[0]):
        value = window[i]
        first += kernels[0, i] * value
        second += kernels[1, i] * value
        third += kernels[2, i] * value
        fourth += kernels[3, i] * value
    return first, second, third, fourth


@njit(cache=True, nogil=True)
def _convolve(padded: Plane, theta: Plane, finger: Mask, bank: Plane) -> Plane:
    """Each 2 × 2 cell of the finger through the kernels of its orientation; one row and column more than the finger."""
    height, width = finger.shape
    output = np.zeros((height + 1, width + 1), np.float32)
    window = np.zeros((_WINDOW, _WINDOW), np.float32)
    flat = window.reshape(_WINDOW * _WINDOW)
    per_radian = bank.shape[0] / np.pi
    for y in range(0, height, 2):
        for x in range(0, width, 2):
            if finger[y, x] == 0:
                continue
            index = int(theta[y // 2, x // 2] * per_radian + 0.5) % bank.shape[0]
            for j in range(_WINDOW):
                for i in range(_WINDOW):
                    window[j, i] = padded[y + j, x + i]
            upper_left, upper_right, lower_left, lower_right = _correlate(bank[index], flat)
            output[y, x] = upper_left
            output[y, x + 1] = upper_right
            output[y + 1, x] = lower_left
            output[y + 1, x + 1] = lower_right
    return output
