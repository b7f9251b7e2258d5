"""The demo's report: one HTML file that needs nothing beside it, drawn from the chronicle."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from contract.lifecycle import RecordState
from edge.matcher_lite import FingerTemplate
from virtual.demo.chronicle import Chronicle, Pixels
from virtual.demo.state_picture import Way, svg


def write_report(chronicle: Chronicle, path: Path, *, seconds: float, fingers: str) -> None:
    """Write the report to `path`. fingers: where the index fingers came from, in words."""
    environment = Environment(
        loader=PackageLoader("virtual.demo", "templates"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["embed"] = embed
    ways = [
        Way(story.title, story.colour, [RecordState(row["state"]) for row in story.history])
        for story in chronicle.residents.values()
        if story.history
    ]
    page = environment.get_template("report.html").render(
        chronicle=chronicle,
        seconds=seconds,
        fingers=fingers,
        diagram=svg(ways),
        ways=ways,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def embed(png: bytes) -> str:
    """A PNG as a data address."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def encode_png(pixels: Pixels, width_px: int = 0) -> bytes:
    """Grey or RGB pixels as PNG, reduced to `width_px` where that is smaller."""
    if 0 < width_px < pixels.shape[1]:
        height_px = round(pixels.shape[0] * width_px / pixels.shape[1])
        pixels = np.asarray(cv2.resize(pixels, (width_px, height_px), interpolation=cv2.INTER_AREA), np.uint8)
    ordered = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    _, encoded = cv2.imencode(".png", ordered)
    return bytes(encoded)


def draw_minutiae(pixels: Pixels, template: FingerTemplate, scale: float) -> Pixels:
    """A fingerprint with its minutiae: a ring at each, a stroke along the ridge; `scale` maps template to pixels."""
    canvas = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)
    canvas = np.asarray(cv2.addWeighted(canvas, 0.75, np.full_like(canvas, 255), 0.25, 0), np.uint8)
    points: Sequence[tuple[float, float, float]] = list(
        zip(template.x.tolist(), template.y.tolist(), template.angle.tolist(), strict=True)
    )
    for x, y, angle in points:
        centre = (round(x * scale), round(y * scale))
        tip = (round(x * scale + 13 * np.cos(angle)), round(y * scale + 13 * np.sin(angle)))
        cv2.circle(canvas, centre, 4, (196, 30, 58), 1, cv2.LINE_AA)
        cv2.line(canvas, centre, tip, (196, 30, 58), 1, cv2.LINE_AA)
    return canvas
