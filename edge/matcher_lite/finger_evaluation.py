"""Measures extractor and comparator on a folder of prints, as the Fingerprint Verification Competitions do.

Files are named FINGER_IMPRESSION.*. Mated: all pairs of impressions of a finger. Non-mated "standard": first
impressions of different fingers; "cross": all pairs of different fingers. A failure to enrol scores 0 in every pair.
After Maio, Maltoni, Cappelli, Wayman, Jain, "FVC2000: Fingerprint Verification Competition" (2002).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import RekamError
from contract.finger_card import CardFormat
from edge.matcher_lite.finger_codes import Projection, describe
from edge.matcher_lite.finger_compare import compare, raw_similarity
from edge.matcher_lite.finger_extract import extract
from edge.matcher_lite.finger_file import IMAGE_SUFFIXES, read_image
from edge.matcher_lite.finger_template import FingerTemplate

Scores = NDArray[np.float64]
Alteration = Callable[[NDArray[np.uint8], int], tuple[NDArray[np.uint8], int]]
"""Makes another image and resolution of an image and its resolution."""

Told = Callable[[str], None]


class Held(StrEnum):
    """In which format a reference is kept: our template, or what others and the chip hold."""

    TEMPLATE = "template"
    ISO = "iso"
    CARD = "card"
    COMPACT_CARD = "compact-card"


def silent(_progress: str) -> None:
    """Hears how far it is and says nothing."""


@dataclass(frozen=True, slots=True)
class Print:
    """One file of the folder. template: None where it failed to enrol. extract_ms: processor time of extraction."""

    path: Path
    finger: str
    impression: str
    template: FingerTemplate | None
    extract_ms: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two prints and their score."""

    first: Print
    second: Print
    score: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a run found; scores as arrays, times as medians, the pairs that went worst."""

    name: str
    prints: tuple[Print, ...]
    mated: Scores
    standard: Scores
    cross: Scores
    extract_ms: float
    comparisons_per_s: float
    worst_mated: tuple[Pair, ...]
    worst_cross: tuple[Pair, ...]

    def figures(self) -> dict[str, Any]:
        """The figures by name; rates in per cent."""
        return {
            "set": self.name,
            "images": len(self.prints),
            "fte": sum(item.template is None for item in self.prints),
            "mated": int(self.mated.size),
            "non_mated_standard": int(self.standard.size),
            "non_mated_cross": int(self.cross.size),
            "eer_std": 100 * equal_error_rate(self.mated, self.standard),
            "eer_cross": 100 * equal_error_rate(self.mated, self.cross),
            "fnmr_fmr100_cross": 100 * fnmr_at(self.mated, self.cross, 1e-2),
            "fnmr_fmr1000_cross": 100 * fnmr_at(self.mated, self.cross, 1e-3),
            "fnmr_zero_fmr_cross": 100 * fnmr_at(self.mated, self.cross, 0.0),
            "extract_ms": self.extract_ms,
            "comparisons_per_s": self.comparisons_per_s,
        }


def equal_error_rate(mated: Scores, non_mated: Scores) -> float:
    """Mean of FNMR and FMR at the threshold where they lie closest, 0..1."""
    thresholds = np.unique(np.concatenate([mated, non_mated]))
    fnmr = np.searchsorted(np.sort(mated), thresholds, side="left") / mated.size
    fmr = 1.0 - np.searchsorted(np.sort(non_mated), thresholds, side="left") / non_mated.size
    closest = int(np.argmin(np.abs(fnmr - fmr)))
    return float((fnmr[closest] + fmr[closest]) / 2)


def fnmr_at(mated: Scores, non_mated: Scores, fmr: float) -> float:
    """Share of mated scores missed at the lowest threshold that lets at most `fmr` of the non-mated pass, 0..1."""
    allowed = int(np.floor(fmr * non_mated.size))
    threshold = np.sort(non_mated)[::-1][allowed]
    return float(np.mean(mated <= threshold))


def evaluate(
    folder: Path,
    ppi: int | None = None,
    jobs: int = 1,
    worst: int = 6,
    projection: Projection | None = None,
    held: Held = Held.TEMPLATE,
    told: Told = silent,
) -> Evaluation:
    """Extracts and compares everything in `folder`; RekamError where there are not two fingers of two impressions.

    projection: gives the codes where another than the shipped one is tried. held: in which format the second of each
    pair was kept. told: hears how far it is.
    """
    prints = enrol(folder, ppi, jobs, told=told)
    if projection is not None:
        prints = [_described(item, projection) for item in prints]
    return evaluate_prints(folder.name, prints, worst, held, told)


def evaluate_prints(
    name: str, prints: Sequence[Print], worst: int = 6, held: Held = Held.TEMPLATE, told: Told = silent
) -> Evaluation:
    """Compares all prints with each other; RekamError where there are not two fingers of two impressions."""
    told(f"Comparing {len(prints) * (len(prints) - 1) // 2} pairs")
    started = time.process_time()
    pairs = list(_compare_all(prints, held))
    spent = max(time.process_time() - started, 1e-9)
    mated = [pair for pair in pairs if pair.first.finger == pair.second.finger]
    cross = [pair for pair in pairs if pair.first.finger != pair.second.finger]
    first = min(item.impression for item in prints)
    standard = [pair for pair in cross if pair.first.impression == pair.second.impression == first]
    if not mated or not standard:
        raise RekamError(
            f"{name} does not hold two fingers with two impressions each.",
            next_step="Name the files FINGER_IMPRESSION.tif, for example 101_1.tif, 101_2.tif, 102_1.tif, 102_2.tif.",
        )
    return Evaluation(
        name=name,
        prints=tuple(prints),
        mated=_values(mated),
        standard=_values(standard),
        cross=_values(cross),
        extract_ms=float(np.median([item.extract_ms for item in prints])),
        comparisons_per_s=len(pairs) / spent,
        worst_mated=tuple(sorted(mated, key=lambda pair: pair.score)[:worst]),
        worst_cross=tuple(sorted(cross, key=lambda pair: -pair.score)[:worst]),
    )


def enrol(
    folder: Path, ppi: int | None, jobs: int, alter: Alteration | None = None, told: Told = silent
) -> list[Print]:
    """Every FINGER_IMPRESSION image of the folder with its template, by name. alter: what happens to each image first;
    in one process. told: hears how far it is.
    """
    paths = image_paths(folder)
    _enrol(paths[0], ppi)  # compiled code is loaded before the clock counts
    if jobs <= 1 or alter is not None:
        return list(_counted((_enrol(path, ppi, alter) for path in paths), len(paths), told))
    with ProcessPoolExecutor(jobs) as pool:
        return list(_counted(pool.map(_enrol, paths, itertools.repeat(ppi), chunksize=4), len(paths), told))


def _counted(prints: Iterable[Print], total: int, told: Told) -> Iterable[Print]:
    """The same prints, telling every tenth."""
    for count, item in enumerate(prints):
        if count % 10 == 0:
            told(f"Extracting {count} of {total}")
        yield item


def image_paths(folder: Path) -> list[Path]:
    """The FINGER_IMPRESSION images of a folder by name; RekamError where there are none."""
    paths = sorted(path for path in folder.glob("*_*.*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise RekamError(
            f"{folder} holds no finger images.",
            next_step="Give a folder of files named FINGER_IMPRESSION.tif (or png, bmp, wsq, jp2).",
        )
    return paths


def _enrol(path: Path, ppi: int | None, alter: Alteration | None = None) -> Print:
    finger, _, impression = path.stem.partition("_")
    template: FingerTemplate | None = None
    image, resolution = read_image(path, ppi)
    if alter is not None:
        image, resolution = alter(image, resolution)
    started = time.process_time()
    try:
        made = extract(image, resolution)
        template = made if made.usable else None
    except RekamError:
        template = None
    return Print(path, finger, impression, template, 1000 * (time.process_time() - started))


def _described(item: Print, projection: Projection) -> Print:
    """The print with codes of another projection."""
    if item.template is None:
        return item
    codes = describe(item.template.geometry, projection)
    return replace(item, template=replace(item.template, codes=codes))


def _compare_all(prints: Sequence[Print], held: Held) -> Iterable[Pair]:
    references = {item.path: item.template and _held(item.template, held) for item in prints}
    for first, second in itertools.combinations(prints, 2):
        reference = references[second.path]
        if first.template is None or reference is None:
            yield Pair(first, second, 0.0)
        else:
            yield Pair(first, second, compare(first.template, reference).value)


def _held(template: FingerTemplate, held: Held) -> FingerTemplate:
    """The template as it comes back from where it was kept."""
    if held is Held.TEMPLATE:
        return template
    if held is Held.ISO:
        return FingerTemplate.from_iso(template.to_iso())
    card_format = CardFormat.NORMAL if held is Held.CARD else CardFormat.COMPACT
    return FingerTemplate.from_card(template.to_card(card_format), card_format, template.position)


def _values(pairs: Sequence[Pair]) -> Scores:
    return np.array([pair.score for pair in pairs], np.float64)


def impostor_scores(prints: Sequence[Print]) -> Scores:
    """Raw scores of all pairs of different fingers, before any calibration."""
    enrolled = [item for item in prints if item.template is not None]
    return np.array(
        [
            raw_similarity(first.template, second.template)[0]
            for first, second in itertools.combinations(enrolled, 2)
            if first.finger != second.finger and first.template is not None and second.template is not None
        ],
        np.float64,
    )
