"""Measures extractor and comparator on a folder of eyes: all against all, one eye, failures to enrol are misses.

Two layouts: PERSON/L/*.jpg and PERSON/R/*.jpg (as CASIA-Iris-Interval has it), or a CSV of path, person, eye.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import RekamError
from contract.image_formats import decode_image
from contract.sample import IrisPosition, eyes_are_swapped
from edge.matcher_lite import iris_parameters as p
from edge.matcher_lite.finger_evaluation import Scores, equal_error_rate, fnmr_at
from edge.matcher_lite.finger_file import read_octets
from edge.matcher_lite.iris_compare import log10_fmr, score_of
from edge.matcher_lite.iris_extract import extract_iris
from edge.matcher_lite.iris_kernel import EXACT, score_all
from edge.matcher_lite.iris_side import which_eye
from edge.matcher_lite.iris_template import IrisTemplate, probe_rotations

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".jp2"})
_EYES = {"L": IrisPosition.LEFT, "R": IrisPosition.RIGHT}


@dataclass(frozen=True, slots=True)
class Eye:
    """One image: whose eye it shows, its template (unusable where it failed to enrol), extraction's processor time."""

    path: Path
    person: str
    position: IrisPosition
    template: IrisTemplate
    extract_ms: float

    @property
    def identity(self) -> tuple[str, IrisPosition]:
        """Images of equal identity are mated."""
        return self.person, self.position


@dataclass(frozen=True, slots=True)
class IrisPair:
    """Two images and their score value."""

    first: Eye
    second: Eye
    value: float


@dataclass(frozen=True, slots=True)
class IrisEvaluation:
    """What a run found: normalised scores of mated and non-mated pairs, times, and the pairs that went worst."""

    name: str
    eyes: tuple[Eye, ...]
    mated: Scores
    cross: Scores
    extract_ms: float
    comparisons_per_s: float
    sides: tuple[IrisPosition, ...]
    worst_mated: tuple[IrisPair, ...]
    worst_cross: tuple[IrisPair, ...]

    def figures(self) -> dict[str, Any]:
        """The figures by name; rates in per cent."""
        named = {f"fmr_at_threshold_{fmr:g}": self._observed_fmr(fmr) for fmr in (1e-2, 1e-3, 1e-4, 1e-5)}
        return {
            "set": self.name,
            "images": len(self.eyes),
            "fte": sum(not eye.template.usable for eye in self.eyes),
            "mated": int(self.mated.size),
            "non_mated": int(self.cross.size),
            "eer": 100 * equal_error_rate(self.mated, self.cross),
            "fnmr_fmr100": 100 * fnmr_at(self.mated, self.cross, 1e-2),
            "fnmr_fmr1000": 100 * fnmr_at(self.mated, self.cross, 1e-3),
            "fnmr_fmr10000": 100 * fnmr_at(self.mated, self.cross, 1e-4),
            **named,
            **self._side_figures(),
            "extract_ms": self.extract_ms,
            "comparisons_per_s": self.comparisons_per_s,
        }

    def _side_figures(self) -> dict[str, float]:
        """Per cent of images that were judged to be a left or right eye, and of those against their label.

        Then of pairs of one person's right and left image that look swapped: how often an operator is asked needlessly.
        """
        judged = [(eye, side) for eye, side in zip(self.eyes, self.sides, strict=True) if side]
        wrong = sum(eye.position is not side for eye, side in judged)
        seen: dict[tuple[str, IrisPosition], list[IrisPosition]] = {}
        for eye, side in zip(self.eyes, self.sides, strict=True):
            seen.setdefault(eye.identity, []).append(side)
        pairs = [
            eyes_are_swapped(left=left, right=right)
            for person in {eye.person for eye in self.eyes}
            for right in seen.get((person, IrisPosition.RIGHT), ())
            for left in seen.get((person, IrisPosition.LEFT), ())
        ]
        return {
            "side_judged": 100 * len(judged) / len(self.eyes),
            "side_wrong": 100 * wrong / max(len(judged), 1),
            "pairs_swapped": 100 * sum(pairs) / max(len(pairs), 1),
        }

    def _observed_fmr(self, fmr: float) -> float:
        """Share of the non-mated pairs that a threshold named by `fmr` lets pass."""
        ordered = np.unique(self.cross)
        values = np.array([-10.0 * log10_fmr(float(score)) for score in ordered])
        first = int(np.searchsorted(values, -10.0 * np.log10(fmr)))
        return float(np.mean(self.cross >= ordered[first])) if first < ordered.size else 0.0


