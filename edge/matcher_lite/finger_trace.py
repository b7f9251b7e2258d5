"""Shows every stage of an extraction as a picture, for whoever wonders why a print fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_extract import extract
from edge.matcher_lite.finger_picture import grey_picture, inline_png, minutiae_picture, singularities_picture
from edge.matcher_lite.finger_singularities import singularities_of
from edge.matcher_lite.finger_template import FingerTemplate

_EXPLAINED = {
    "grey": "The image at 333 ppi",
    "normalised": "Evened out: zero local mean, unit local deviation",
    "segment": "Finger (grey) and interior (white), where minutiae may lie",
    "spectrum": "Waves that each neighbourhood agrees on",
    "orientation": "Ridge direction, dark = 0°, light = 180°",
    "ridges": "Ridges drawn by the oriented filter",
    "direction": "Coherence of direction after drawing",
    "trust": "Belief: correlation with the image × coherence",
}

# One size for all stages: some are at half resolution, some of the finger's box only.
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem;color:#1b1f24}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(18rem,1fr));gap:1rem}figure{margin:0}
img{width:100%;height:24rem;object-fit:contain;background:#eef0f3}figcaption{font-size:.9rem;color:#444}
figure:nth-last-child(-n+2){grid-column:span 2}figure:nth-last-child(-n+2) img{height:44rem}"""


def trace(image: NDArray[Any], ppi: int, out: Path) -> FingerTemplate:
    """Extracts `image` and writes out/index.html with a picture of each stage; returns the template."""
    stages: dict[str, Any] = {}
    template = extract(image, ppi, observe=stages.__setitem__)
    figures = [inline_png(_picture(name, stages[name]), f"{name}: {text}") for name, text in _EXPLAINED.items()]
    marked = minutiae_picture(stages["grey"], p.WORKING_PPI, template, 3.0)
    figures.append(inline_png(marked, f"{template.minutiae} minutiae: endings red, bifurcations blue"))
    singular = singularities_of(stages) if template.usable else ()
    flow = singularities_picture(stages["grey"], p.WORKING_PPI, singular, 3.0)
    figures.append(inline_png(flow, f"{len(singular)} singular points: cores red, deltas green"))
    advice = "".join(f"<li>{item.english} <i>{item.indonesian}</i></li>" for item in template.advice)
    out.mkdir(parents=True, exist_ok=True)
    (out / "index.html").write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Trace of an extraction</title>'
        f"<style>{_STYLE}</style><h1>Trace of an extraction</h1>"
        f"<p>Found {len(stages['residues'].x)} phase residues, kept {template.minutiae} minutiae; "
        f"quality {template.quality}.</p><ul>{advice}</ul><main>{''.join(figures)}</main></html>",
        encoding="utf-8",
    )
    return template


def _picture(name: str, value: Any) -> NDArray[np.uint8]:
    """The picture that shows a stage's outcome best."""
    if name == "grey":
        return np.asarray(value, np.uint8)
    if name == "segment":
        finger, interior = value
        return np.asarray(finger * np.uint8(110) + interior * np.uint8(145), np.uint8)
    if name == "orientation":
        return np.asarray(value[0] * (255 / np.pi), np.uint8)
    if name == "direction":
        return grey_picture(value[1])
    if name == "normalised":
        return grey_picture(value[0])
    return grey_picture(value)
