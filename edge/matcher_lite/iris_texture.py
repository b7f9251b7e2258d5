"""The iris unrolled: a rectangle of 64 rows (pupil to limbus) by 512 columns (once around), and what of it is iris.

Columns start at the image's right (three o'clock) and run clockwise as the viewer sees it. Rows follow straight
lines from the pupil's contour to the limbus' contour, so neither has to be a circle nor share a centre.
"""

from __future__ import annotations

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from edge.matcher_lite import iris_parameters as p
from edge.matcher_lite.iris_polar import FloatImage
from edge.matcher_lite.iris_segment import Segmentation

Mask = NDArray[np.bool_]


def unroll(found: Segmentation) -> tuple[FloatImage, Mask]:
    """Texture (TEXTURE_ROWS, TEXTURE_COLUMNS) as float32 and where it is iris (True) rather than lid, lash or glint."""
    map_x, map_y = _grid(found)
    sampled = cv2.remap(found.image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    glint = cv2.remap(
        found.glints.astype(np.uint8), map_x, map_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=1
    )
    texture: FloatImage = np.asarray(sampled, dtype=np.float32)
    return texture, ~_occluded(texture, glint.astype(np.bool_))


def _grid(found: Segmentation) -> tuple[FloatImage, FloatImage]:
    """Image coordinates of each texture sample; row centres at (row + ½) / rows of the way."""
    inner_x, inner_y = found.pupil.points(p.TEXTURE_COLUMNS)
    outer_x, outer_y = found.limbus.points(p.TEXTURE_COLUMNS)
    way = ((np.arange(p.TEXTURE_ROWS) + 0.5) / p.TEXTURE_ROWS)[:, None]
    map_x = inner_x[None, :] * (1.0 - way) + outer_x[None, :] * way
    map_y = inner_y[None, :] * (1.0 - way) + outer_y[None, :] * way
    return map_x.astype(np.float32), map_y.astype(np.float32)


def _occluded(texture: FloatImage, glint: Mask) -> Mask:
    """Lids and lashes, by how far samples depart from what is usual in their row."""
    smooth = cv2.GaussianBlur(texture, (0, 0), sigmaX=2.0, sigmaY=1.0)
    sines = np.sin(np.arange(p.TEXTURE_COLUMNS) * (2.0 * np.pi / p.TEXTURE_COLUMNS))
    # The sides are seldom covered, and the lower half less than the upper (image rows run downwards).
    safe = (sines > -0.35) & (sines < 0.6)
    usual = cv2.GaussianBlur(np.median(smooth[:, safe], axis=1)[:, None], (1, 9), sigmaX=0.1, sigmaY=2.0)
    departure = smooth - usual
    spread = 1.4826 * float(np.median(np.abs(departure[:, safe]))) + 2.0
    ratio = (departure / spread).astype(np.float32)
    lids = _lids(ratio)
    upper = sines < 0.0
    lashes = (ratio < -p.LASH_DEVIATIONS) & (np.abs(sines) > 0.4) & upper
    bright = ratio > p.BRIGHT_DEVIATIONS
    odd = (lashes | bright | glint).astype(np.uint8)
    wide = np.concatenate([odd[:, -16:], odd, odd[:, :16]], axis=1)
    odd = cv2.dilate(wide, np.ones((3, 5), np.uint8))[:, 16:-16]
    return lids | odd.astype(np.bool_)


def _lids(ratio: FloatImage) -> Mask:
    """Where a lid lies: in every column all samples from some row outwards, the row moving smoothly with the angle.

    ratio: departures in units of their usual spread. A sample costs its squared ratio, up to a cap, where it is taken
    for iris, and a constant where it is taken for lid; dynamic programming around the ring finds the cheapest border.
    """
    width = p.LID_COLUMNS
    cost = np.minimum(ratio**2, p.LID_COST_MAX).reshape(p.TEXTURE_ROWS, width, -1).mean(axis=2)
    sines = np.sin((np.arange(width) + 0.5) * (2.0 * np.pi / width))
    lid_cost = np.where(np.abs(sines) < 0.35, p.LID_COST_SIDES, p.LID_COST)
    as_iris = np.concatenate([np.zeros((1, width)), np.cumsum(cost, axis=0)])
    as_lid = lid_cost[None, :] * (p.TEXTURE_ROWS - np.arange(p.TEXTURE_ROWS + 1))[:, None]
    border = _border(np.ascontiguousarray((as_iris + as_lid).T))
    border = np.where(border < p.TEXTURE_ROWS, border - p.LID_MARGIN_ROWS, border)
    border = np.repeat(border, p.TEXTURE_COLUMNS // width)
    return np.asarray(np.arange(p.TEXTURE_ROWS)[:, None] >= border[None, :])


@numba.njit(cache=True, nogil=True)
def _border(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """The closed path of least cost through (columns, rows); neighbours pay LID_STIFFNESS per row of change."""
    columns, rows = cost.shape
    overlap = columns // 4
    total = columns + 2 * overlap
    best = np.empty((total, rows))
    came = np.zeros((total, rows), dtype=np.int64)
    best[0] = cost[(columns - overlap) % columns]
    reach = p.LID_REACH_ROWS
    for i in range(1, total):
        c = (i - overlap) % columns
        for r in range(rows):
            least, source = 1e18, r
            for k in range(max(0, r - reach), min(rows, r + reach + 1)):
                value = best[i - 1, k] + p.LID_STIFFNESS * abs(k - r)
                if value < least:
                    least, source = value, k
            best[i, r] = least + cost[c, r]
            came[i, r] = source
    path = np.empty(columns, dtype=np.int64)
    r = int(np.argmin(best[total - 1]))
    for i in range(total - 1, -1, -1):
        if overlap <= i < overlap + columns:
            path[i - overlap] = r
        r = came[i, r]
    return path
