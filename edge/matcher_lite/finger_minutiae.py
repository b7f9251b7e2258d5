"""Finds minutiae as phase residues: points around which the ridge wave winds once.

Where a ridge ends or forks, the wave's phase gains or loses one turn around the point. In a cell of 2 × 2 pixels the
phase is read from the ridge value f and its derivative across the ridge; a turn of ±1 is a minutia. Nothing is
thinned, so nothing has to be repaired after thinning. The direction points to the side that has one ridge more, which
is ISO/IEC 19794-2's direction for endings and bifurcations alike. Described for fingerprints by Larkin and Fletcher,
"A coherent framework for fingerprint analysis" (2007).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p

Plane = NDArray[np.float32]
Mask = NDArray[np.uint8]


class Residues(NamedTuple):
    """Minutiae at the working resolution, one row each.

    x, y: pixel centres at integers, y down. dx, dy: unit direction towards the extra ridge, image axes.
    ending: 1 where the extra line is a ridge (it ends), 0 where it is a valley (the ridge forks). score: 0..1.
    """

    x: Plane
    y: Plane
    dx: Plane
    dy: Plane
    ending: NDArray[np.uint8]
    score: Plane


def locate(ridges: Plane, theta: Plane, interior: Mask, trust: Plane) -> Residues:
    """All residues inside `interior`.

    ridges: (H, W), dark ridges negative; theta and trust (0..1) at half resolution.
    """
    rows = _residues(ridges, np.cos(theta), np.sin(theta), interior, trust, p.TYPE_PROBE)
    return Residues(rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3], rows[:, 4].astype(np.uint8), rows[:, 5])


def prune(found: Residues) -> Residues:
    """Drops opposed pairs (gaps, scars, noise) and what is not to be trusted; best first, at most 100."""
    keep = _unopposed(found.x, found.y, found.dx, found.dy, p.OPPOSED_ALONG, p.OPPOSED_ACROSS, p.OPPOSED_ANGLE_MAX)
    keep &= found.score >= p.MINUTIA_QUALITY_MIN
    chosen = np.flatnonzero(keep)
    order = chosen[np.argsort(-found.score[chosen], kind="stable")][: p.MINUTIAE_MAX]
    return Residues(
        found.x[order], found.y[order], found.dx[order], found.dy[order], found.ending[order], found.score[order]
    )


@njit(cache=True, nogil=True)
def _sample(plane: Plane, x: float, y: float) -> float:
    """Bilinear value, 0 outside."""
    height, width = plane.shape
    left = int(np.floor(x))
    top = int(np.floor(y))
    if left < 0 or top < 0 or left + 1 >= width or top + 1 >= height:
        return 0.0
    fx = x - left
    fy = y - top
    upper = plane[top, left] * (1.0 - fx) + plane[top, left + 1] * fx
    lower = plane[top + 1, left] * (1.0 - fx) + plane[top + 1, left + 1] * fx
    return float(upper * (1.0 - fy) + lower * fy)


@njit(cache=True, nogil=True)
def _turns(f: Plane, g: Plane) -> int:
    """Winding number of (f, g) around the four corners of a cell, counted at the crossings of the +f axis."""
    turns = 0
    for corner in range(4):
        following = (corner + 1) % 4
        a = g[corner]
        b = g[following]
        if (a < 0.0) == (b < 0.0):
            continue
        crossing = f[corner] + (f[following] - f[corner]) * (a / (a - b))
        if crossing > 0.0:
            turns += 1 if a < 0.0 else -1
    return turns


@njit(cache=True, nogil=True)
def _root(f: Plane, g: Plane) -> tuple[float, float]:
    """Where the planes fitted to f and g vanish, within the unit cell; corners (0,0), (1,0), (1,1), (0,1)."""
    fx = 0.5 * (f[1] + f[2] - f[0] - f[3])
    fy = 0.5 * (f[2] + f[3] - f[0] - f[1])
    gx = 0.5 * (g[1] + g[2] - g[0] - g[3])
    gy = 0.5 * (g[2] + g[3] - g[0] - g[1])
    f0 = 0.25 * (f[0] + f[1] + f[2] + f[3])
    g0 = 0.25 * (g[0] + g[1] + g[2] + g[3])
    determinant = fx * gy - fy * gx
    if abs(determinant) < 1e-20:
        return 0.5, 0.5
    u = 0.5 - (f0 * gy - fy * g0) / determinant
    v = 0.5 - (fx * g0 - f0 * gx) / determinant
    return min(max(u, 0.0), 1.0), min(max(v, 0.0), 1.0)


@njit(cache=True, nogil=True)
def _across(ridges: Plane, y: int, x: int, tx: float, ty: float) -> float:
    """Derivative of the ridge value across the direction (tx, ty), times two."""
    across: float = (ridges[y + 1, x] - ridges[y - 1, x]) * tx - (ridges[y, x + 1] - ridges[y, x - 1]) * ty
    return across


@njit(cache=True, nogil=True)
def _residues(ridges: Plane, cosine: Plane, sine: Plane, interior: Mask, trust: Plane, probe: float) -> Plane:
    """Rows of x, y, dx, dy, ending, score; cosine and sine of the ridge direction at half resolution."""
    height, width = ridges.shape
    rows = np.empty((4096, 6), np.float32)
    count = 0
    f = np.empty(4, np.float32)
    g = np.empty(4, np.float32)
    for y in range(1, height - 2):
        for x in range(1, width - 2):
            if interior[y, x] == 0:
                continue
            f[0] = ridges[y, x]
            f[1] = ridges[y, x + 1]
            f[2] = ridges[y + 1, x + 1]
            f[3] = ridges[y + 1, x]
            below = int(f[0] < 0.0) + int(f[1] < 0.0) + int(f[2] < 0.0) + int(f[3] < 0.0)
            if below in (0, 4):
                continue
            tx = cosine[y // 2, x // 2]
            ty = sine[y // 2, x // 2]
            g[0] = _across(ridges, y, x, tx, ty)
            g[1] = _across(ridges, y, x + 1, tx, ty)
            g[2] = _across(ridges, y + 1, x + 1, tx, ty)
            g[3] = _across(ridges, y + 1, x, tx, ty)
            falling = int(g[0] < 0.0) + int(g[1] < 0.0) + int(g[2] < 0.0) + int(g[3] < 0.0)
            if falling in (0, 4):
                continue
            turns = _turns(f, g)
            if turns == 0 or count == rows.shape[0]:
                continue
            u, v = _root(f, g)
            sign = -1.0 if turns > 0 else 1.0
            dx = sign * tx
            dy = sign * ty
            ahead = _sample(ridges, x + u + probe * dx, y + v + probe * dy)
            behind = _sample(ridges, x + u - probe * dx, y + v - probe * dy)
            rows[count, 0] = x + u
            rows[count, 1] = y + v
            rows[count, 2] = dx
            rows[count, 3] = dy
            rows[count, 4] = 1.0 if ahead < behind else 0.0
            rows[count, 5] = trust[y // 2, x // 2]
            count += 1
    return rows[:count].copy()


@njit(cache=True, nogil=True)
def _unopposed(
    x: Plane, y: Plane, dx: Plane, dy: Plane, along: float, across: float, angle: float
) -> NDArray[np.bool_]:
    """False for both members of each opposed pair, nearest pairs first."""
    count = x.shape[0]
    keep = np.ones(count, np.bool_)
    limit = -np.cos(angle)
    pairs = np.empty((count * 8, 3), np.float32)
    found = 0
    for i in range(count):
        for j in range(i + 1, count):
            rx = x[j] - x[i]
            ry = y[j] - y[i]
            if rx * rx + ry * ry > along * along or dx[i] * dx[j] + dy[i] * dy[j] > limit:
                continue
            t = (rx * dx[i] + ry * dy[i]) / along
            n = (ry * dx[i] - rx * dy[i]) / across
            distance = t * t + n * n
            if distance <= 1.0 and found < pairs.shape[0]:
                pairs[found, 0] = distance
                pairs[found, 1] = i
                pairs[found, 2] = j
                found += 1
    for row in np.argsort(pairs[:found, 0], kind="mergesort"):
        i = int(pairs[row, 1])
        j = int(pairs[row, 2])
        if keep[i] and keep[j]:
            keep[i] = False
            keep[j] = False
    return keep
