"""The evaluation as a page: figures, the DET curve, and the pairs that went worst, drawn with their minutiae."""

from __future__ import annotations

import html
from typing import Protocol

import numpy as np

from edge.matcher_lite.finger_evaluation import Evaluation, Pair, Print, Scores
from edge.matcher_lite.finger_file import read_image
from edge.matcher_lite.finger_picture import inline_png, minutiae_picture

_WIDTH, _HEIGHT, _MARGIN = 580, 420, 66
_DECADES = 4  # from 1 down to 1e-4

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
table{border-collapse:collapse}td,th{padding:.2rem 1rem .2rem 0;text-align:left;border-bottom:1px solid #d8dde3}
figure{display:inline-block;margin:.3rem}img{max-width:20rem}figcaption{font-size:.85rem;color:#555}
.pair{border-top:1px solid #d8dde3}"""

_LABELS = {
    "images": "images",
    "fte": "failed to enrol (scored 0)",
    "mated": "mated pairs",
    "non_mated_standard": "non-mated pairs, standard",
    "non_mated_cross": "non-mated pairs, cross",
    "eer_std": "EER, standard, %",
    "eer_cross": "EER, cross, %",
    "fnmr_fmr100_cross": "FNMR at FMR 1e-2, cross, %",
    "fnmr_fmr1000_cross": "FNMR at FMR 1e-3, cross, %",
    "fnmr_zero_fmr_cross": "FNMR where no cross pair passes, %",
    "extract_ms": "extraction, median, ms",
    "comparisons_per_s": "comparisons per second, one thread",
}


class Separated(Protocol):
    """Scores of mated and of non-mated pairs, of whichever modality."""

    @property
    def mated(self) -> Scores:
        """Scores of mated pairs."""
        ...

    @property
    def cross(self) -> Scores:
        """Scores of non-mated pairs."""
        ...


def page(result: Evaluation, ppi: int | None) -> str:
    """The HTML page, complete in one file."""
    figures = result.figures()
    rows = "".join(
        f"<tr><td>{label}</td><td>{shown(figures[name])}</td></tr>"
        for name, label in _LABELS.items()
        if name in figures
    )
    title = f"Fingerprints: {html.escape(result.name)}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"<h1>{title}</h1><table>{rows}</table><h2>Detection error trade-off</h2>{det_curve(result)}"
        "<h2>Mated pairs with the lowest scores</h2>"
        + "".join(_pair(pair, ppi) for pair in result.worst_mated)
        + "<h2>Non-mated pairs with the highest scores</h2>"
        + "".join(_pair(pair, ppi) for pair in result.worst_cross)
        + "</html>"
    )


def shown(value: float) -> str:
    """A figure of a report: counts and rates a second in whole numbers, what is small to three places."""
    return f"{value:,.0f}" if value >= 1000 or value == round(value) else f"{value:.3g}"


def det_curve(result: Separated) -> str:
    """FNMR over FMR of the cross pairs as SVG, both axes logarithmic from 1 to 1e-4."""
    thresholds = np.unique(np.concatenate([result.mated, result.cross]))
    fnmr = np.searchsorted(np.sort(result.mated), thresholds, side="left") / result.mated.size
    fmr = 1.0 - np.searchsorted(np.sort(result.cross), thresholds, side="left") / result.cross.size
    points = " ".join(f"{_across(x):.1f},{_down(y):.1f}" for x, y in zip(fmr, fnmr, strict=True))
    grid = []
    for decade in range(_DECADES + 1):
        rate = 10.0**-decade
        grid.append(f'<path d="M{_across(rate):.1f} {_down(1):.1f}V{_down(0):.1f}" stroke="#d8dde3"/>')
        grid.append(f'<path d="M{_across(0):.1f} {_down(rate):.1f}H{_across(1):.1f}" stroke="#d8dde3"/>')
        grid.append(f'<text x="{_across(rate):.1f}" y="{_down(0) + 18:.1f}" text-anchor="middle">{rate:g}</text>')
        grid.append(f'<text x="{_MARGIN - 8}" y="{_down(rate) + 4:.1f}" text-anchor="end">{rate:g}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-size="12" '
        f'font-family="system-ui,sans-serif">{"".join(grid)}'
        f'<polyline points="{points}" fill="none" stroke="#0a58ca" stroke-width="2"/>'
        f'<text x="{_WIDTH / 2:.0f}" y="{_down(0) + 40:.1f}" text-anchor="middle">false match rate (cross)</text>'
        f'<text x="14" y="{_HEIGHT / 2:.0f}" text-anchor="middle" transform="rotate(-90 14 {_HEIGHT / 2:.0f})">'
        "false non-match rate</text></svg>"
    )


def _position(rate: float) -> float:
    return min(max(-float(np.log10(max(rate, 1e-12))) / _DECADES, 0.0), 1.0)


def _across(rate: float) -> float:
    return _MARGIN + (1.0 - _position(rate)) * (_WIDTH - 2 * _MARGIN)


def _down(rate: float) -> float:
    return _MARGIN / 2 + _position(rate) * (_HEIGHT - 2 * _MARGIN)


def _pair(pair: Pair, ppi: int | None) -> str:
    heading = f"{html.escape(pair.first.path.stem)} and {html.escape(pair.second.path.stem)}: {pair.score:.1f}"
    return f'<div class="pair"><h3>{heading}</h3>{_print(pair.first, ppi)}{_print(pair.second, ppi)}</div>'


def _print(item: Print, ppi: int | None) -> str:
    image, resolution = read_image(item.path, ppi)
    name = html.escape(item.path.stem)
    if item.template is None:
        return inline_png(image, f"{name}: failed to enrol")
    picture = minutiae_picture(image, resolution, item.template, 1.5)
    return inline_png(picture, f"{name}: {item.template.minutiae} minutiae, quality {item.template.quality}")
