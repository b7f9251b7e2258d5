"""Finds the core and delta of a finger: the points around which the ridges' direction turns by half a turn.

A core is where the Poincaré index of the direction field is +1/2, a delta where it is −1/2. Every point found in a
smooth field is verified on rings around it, so that a scar or a smear, where direction is merely lost, is no core. For
loops the core so defined lies within a ridge or two of the innermost loop's summit, which examiners mark. Comparison
does not use singular points: a cut-off print has none, and an arch never has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_extract import extract
from edge.matcher_lite.finger_segment import Region

Plane = NDArray[np.float32]
Waves = NDArray[np.complex64]


class SingularKind(StrEnum):
    """The two kinds of singular points of a ridge flow."""

    CORE = "core"
    DELTA = "delta"

    @property
    def turn(self) -> int:
        """Twice the Poincaré index."""
        return 1 if self is SingularKind.CORE else -1


@dataclass(frozen=True, slots=True)
class Singularity:
    """One singular point.

    x, y: px at 500 ppi, as minutiae have them. angle: rad, counter-clockwise as seen: where a core's ridges open to,
    or one of a delta's three valleys. certainty: 0..1, how well the ridges around follow such a point.
    """

    kind: SingularKind
    x: float
    y: float
    angle: float
    certainty: float


def find_singularities(image: NDArray[Any], ppi: int = 500) -> tuple[Singularity, ...]:
    """Cores and deltas of a finger image, the most certain first, at most two of each; empty where none is seen.

    image, ppi: as `extract` takes them, with the same errors.
    """
    stages: dict[str, Any] = {}
    template = extract(image, ppi, observe=stages.__setitem__)
    return singularities_of(stages) if template.usable else ()


def singularities_of(stages: Mapping[str, Any]) -> tuple[Singularity, ...]:
    """Cores and deltas from the stages that `extract` showed its observer."""
    region: Region = stages["crop"]
    theta, coherence = stages["orientation"]
    seen = region.finger[::2, ::2][: theta.shape[0], : theta.shape[1]] > 0
    waves = np.where(seen, coherence * np.exp(2j * theta), 0.0).astype(np.complex64)
    coarse, fine = _smooth(waves, p.SINGULAR_SIGMA), _smooth(waves, p.SINGULAR_SIGMA_FINE)
    turns, fine_turns = _turns(coarse), _turns(fine)
    found = []
    for kind in SingularKind:
        finer = _cells(fine_turns, kind)
        verified = []
        for place in _cells(turns, kind):
            point = _verified(kind, _nearest(place, finer), fine, region)
            if point is not None:
                verified.append(point)
        found.extend(_distinct(verified))
    return tuple(sorted(found, key=lambda point: -point.certainty))


def _smooth(waves: Waves, sigma: float) -> Waves:
    """The field of doubled angles, averaged; its length is how far the neighbourhood agrees."""
    parts = [cv2.GaussianBlur(np.ascontiguousarray(part), (0, 0), sigma) for part in (waves.real, waves.imag)]
    return np.asarray(parts[0] + 1j * parts[1], np.complex64)


def _turns(waves: Waves) -> NDArray[np.int64]:
    """Whole turns of the doubled angle around each cell of 2 × 2 pixels, (H−1, W−1): +1 core, −1 delta, 0 neither.

    The corners are walked upper left, lower left, lower right, upper right. With y downwards angles grow the other
    way round, hence the sign.
    """
    corners = [waves[:-1, :-1], waves[1:, :-1], waves[1:, 1:], waves[:-1, 1:]]
    steps = [
        np.angle(after * np.conj(before)) for before, after in zip(corners, corners[1:] + corners[:1], strict=True)
    ]
    known = np.all([np.abs(corner) > 1e-6 for corner in corners], axis=0)
    return np.where(known, -np.round(sum(steps) / (2 * np.pi)), 0).astype(np.int64)


def _cells(turns: NDArray[np.int64], kind: SingularKind) -> NDArray[np.float64]:
    """Middles (x, y) of the cells that turn as `kind` does, (n, 2)."""
    return np.argwhere(turns == kind.turn)[:, ::-1].astype(np.float64) + 0.5


def _nearest(place: NDArray[np.float64], finer: NDArray[np.float64]) -> NDArray[np.float64]:
    """The finer place of the same kind, where one is near."""
    if finer.shape[0] == 0:
        return place
    away = np.hypot(*(finer - place).T)
    return finer[int(away.argmin())] if away.min() <= p.SINGULAR_PLACE_MAX else place


def _verified(kind: SingularKind, place: NDArray[np.float64], waves: Waves, region: Region) -> Singularity | None:
    """The point, where the ridges on every ring around it turn as its kind demands and can be believed."""
    around = np.linspace(0.0, 2.0 * np.pi, p.SINGULAR_RING_POINTS, endpoint=False)
    fits = []
    for radius in p.SINGULAR_RINGS:
        x = (place[0] + radius * np.cos(around)).astype(np.float32)[None]
        y = (place[1] + radius * np.sin(around)).astype(np.float32)[None]
        parts = [cv2.remap(np.ascontiguousarray(part), x, y, cv2.INTER_LINEAR)[0] for part in (waves.real, waves.imag)]
        ring = parts[0] + 1j * parts[1]
        steps = np.angle(np.roll(ring, -1) * np.conj(ring))
        turn = round(float(steps.sum()) / (2 * np.pi))
        # Two cores of a whorl may lie within one ring, which then turns twice.
        if turn not in {kind.turn, 2 * kind.turn} or float(np.abs(ring).min()) == 0.0:
            return None
        if float(np.median(np.abs(ring))) < p.SINGULAR_COHERENCE_MIN:
            return None
        unit = ring / np.abs(ring)
        fits.append(complex((unit * np.exp(-1j * kind.turn * around)).mean()))
    fit = fits[0]
    opens = np.angle(fit) if kind is SingularKind.CORE else np.angle(fit) / 3.0
    scale = p.TEMPLATE_PPI / p.WORKING_PPI
    # Half-resolution pixel i is the middle of working pixels 2i and 2i + 1.
    across, down = 2.0 * place[0] + 0.5 + region.left, 2.0 * place[1] + 0.5 + region.top
    return Singularity(
        kind,
        (float(across) + 0.5) * scale - 0.5,
        (float(down) + 0.5) * scale - 0.5,
        float(-opens % (2 * np.pi)),
        min(float(np.abs(fit)), 1.0),
    )


def _distinct(points: list[Singularity]) -> list[Singularity]:
    """The most certain points, each once."""
    apart = p.SINGULAR_APART_MIN * 2.0 * p.TEMPLATE_PPI / p.WORKING_PPI
    kept: list[Singularity] = []
    for point in sorted(points, key=lambda point: -point.certainty):
        if all(np.hypot(point.x - other.x, point.y - other.y) >= apart for other in kept):
            kept.append(point)
    return kept[: p.SINGULAR_MAX]
