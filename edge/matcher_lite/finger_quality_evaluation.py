"""Judges the quality score by its error-versus-reject curve: what is missed when the worst pairs are sent back.

A pair is as good as its worse print. Pairs are rejected from the worst quality up; FNMR of what remains, at a threshold
named by FMR, should fall as fast as the pairs that fail are the ones sent back. After Grother and Tabassi, "Performance
of Biometric Quality Measures" (2007). The learnt score and the classical one are drawn over the same pairs.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.comparison import threshold_at
from contract.errors import RekamError
from edge.matcher_lite.finger_compare import compare
from edge.matcher_lite.finger_evaluation import image_paths
from edge.matcher_lite.finger_extract import extract
from edge.matcher_lite.finger_file import read_image
from edge.matcher_lite.finger_template import FingerTemplate

REJECTED = (0.0, 0.05, 0.1, 0.2, 0.3)
"""Shares of pairs sent back at which FNMR is stated."""
REJECTED_MAX = 0.3
"""The curve's area is taken up to here: no desk sends back more."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """One print with both of its qualities; template None where it failed to enrol (both are 0 then)."""

    folder: str
    finger: str
    learnt: int
    classical: int
    template: FingerTemplate | None


@dataclass(frozen=True, slots=True)
class QualityCurves:
    """Mated pairs: whether each was missed at `fmr`, and the worse quality of the two by either score, 0..100."""

    name: str
    fmr: float
    missed: NDArray[np.bool_]
    learnt: Numbers
    classical: Numbers

    def figures(self) -> dict[str, Any]:
        """FNMR in per cent where shares of the pairs are sent back, and the mean up to 30 %; for each score."""
        found: dict[str, Any] = {"set": self.name, "fmr": self.fmr, "mated": int(self.missed.size)}
        for score, quality in self.scores().items():
            for share in REJECTED:
                name = f"{score}_fnmr_{round(100 * share)}_rejected"
                found[name] = 100 * fnmr_rejecting(self.missed, quality, share)
            found[f"{score}_mean_fnmr"] = 100 * mean_fnmr(self.missed, quality)
        return found

    def scores(self) -> dict[str, Numbers]:
        """The scores by name; the ideal one knows which pairs fail."""
        return {"learnt": self.learnt, "classical": self.classical, "ideal": 1.0 - self.missed.astype(np.float64)}


def fnmr_rejecting(missed: NDArray[np.bool_], quality: Numbers, share: float) -> float:
    """FNMR, 0..1, of what remains when the worst `share` of pairs is sent back; equal qualities in no order."""
    values, inverse = np.unique(quality, return_inverse=True)
    pairs = np.concatenate([[0.0], np.cumsum(np.bincount(inverse, minlength=values.size))])
    errors = np.concatenate([[0.0], np.cumsum(np.bincount(inverse, weights=missed, minlength=values.size))])
    rejected = share * missed.size
    return float((errors[-1] - np.interp(rejected, pairs, errors)) / max(missed.size - rejected, 1.0))


def mean_fnmr(missed: NDArray[np.bool_], quality: Numbers, share_max: float = REJECTED_MAX) -> float:
    """Mean of the curve from nothing to `share_max` sent back, 0..1: the lower, the better the quality predicts."""
    return float(np.mean([fnmr_rejecting(missed, quality, share) for share in np.linspace(0.0, share_max, 61)]))


def evaluate_quality(folders: Sequence[Path], ppi: int | None = None, fmr: float = 1e-4) -> QualityCurves:
    """Compares all mated pairs of FINGER_IMPRESSION images of the folders; RekamError where there are none."""
    judged = [_judge(folder, path, ppi) for folder in folders for path in image_paths(folder)]
    pairs = [
        (first, second)
        for first, second in itertools.combinations(judged, 2)
        if (first.folder, first.finger) == (second.folder, second.finger)
    ]
    if not pairs:
        raise RekamError(
            "There are no two impressions of one finger.",
            next_step="Name the files FINGER_IMPRESSION.tif, for example 101_1.tif, 101_2.tif.",
        )
    values = [
        0.0 if first.template is None or second.template is None else compare(first.template, second.template).value
        for first, second in pairs
    ]
    return QualityCurves(
        name=", ".join(folder.name for folder in folders),
        fmr=fmr,
        missed=np.array(values) < threshold_at(fmr),
        learnt=np.array([min(first.learnt, second.learnt) for first, second in pairs], np.float64),
        classical=np.array([min(first.classical, second.classical) for first, second in pairs], np.float64),
    )


