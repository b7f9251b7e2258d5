"""How good an iris image is, after the components of ISO/IEC 29794-6, and what the person can do about it.

Each component is measured, compared with the standard's recommended value and, where it falls short, turned into
the sentence that helps most. The overall value follows what decides comparison: how much iris was seen and how
sharply its borders and its texture stand out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.matcher_lite.iris_polar import FloatImage
from edge.matcher_lite.iris_segment import Segmentation

ADVICE_NO_EYE = "Look straight at the lamp with the eye wide open."
ADVICE_OPEN = "Open your eye wide."
ADVICE_CLOSER = "Come closer."
ADVICE_CENTRE = "Look straight at the lamp."
ADVICE_STILL = "Hold still."
ADVICE_LIGHT = "Move so that no lamp is mirrored in the eye."
INDONESIAN = {
    ADVICE_OPEN: "Buka mata lebar-lebar.",
    ADVICE_CLOSER: "Dekatkan mata ke pemindai.",
    ADVICE_CENTRE: "Lihat lurus ke lampu.",
    ADVICE_STILL: "Tahan diam.",
    ADVICE_NO_EYE: "Lihat lurus ke lampu dengan mata terbuka lebar.",
    ADVICE_LIGHT: "Geser sedikit agar tidak ada lampu yang terpantul di mata.",
}


@dataclass(frozen=True, slots=True)
class IrisQuality:
    """Components of ISO/IEC 29794-6:2015, clause 6.

    greyscale_utilisation: entropy of the image in bits (recommended ≥ 6). iris_sclera_contrast (> 5),
    iris_pupil_contrast (≥ 30): 0 to 100. pupil_iris_ratio: percent (20 to 70). concentricity: 0 to 100 (≥ 90).
    margin_adequacy: 0 to 100 (> 80). usable_area: percent of the iris that is seen. glare: percent of the iris under
    glints. iris_radius: pixels. sharpness: 0 to 100. overall: 0 to 100.
    """

    greyscale_utilisation: float
    iris_sclera_contrast: float
    iris_pupil_contrast: float
    pupil_iris_ratio: float
    concentricity: float
    margin_adequacy: float
    usable_area: float
    glare: float
    iris_radius: float
    sharpness: float
    overall: int
    advice: str


def judge(image: NDArray[np.uint8], found: Segmentation, texture: FloatImage, valid: NDArray[np.bool_]) -> IrisQuality:
    """Measure the components. image: the original; texture, valid: the unrolled iris and what of it is seen."""
    pupil, limbus = found.pupil, found.limbus
    usable = 100.0 * float(valid.mean())
    iris = float(np.median(texture[valid])) if valid.any() else 0.0
    dark = iris - pupil.level_inside(found.image)
    bright = limbus.level_beyond(found.image) - iris
    pupil_contrast = 100.0 * max(dark, 0.0) / max(iris + 20.0, 1.0)
    sclera_contrast = 100.0 * max(bright, 0.0) / max(2.0 * iris + bright, 1.0)
    ratio = 100.0 * pupil.radius / max(limbus.radius, 1e-6)
    offset = math.hypot(pupil.x - limbus.x, pupil.y - limbus.y)
    concentricity = 100.0 * max(0.0, 1.0 - offset / max(limbus.radius, 1e-6))
    radius = limbus.radius / found.scale
    sharpness = _sharpness(texture, valid)
    glare = _glare(found)
    overall = _overall(usable, sclera_contrast, sharpness, radius, pupil.support, limbus.support)
    return IrisQuality(
        greyscale_utilisation=_entropy(image),
        iris_sclera_contrast=sclera_contrast,
        iris_pupil_contrast=pupil_contrast,
        pupil_iris_ratio=ratio,
        concentricity=concentricity,
        margin_adequacy=_margin(found),
        usable_area=usable,
        glare=glare,
        iris_radius=radius,
        sharpness=sharpness,
        overall=overall,
        advice=_advice(usable, radius, sharpness, glare, min(concentricity, 70.0 + _margin(found))),
    )


def _entropy(image: NDArray[np.uint8]) -> float:
    share = np.bincount(image.ravel(), minlength=256) / image.size
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


def _sharpness(texture: FloatImage, valid: NDArray[np.bool_]) -> float:
    """Detail of a few samples' size around the ring, against what a sharp image of an iris has."""
    detail = texture[:, 2:-2] - 0.5 * (texture[:, :-4] + texture[:, 4:])
    seen = valid[:, 2:-2]
    if not seen.any():
        return 0.0
    energy = float(np.mean(np.minimum(np.abs(detail[seen]), 12.0)))
    return 100.0 * energy / (energy + 1.0)


def _margin(found: Segmentation) -> float:
    """Room around the iris: 0.6 radii at the sides, 0.2 above and below make 100 (clause 6.2.8)."""
    height, width = found.image.shape
    x, y, r = found.limbus.x, found.limbus.y, max(found.limbus.radius, 1e-6)
    sides = min(x - r, width - 1 - x - r) / (0.6 * r)
    vertical = min(y - r, height - 1 - y - r) / (0.2 * r)
    return float(100.0 * min(max(min(sides, vertical), 0.0), 1.0))


def _overall(
    usable: float, sclera: float, sharpness: float, radius: float, pupil_support: float, limbus_support: float
) -> int:
    """Product of saturating parts: any one that fails pulls the whole down."""
    parts = (
        min(usable / 65.0, 1.0),
        # A limbus that hardly shows makes an eye poor, not worthless: its texture may be all there.
        min(max(sclera / 8.0, 0.05), 1.0) ** 0.3,
        min(sharpness / 60.0, 1.0) ** 0.5,
        min(radius / 60.0, 1.0) ** 0.5,
        min(pupil_support / 0.7, 1.0) ** 0.5,
        min(limbus_support / 0.4, 1.0) ** 0.3,
    )
    return round(100.0 * math.prod(parts))


def _glare(found: Segmentation) -> float:
    """Percent of the ring between pupil and limbus that lies under glints."""
    height, width = found.glints.shape
    x, y, r = found.limbus.x, found.limbus.y, found.limbus.radius
    left, right = max(int(x - r), 0), min(int(x + r) + 1, width)
    top, bottom = max(int(y - r), 0), min(int(y + r) + 1, height)
    rows, columns = np.ogrid[top:bottom, left:right]
    ring = (columns - x) ** 2 + (rows - y) ** 2 < r * r
    ring &= (columns - found.pupil.x) ** 2 + (rows - found.pupil.y) ** 2 > found.pupil.radius**2
    return 100.0 * float(found.glints[top:bottom, left:right][ring].mean()) if ring.any() else 0.0


def _advice(usable: float, radius: float, sharpness: float, glare: float, centring: float) -> str:
    if radius < 45.0:
        return ADVICE_CLOSER
    if usable < 45.0:
        return ADVICE_OPEN
    if glare > 8.0:
        return ADVICE_LIGHT
    if centring < 75.0:
        return ADVICE_CENTRE
    if sharpness < 35.0:
        return ADVICE_STILL
    return ""
