"""The FVC protocol on sets of finger images: which pairs are compared, and what error rates come out.

Mated: all pairs of impressions of a finger. Standard impostors: all pairs of first impressions. Cross impostors: all
pairs of impressions of different fingers. A competition set has ten fingers and a threshold of its own; a larger set
is therefore taken as several sets of ten and its error rates are the means over them, since an error rate at a
common threshold, or with more impostors, could not be set beside theirs.
Maio, Maltoni, Cappelli, Wayman, Jain, "FVC2002: Second Fingerprint Verification Competition", ICPR 2002.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.errors import RemoteError
from contract.sample import FingerPosition
from virtual.finger_presets import CapturePreset
from virtual.people import person

BLOCK_FINGERS: Final = 10
FINGERS_USED: Final = (
    FingerPosition.RIGHT_INDEX,
    FingerPosition.LEFT_MIDDLE,
    FingerPosition.RIGHT_THUMB,
    FingerPosition.LEFT_INDEX,
    FingerPosition.RIGHT_MIDDLE,
)
_SUFFIXES: Final = {".tif", ".tiff", ".png", ".bmp"}


class Comparator(Protocol):
    """An extractor and a comparator of finger images; templates are its own business."""

    name: str

    def extract(self, image: NDArray[np.uint8], ppi: int) -> Any:
        """A template of an image (H, W) uint8."""

    def compare(self, probe: Any, reference: Any) -> float:
        """A score; higher is more alike."""


@dataclass(frozen=True, slots=True, eq=False)
class FingerSet:
    """Images by finger and impression. ppi: their resolution."""

    name: str
    ppi: int
    images: tuple[tuple[NDArray[np.uint8], ...], ...]


@dataclass(frozen=True, slots=True)
class SetResult:
    """Error rates of one comparator on one set, in percent, with the numbers of pairs behind them.

    eer_standard: against standard impostors. eer_cross: against cross impostors. fnmr_1e3: FNMR where the FMR of the
    cross impostors is 1e-3. All are means over blocks of ten fingers. extraction_ms: mean time of one extraction.
    """

    comparator: str
    data: str
    mated: int
    standard: int
    cross: int
    eer_standard: float
    eer_cross: float
    fnmr_1e3: float
    extraction_ms: float

    def as_dict(self) -> dict[str, object]:
        """The result as plain values."""
        return asdict(self)


def equal_error_rate(mated: NDArray[np.float64], non_mated: NDArray[np.float64]) -> float:
    """The error rate, 0–1, where FMR and FNMR meet; the mean of both at the threshold where they are closest."""
    thresholds = np.unique(np.concatenate([mated, non_mated]))
    mated, non_mated = np.sort(mated), np.sort(non_mated)
    fnmr = np.searchsorted(mated, thresholds, side="left") / mated.size
    fmr = 1.0 - np.searchsorted(non_mated, thresholds, side="left") / non_mated.size
    best = int(np.argmin(np.abs(fmr - fnmr)))
    return float((fmr[best] + fnmr[best]) / 2)


def fnmr_at(mated: NDArray[np.float64], non_mated: NDArray[np.float64], fmr: float) -> float:
    """FNMR, 0–1, at the lowest threshold whose FMR does not exceed `fmr`."""
    allowed = int(np.floor(fmr * non_mated.size))
    threshold = np.sort(non_mated)[::-1][min(allowed, non_mated.size - 1)]
    return float(np.mean(mated <= threshold))


def load_directory(folder: Path, ppi: int) -> FingerSet:
    """Images named FINGER_IMPRESSION.* in a folder.

    Raises RemoteError where there are none, or one cannot be read.
    """
    found: dict[str, list[tuple[int, NDArray[np.uint8]]]] = {}
    for path in sorted(folder.iterdir() if folder.is_dir() else []):
        finger, _, impression = path.stem.partition("_")
        if path.suffix.lower() not in _SUFFIXES or not impression.isdigit():
            continue
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise RemoteError(f"{path.name} is not an image.", next_step="Remove the file or restore it.")
        found.setdefault(finger, []).append((int(impression), np.asarray(image, dtype=np.uint8)))
    if len(found) < 2:
        raise RemoteError(f"{folder} holds no finger images.", next_step="Name them FINGER_IMPRESSION.tif or .png.")
    return FingerSet(
        folder.name,
        ppi,
        tuple(tuple(image for _, image in sorted(each, key=lambda pair: pair[0])) for each in found.values()),
    )


def synthetic_set(seed: int, fingers: int, impressions: int, preset: CapturePreset) -> FingerSet:
    """Impressions of fingers of as many different synthetic people."""
    images = tuple(
        tuple(
            person(seed, index).finger(FINGERS_USED[index % len(FINGERS_USED)], k, preset=preset)
            for k in range(impressions)
        )
        for index in range(fingers)
    )
    return FingerSet(f"synthetic {preset.name}", 500, images)


def _pairs(images: Sequence[Sequence[object]]) -> Iterator[tuple[str, tuple[int, int], tuple[int, int]]]:
    for finger, impressions in enumerate(images):
        for a, b in combinations(range(len(impressions)), 2):
            yield "mated", (finger, a), (finger, b)
    for f, g in combinations(range(len(images)), 2):
        yield "standard", (f, 0), (g, 0)
        for a in range(len(images[f])):
            for b in range(len(images[g])):
                yield "cross", (f, a), (g, b)


@dataclass(frozen=True, slots=True, eq=False)
class _Scores:
    """Scores of one block by kind of pair."""

    mated: NDArray[np.float64]
    standard: NDArray[np.float64]
    cross: NDArray[np.float64]


def _compare_block(comparator: Comparator, templates: Sequence[Sequence[Any]]) -> _Scores:
    found: dict[str, list[float]] = {"mated": [], "standard": [], "cross": []}
    for kind, (f, a), (g, b) in _pairs(templates):
        found[kind].append(comparator.compare(templates[f][a], templates[g][b]))
    return _Scores(*(np.array(found[kind]) for kind in ("mated", "standard", "cross")))


def run_protocol(comparator: Comparator, data: FingerSet) -> SetResult:
    """All comparisons of the protocol on one set."""
    begun = time.perf_counter()
    templates = [[comparator.extract(image, data.ppi) for image in finger] for finger in data.images]
    extraction_ms = 1000 * (time.perf_counter() - begun) / sum(len(finger) for finger in data.images)
    starts = range(0, max(len(templates) - 1, 1), BLOCK_FINGERS)
    blocks = [_compare_block(comparator, templates[start : start + BLOCK_FINGERS]) for start in starts]
    return SetResult(
        comparator=comparator.name,
        data=data.name,
        mated=sum(block.mated.size for block in blocks),
        standard=sum(block.standard.size for block in blocks),
        cross=sum(block.cross.size for block in blocks),
        eer_standard=100 * float(np.mean([equal_error_rate(each.mated, each.standard) for each in blocks])),
        eer_cross=100 * float(np.mean([equal_error_rate(each.mated, each.cross) for each in blocks])),
        fnmr_1e3=100 * float(np.mean([fnmr_at(each.mated, each.cross, 1e-3) for each in blocks])),
        extraction_ms=extraction_ms,
    )