def evaluate_irises(source: Path, worst: int = 6) -> IrisEvaluation:
    """Extract and compare everything; RekamError where there are not two eyes with two images each."""
    eyes = enrol_all(source)
    identities = np.array([hash(eye.identity) for eye in eyes])
    references = np.stack([eye.template.code for eye in eyes])
    masks = np.stack([eye.template.mask for eye in eyes])
    scores = np.zeros((len(eyes), len(eyes)), dtype=np.float64)
    _score_row(eyes[0], references[:1], masks[:1])  # compiled code is loaded before the clock counts
    started = time.process_time()
    for row, eye in enumerate(eyes[:-1]):
        scores[row, row + 1 :] = _score_row(eye, references[row + 1 :], masks[row + 1 :])
    spent = max(time.process_time() - started, 1e-9)
    first, second = np.triu_indices(len(eyes), 1)
    values = scores[first, second]
    same = identities[first] == identities[second]
    if not same.any() or same.all():
        raise RekamError(
            f"{source.name} does not hold two eyes with two images each.",
            next_step="Name the files PERSON/L/*.jpg and PERSON/R/*.jpg, or give a CSV of path, person, eye.",
        )
    order = np.argsort(values)
    low = [index for index in order if same[index]][:worst]
    high = [index for index in order[::-1] if not same[index]][:worst]

    def pairs(chosen: Sequence[int]) -> tuple[IrisPair, ...]:
        return tuple(
            IrisPair(eyes[first[index]], eyes[second[index]], score_of(values[index]).value) for index in chosen
        )

    return IrisEvaluation(
        name=source.stem,
        eyes=tuple(eyes),
        mated=values[same],
        cross=values[~same],
        extract_ms=float(np.median([eye.extract_ms for eye in eyes])),
        comparisons_per_s=len(values) / spent,
        sides=tuple(which_eye(decode_image(read_octets(eye.path))).position for eye in eyes),
        worst_mated=pairs(low),
        worst_cross=pairs(high),
    )


def enrol_all(source: Path) -> list[Eye]:
    """Every image of the folder or CSV, extracted."""
    return [_enrol(*entry) for entry in _listing(source)]


def _listing(source: Path) -> list[tuple[Path, str, IrisPosition]]:
    """Every image of the folder or CSV with its person and eye."""
    if source.is_dir():
        found = [
            (path, path.parts[-3], _EYES[path.parts[-2]])
            for path in sorted(source.glob("*/[LR]/*"))
            if path.suffix.lower() in IMAGE_SUFFIXES
        ]
    else:
        rows = csv.reader(read_octets(source).decode("utf-8", errors="replace").splitlines())
        found = [
            (source.parent / row[0], row[1].strip(), _EYES[row[2].strip().upper()[:1]])
            for row in rows
            if len(row) >= 3 and row[2].strip().upper()[:1] in _EYES
        ]
    if len(found) < 2:
        raise RekamError(
            f"{source} holds no iris images.",
            next_step="Give a folder of PERSON/L/*.jpg and PERSON/R/*.jpg, or a CSV of path, person, eye.",
        )
    _enrol(*found[0])
    return found


def _enrol(path: Path, person: str, position: IrisPosition) -> Eye:
    pixels = decode_image(read_octets(path))
    started = time.process_time()
    template = extract_iris(pixels, position)
    return Eye(path, person, position, template, 1e3 * (time.process_time() - started))


def _score_row(eye: Eye, references: NDArray[np.uint64], masks: NDArray[np.uint64]) -> NDArray[np.float32]:
    codes, code_masks = probe_rotations(eye.template)
    return score_all(codes, code_masks, references, masks, p.JOINT_BITS_MIN, EXACT)
