"""Learns the projection of minutia codes: what ships from random minutiae, others from prints to set beside it.

What matters is how cylinders vary, and that follows from geometry alone: minutiae scattered at a finger's density,
seen twice with the jitter, distortion, losses and inventions of real captures. The axes are those that tell different
minutiae apart best against that within-minutia variation (linear discriminants after a principal component cut). From
prints it is the same with minutiae that met when two impressions of a finger were compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from contract.comparison import Decision
from contract.errors import RemoteError
from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_codes import Projection, cells
from edge.matcher_lite.finger_compare import compare
from edge.matcher_lite.finger_cylinder import CELLS
from edge.matcher_lite.finger_template import FingerTemplate

Plane = NDArray[np.float32]

_PRINCIPAL = 300
_RIDGE = 0.05
_ROWS_MIN = 2000
_HALF_WIDTH = 110.0  # px at 500 ppi: the print is an ellipse of 11 × 16 mm and less
_HALF_HEIGHT = 160.0


def random_minutiae(random: np.random.Generator, spacing_min: float = 9.0) -> Plane:
    """Minutiae at a finger's density in an ellipse, directions following a smooth random field: geometry (4, n)."""
    scale = random.uniform(0.6, 1.1)
    target = int(random.normal(42, 8) * scale * scale)
    points: list[tuple[float, float]] = []
    for _ in range(20 * max(target, 8)):
        radius = np.sqrt(random.uniform())
        angle = random.uniform(0, 2 * np.pi)
        point = (radius * np.cos(angle) * _HALF_WIDTH * scale, radius * np.sin(angle) * _HALF_HEIGHT * scale)
        if all((point[0] - q[0]) ** 2 + (point[1] - q[1]) ** 2 >= spacing_min**2 for q in points):
            points.append(point)
        if len(points) >= max(target, 8):
            break
    x, y = np.array(points).T
    bend = random.normal(0, 1.0, 3)
    field = bend[0] + bend[1] * x / _HALF_WIDTH + bend[2] * y / _HALF_HEIGHT + random.normal(0, 0.5, x.shape)
    angle = field + np.pi * random.integers(0, 2, x.shape)
    return np.array([x, y, np.cos(angle), np.sin(angle)], np.float32)


def second_impression(random: np.random.Generator, geometry: Plane) -> tuple[Plane, NDArray[np.intp]]:
    """The same finger captured again: (geometry, index of each surviving minutia in the first, −1 for inventions)."""
    x, y, c, s = geometry.astype(np.float64)
    angle = np.arctan2(s, c)
    stretch = random.normal(0, 0.03, (2, 2))
    bow = random.normal(0, 0.00015, (2, 3))
    warped_x = x + stretch[0] @ [x, y] + bow[0] @ [x * x, x * y, y * y]
    warped_y = y + stretch[1] @ [x, y] + bow[1] @ [x * x, x * y, y * y]
    warped_x += random.normal(0, 1.8, x.shape)
    warped_y += random.normal(0, 1.8, x.shape)
    angle += random.normal(0, 0.10, x.shape)
    cut = random.normal(0, 1, 2)
    cut /= np.hypot(*cut)
    seen = (cut[0] * x + cut[1] * y) < random.uniform(30, 200)
    seen &= random.uniform(size=x.shape) > 0.18
    index = np.flatnonzero(seen)
    extra = random_minutiae(random)[:, : max(int(0.15 * index.size), 1)].astype(np.float64)
    xs = np.concatenate([warped_x[index], extra[0]])
    ys = np.concatenate([warped_y[index], extra[1]])
    turn = np.concatenate([angle[index], np.arctan2(extra[3], extra[2])])
    origin = np.concatenate([index, np.full(extra.shape[1], -1)])
    return np.array([xs, ys, np.cos(turn), np.sin(turn)], np.float32), origin


def learn_projection(seed: int = 1, fingers: int = 4000) -> Projection:
    """Projection learnt from `fingers` random fingers seen twice; the same for the same seed."""
    random = np.random.default_rng(seed)
    first: list[Plane] = []
    second: list[Plane] = []
    for _ in range(fingers):
        ideal = random_minutiae(random)
        one, origin_one = second_impression(random, ideal)
        two, origin_two = second_impression(random, ideal)
        cells_one, cells_two = cells(one), cells(two)
        _, i, j = np.intersect1d(origin_one[origin_one >= 0], origin_two[origin_two >= 0], return_indices=True)
        first.append(cells_one[i])
        second.append(cells_two[j])
    return discriminants(np.concatenate(first), np.concatenate(second))


def learn_from_templates(fingers: Sequence[Sequence[FingerTemplate]], fmr: float = 1e-4) -> Projection:
    """Projection learnt from impressions of each finger: the minutiae that met wherever two of them match at `fmr`.

    RemoteError where that gives fewer minutiae than the discriminants need.
    """
    first: list[Plane] = []
    second: list[Plane] = []
    for impressions in fingers:
        held = [(template, cells(template.geometry)) for template in impressions]
        for (one, cells_one), (two, cells_two) in itertools.combinations(held, 2):
            score = compare(one, two, explain=True)
            if score.decide(fmr) is Decision.MATCH:
                i, j = np.array(score.paired).T
                first.append(cells_one[i])
                second.append(cells_two[j])
    if sum(len(rows) for rows in first) < _ROWS_MIN:
        raise RemoteError(
            "These prints hold too few minutiae seen twice to learn from.",
            next_step="Give folders of more fingers with several impressions each.",
        )
    return discriminants(np.concatenate(first), np.concatenate(second))


def discriminants(first: Plane, second: Plane) -> Projection:
    """Axes that separate minutiae best: rows of `first` and `second` are the same minutiae seen twice, (n, CELLS)."""
    stacked = np.concatenate([first, second]).astype(np.float64)
    mean = stacked.mean(0)
    _, vectors = linalg.eigh(np.cov(stacked.T), subset_by_index=[CELLS - _PRINCIPAL, CELLS - 1])
    basis = vectors[:, ::-1]
    reduced = (stacked - mean) @ basis
    difference = reduced[: len(first)] - reduced[len(first) :]
    within = difference.T @ difference / (2 * len(first))
    within += np.eye(_PRINCIPAL) * _RIDGE * np.trace(within) / _PRINCIPAL
    total = np.cov(reduced.T)
    _, directions = linalg.eigh(total, within)
    directions = directions[:, ::-1][:, : p.CODE_BITS]
    axes = basis @ directions
    axes /= np.linalg.norm(axes, axis=0)
    axes *= np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    return Projection(axes.astype(np.float32), (mean @ axes).astype(np.float32))