def _judge(folder: Path, path: Path, ppi: int | None) -> Judged:
    stages: dict[str, Any] = {}
    image, resolution = read_image(path, ppi)
    finger = path.stem.partition("_")[0]
    try:
        template = extract(image, resolution, observe=stages.__setitem__)
    except RekamError:
        return Judged(str(folder), finger, 0, 0, None)
    if not template.usable:
        return Judged(str(folder), finger, 0, 0, None)
    return Judged(str(folder), finger, template.quality, stages["classical"].value, template)


_WIDTH, _HEIGHT, _MARGIN = 640, 420, 64
_COLOURS = {"learnt": "#0a58ca", "classical": "#b45309", "ideal": "#94a3b8"}


def curve_picture(curves: QualityCurves) -> str:
    """The curves as SVG: FNMR in per cent over the share of pairs sent back, 0 to 30 %."""
    shares = np.linspace(0.0, REJECTED_MAX, 61)
    drawn = {
        name: [fnmr_rejecting(curves.missed, quality, share) for share in shares]
        for name, quality in curves.scores().items()
    }
    top = 1.1 * max(1e-2, *itertools.chain.from_iterable(drawn.values()))
    wide, high = _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN

    def across(share: float) -> float:
        return _MARGIN + share / REJECTED_MAX * wide

    def down(rate: float) -> float:
        return _HEIGHT - _MARGIN - rate / top * high

    parts = []
    for step in range(7):
        share, rate = step / 6 * REJECTED_MAX, step / 6 * top
        parts.append(f'<path d="M{across(share):.1f} {down(0):.1f}V{down(top):.1f}M{across(0):.1f} {down(rate):.1f}'
                     f'H{across(REJECTED_MAX):.1f}" stroke="#d8dde3"/>')  # fmt: skip
        parts.append(f'<text x="{across(share):.1f}" y="{_HEIGHT - 36}" text-anchor="middle">{100 * share:g}</text>')
        parts.append(f'<text x="{_MARGIN - 8}" y="{down(rate) + 4:.1f}" text-anchor="end">{100 * rate:.3g}</text>')
    for row, (name, line) in enumerate(drawn.items()):
        points = " ".join(f"{across(share):.1f},{down(rate):.1f}" for share, rate in zip(shares, line, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{_COLOURS[name]}" stroke-width="2"/>')
        parts.append(f'<text x="{_WIDTH - _MARGIN - 8}" y="{_MARGIN + 18 * (row + 1)}" text-anchor="end" '
                     f'fill="{_COLOURS[name]}">{name}</text>')  # fmt: skip
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-size="12" '
        f'font-family="system-ui,sans-serif">{"".join(parts)}'
        f'<text x="{_WIDTH / 2:.0f}" y="{_HEIGHT - 12}" text-anchor="middle">pairs sent back, worst quality first, %'
        f'</text><text x="14" y="{_HEIGHT / 2:.0f}" text-anchor="middle" transform="rotate(-90 14 {_HEIGHT / 2:.0f})">'
        f"FNMR of the rest at FMR {curves.fmr:g}, %</text></svg>"
    )


def quality_page(curves: QualityCurves) -> str:
    """The curves and their figures as an HTML page, complete in one file."""
    rows = "".join(
        f"<tr><td>{name}</td>"
        + "".join(f"<td>{100 * fnmr_rejecting(curves.missed, quality, share):.2f}</td>" for share in REJECTED)
        + f"<td>{100 * mean_fnmr(curves.missed, quality):.2f}</td></tr>"
        for name, quality in curves.scores().items()
    )
    heads = "".join(f"<th>{100 * share:g} %</th>" for share in REJECTED)
    title = f"Finger quality: {html.escape(curves.name)}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "td,th{padding:.2rem 1rem .2rem 0;text-align:left;border-bottom:1px solid #d8dde3}</style>"
        f"<h1>{title}</h1><p>{curves.missed.size} mated pairs, {int(curves.missed.sum())} missed at FMR "
        f"{curves.fmr:g}. FNMR in per cent when the worst pairs are sent back:</p>{curve_picture(curves)}"
        f"<table><tr><th>quality</th>{heads}<th>mean to 30 %</th></tr>{rows}</table></html>"
    )
