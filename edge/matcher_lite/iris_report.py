"""Irises as pages: an evaluation with its worst pairs, and the stages of one extraction."""

from __future__ import annotations

import html
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.image_formats import decode_image
from edge.matcher_lite import iris_parameters as p
from edge.matcher_lite.finger_file import read_octets
from edge.matcher_lite.finger_picture import Picture, inline_png
from edge.matcher_lite.finger_report import det_curve, shown
from edge.matcher_lite.iris_encode import fine_bits
from edge.matcher_lite.iris_evaluation import Eye, IrisEvaluation, IrisPair
from edge.matcher_lite.iris_polar import FloatImage
from edge.matcher_lite.iris_quality import judge
from edge.matcher_lite.iris_segment import Segmentation, segment
from edge.matcher_lite.iris_texture import unroll

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
table{border-collapse:collapse}td{padding:.2rem 1rem .2rem 0;border-bottom:1px solid #d8dde3}
figure{display:inline-block;margin:.3rem}img{max-width:100%}figcaption{font-size:.85rem;color:#555}"""
_LABELS = {
    "images": "images",
    "fte": "failed to enrol (scored 0)",
    "mated": "mated pairs",
    "non_mated": "non-mated pairs",
    "eer": "EER, %",
    "fnmr_fmr100": "FNMR at FMR 1e-2, %",
    "fnmr_fmr1000": "FNMR at FMR 1e-3, %",
    "fnmr_fmr10000": "FNMR at FMR 1e-4, %",
    "fmr_at_threshold_0.01": "FMR observed where 1e-2 is named",
    "fmr_at_threshold_0.001": "FMR observed where 1e-3 is named",
    "fmr_at_threshold_0.0001": "FMR observed where 1e-4 is named",
    "fmr_at_threshold_1e-05": "FMR observed where 1e-5 is named",
    "side_judged": "judged to be a left or a right eye, %",
    "side_wrong": "of those against their label, %",
    "pairs_swapped": "right and left of one person that look swapped, % of pairs",
    "extract_ms": "extraction, median, ms",
    "comparisons_per_s": "comparisons per second, one thread",
}
_PUPIL, _LIMBUS = (60, 60, 230), (60, 200, 60)


def evaluation_page(result: IrisEvaluation) -> str:
    """Figures, DET curve and the worst pairs, complete in one file."""
    figures = result.figures()
    rows = "".join(f"<tr><td>{label}</td><td>{shown(figures[name])}</td></tr>" for name, label in _LABELS.items())
    return _page(
        f"Irises: {result.name}",
        f"<table>{rows}</table><h2>Detection error trade-off</h2>{det_curve(result)}"
        "<h2>Mated pairs with the lowest scores</h2>"
        + "".join(_pair(pair) for pair in result.worst_mated)
        + "<h2>Non-mated pairs with the highest scores</h2>"
        + "".join(_pair(pair) for pair in result.worst_cross),
    )


def trace_page(image: NDArray[np.uint8], name: str) -> str:
    """What the extractor saw in `image`, stage by stage."""
    found = segment(image)
    if found is None:
        return _page(f"Trace of {name}", inline_png(image, "No eye was found."))
    texture, valid = unroll(found)
    bits, trust = fine_bits(texture, valid)
    quality = judge(image, found, texture, valid)
    measured = "".join(
        f"<tr><td>{field.replace('_', ' ')}</td><td>{_shown(getattr(quality, field))}</td></tr>"
        for field in quality.__slots__
    )
    stages = (
        inline_png(_contours(found), "Pupil (red) and limbus (green), glints filled"),
        inline_png(_strip(texture, None), "Unrolled: pupil above, limbus below"),
        inline_png(_strip(texture, valid), "Without lids, lashes and glints"),
        inline_png(_code(bits, trust), "Code: two bands of eight rows; grey bits are not trusted"),
    )
    return _page(f"Trace of {name}", "<br>".join(stages) + f"<table>{measured}</table>")


def _page(title: str, body: str) -> str:
    title = html.escape(title)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"<h1>{title}</h1>{body}</html>"
    )


def _shown(value: float | str) -> str:
    return html.escape(value) or "none" if isinstance(value, str) else f"{value:.3g}"


def _pair(pair: IrisPair) -> str:
    return f"<h3>{pair.value:.1f}</h3>{_eye(pair.first)}{_eye(pair.second)}"


def _eye(eye: Eye) -> str:
    image = decode_image(read_octets(eye.path))
    found = segment(image)
    name = html.escape(f"{eye.person} {eye.position.name.lower()} {Path(eye.path).stem}")
    if found is None:
        return inline_png(image, f"{name}: no eye found")
    texture, valid = unroll(found)
    contours, strip = _contours(found), _strip(texture, valid)
    strip = np.asarray(cv2.resize(strip, (contours.shape[1], 60)), dtype=np.uint8)
    picture = np.vstack([contours, cv2.cvtColor(strip, cv2.COLOR_GRAY2BGR)])
    return inline_png(np.asarray(picture, dtype=np.uint8), f"{name}: quality {eye.template.quality}")


def _contours(found: Segmentation) -> Picture:
    canvas = cv2.cvtColor(found.image.astype(np.uint8), cv2.COLOR_GRAY2BGR)
    for contour, colour in ((found.pupil, _PUPIL), (found.limbus, _LIMBUS)):
        x, y = contour.points(180)
        cv2.polylines(canvas, [np.stack([x, y], axis=1).round().astype(np.int32)], True, colour, 1, cv2.LINE_AA)
    return np.asarray(canvas, dtype=np.uint8)


def _strip(texture: FloatImage, valid: NDArray[np.bool_] | None) -> Picture:
    shown = texture if valid is None else np.where(valid, texture, 0.25 * texture)
    return np.clip(shown, 0, 255).astype(np.uint8)


def _code(bits: NDArray[np.bool_], trust: NDArray[np.bool_]) -> Picture:
    """The upright code, four pixels a bit; real and imaginary parts side by side in each column."""
    step = p.FINE_COLUMNS // p.CODE_COLUMNS
    shown = np.where(trust, np.where(bits, 255, 0), 128)[:, :, ::step].astype(np.uint8)
    plane = shown.reshape(p.CODE_ROWS * len(p.WAVELENGTHS), -1)
    return np.kron(plane, np.ones((6, 6), dtype=np.uint8))
