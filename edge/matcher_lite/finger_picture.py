"""Pictures for reports and traces: planes as grey images, minutiae drawn on prints, both as PNG inside HTML."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.finger_minutiae import MinutiaKind
from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_singularities import Singularity, SingularKind
from edge.matcher_lite.finger_template import FingerTemplate

Picture = NDArray[np.uint8]

_ENDING = (30, 30, 220)
_BIFURCATION = (220, 110, 20)
_CORE = (30, 30, 220)
_DELTA = (40, 150, 30)


def grey_picture(plane: NDArray[Any]) -> Picture:
    """Any plane stretched to 0..255; a signed one around mid grey."""
    values = np.asarray(plane, np.float32)
    reach = float(np.percentile(np.abs(values), 99)) or 1.0
    if values.min() < 0.0:
        return np.asarray(np.clip(128 + values * (127 / reach), 0, 255), np.uint8)
    return np.asarray(np.clip(values * (255 / reach), 0, 255), np.uint8)


def minutiae_picture(grey: Picture, ppi: float, template: FingerTemplate, scale: float = 2.0) -> Picture:
    """The print enlarged, endings in red and bifurcations in blue, each with its direction."""
    canvas = cv2.cvtColor(cv2.resize(grey, None, fx=scale, fy=scale), cv2.COLOR_GRAY2BGR)
    per_px = scale * ppi / p.TEMPLATE_PPI
    for x, y, angle, kind in zip(template.x, template.y, template.angle, template.kind, strict=True):
        colour = _ENDING if kind == MinutiaKind.ENDING else _BIFURCATION
        centre = (round(float(x + 0.5) * per_px), round(float(y + 0.5) * per_px))
        reach = 8 * scale
        tip = (round(centre[0] + reach * float(np.cos(angle))), round(centre[1] - reach * float(np.sin(angle))))
        cv2.circle(canvas, centre, round(3 * scale), colour, 1, cv2.LINE_AA)
        cv2.line(canvas, centre, tip, colour, 1, cv2.LINE_AA)
    return np.asarray(canvas, np.uint8)


def singularities_picture(grey: Picture, ppi: float, points: Iterable[Singularity], scale: float = 2.0) -> Picture:
    """The print enlarged, cores in red and deltas in green, each with its direction."""
    canvas = cv2.cvtColor(cv2.resize(grey, None, fx=scale, fy=scale), cv2.COLOR_GRAY2BGR)
    per_px = scale * ppi / p.TEMPLATE_PPI
    for point in points:
        colour = _CORE if point.kind is SingularKind.CORE else _DELTA
        centre = (round((point.x + 0.5) * per_px), round((point.y + 0.5) * per_px))
        reach = 16 * scale
        tip = (
            round(centre[0] + reach * float(np.cos(point.angle))),
            round(centre[1] - reach * float(np.sin(point.angle))),
        )
        cv2.circle(canvas, centre, round(5 * scale), colour, 2, cv2.LINE_AA)
        cv2.line(canvas, centre, tip, colour, 2, cv2.LINE_AA)
    return np.asarray(canvas, np.uint8)


def inline_png(picture: Picture, caption: str) -> str:
    """The picture as an HTML figure that needs no other file."""
    _, octets = cv2.imencode(".png", picture)
    data = base64.b64encode(octets.tobytes()).decode("ascii")
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
    )
