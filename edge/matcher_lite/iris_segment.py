"""Where the iris is: hypotheses from the reduced image, traced at full size, and the one that the image bears out.

A strong edge is not always the right one. So several pupils and several limbi are traced, and each pair is judged by
what lies on both sides of it: dark inside the pupil, even within the iris, brighter beyond the limbus on both sides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from contract.errors import RemoteError
from edge.matcher_lite import iris_parameters as p
from edge.matcher_lite.iris_coarse import likelihood_of_ratio, limbus_hypotheses, pupil_hypotheses, reduced
from edge.matcher_lite.iris_contour import Contour, trace_limbus, trace_pupil
from edge.matcher_lite.iris_polar import FloatImage, Floats, sample


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Pupil and limbus in pixels of `image`, the working image with its glints filled; `glints` marks them."""

    image: FloatImage
    glints: NDArray[np.bool_]
    pupil: Contour
    limbus: Contour
    scale: float  # working pixels per pixel of the original

    def is_plausible(self) -> bool:
        """Whether the contours can be those of an eye; doubtful ones are left to the code, which will not match."""
        ratio = self.pupil.radius / max(self.limbus.radius, 1e-6)
        offset = math.hypot(self.pupil.x - self.limbus.x, self.pupil.y - self.limbus.y)
        return (
            p.RATIO_MIN < ratio < p.RATIO_MAX
            and self.limbus.radius >= p.IRIS_RADIUS_MIN_PX
            and offset + self.pupil.radius < self.limbus.radius
            and self.pupil.contrast >= p.PUPIL_CONTRAST_MIN
            and self.limbus.contrast >= p.LIMBUS_CONTRAST_MIN
        )


def segment(image: NDArray[np.uint8]) -> Segmentation | None:
    """Find pupil and limbus in a near-infrared image (H, W); None where nothing looks like an eye."""
    working, scale = _working_size(image)
    filled, texture, glints = fill_speculars(working)
    small, reduction = reduced(filled)
    # Pixel centres: the middle of reduced pixel 0 lies at `shift` of the working image.
    shift = (1.0 / reduction - 1.0) / 2.0
    best: tuple[float, Contour, Contour] | None = None
    for score, x, y, radius in pupil_hypotheses(small)[: p.PUPIL_HYPOTHESES]:
        pupil = trace_pupil(filled, x / reduction + shift, y / reduction + shift, radius / reduction)
        for limbus_score, limbus in _limbi(filled, small, pupil, reduction, shift):
            evidence = p.PUPIL_EVIDENCE * score * (0.5 + 0.5 * pupil.support)
            evidence += p.LIMBUS_EVIDENCE * limbus_score + _evidence(filled, pupil, limbus)
            if best is None or evidence > best[0]:
                best = evidence, pupil, limbus
    return Segmentation(texture, glints, best[1], best[2], scale) if best is not None else None


def _limbi(
    filled: FloatImage, small: FloatImage, pupil: Contour, reduction: float, shift: float
) -> list[tuple[float, Contour]]:
    """Every limbus that may go with the pupil, with its coarse score, traced at full size."""
    x, y = (pupil.x - shift) * reduction, (pupil.y - shift) * reduction
    found = limbus_hypotheses(small, x, y, pupil.radius * reduction)
    return [
        (score, trace_limbus(filled, x / reduction + shift, y / reduction + shift, radius / reduction))
        for score, x, y, radius in found
    ]


def _evidence(filled: FloatImage, pupil: Contour, limbus: Contour) -> float:
    """How far the image bears out a limbus around its pupil: 1 at best."""
    offset = math.hypot(pupil.x - limbus.x, pupil.y - limbus.y) / limbus.radius
    ratio = pupil.radius / limbus.radius
    if offset + ratio >= 1.0:
        return -1.0
    small = max(math.log(p.LIMBUS_RADIUS_USUAL / p.COARSE_WIDTH_PX * max(filled.shape) / limbus.radius), 0.0)
    return likelihood_of_ratio(ratio) * _limbus_step(filled, pupil, limbus) - (
        p.OFFSET_COST * max(offset - 0.05, 0.0) + small
    )


def _limbus_step(filled: FloatImage, pupil: Contour, limbus: Contour) -> float:
    """How much one step at the limbus stands out from what rises within the iris and beyond: 0 to 1.

    Four sectors at the sides, above and below the middle, are looked at: lids may hide the upper two, so that the
    better one of each side counts beside the best three, and a median over directions does not see single lashes.
    """
    inner_x, inner_y = pupil.points(_STEP_ANGLES)
    outer_x, outer_y = limbus.points(_STEP_ANGLES)
    rises = _sector_rises(filled, inner_x, inner_y, outer_x, outer_y, _STEP_WAY, len(_STEP_BANDS))
    values = [float(rise / (p.STEP_SOFT + rise)) for rise in rises]
    return 0.25 * (max(values[:2]) + max(values[2:])) + sum(sorted(values)[1:]) / 6.0


# Shares of the way from pupil to limbus: the iris, its rim, the sclera beside it, what lies beyond.
_STEP_BANDS = ((0.3, 0.7), (0.85, 0.95), (1.05, 1.15), (1.22, 1.38))
_STEP_WAY = np.concatenate([np.linspace(low, high, 5) for low, high in _STEP_BANDS])
_STEP_ANGLES = 64


@numba.njit(cache=True, nogil=True)
def _sector_rises(
    filled: FloatImage, x0: Floats, y0: Floats, x1: Floats, y1: Floats, way: Floats, bands: int
) -> Floats:
    """For right above, right below, left above, left below: the step between the middle two bands of the way from
    (x0, y0) to (x1, y1), less what rises between the others; 0 at least. Arrays are over equal steps of the angle.
    """
    angles, each = len(x0), len(way) // bands
    rises = np.zeros(4)
    values = np.empty(angles)
    profile = np.empty(bands)
    for sector in range(4):
        profile[:] = 0.0
        for j in range(len(way)):
            count = 0
            for i in range(angles):
                sine, cosine = math.sin(2.0 * math.pi * i / angles), math.cos(2.0 * math.pi * i / angles)
                if (cosine > 0) != (sector < 2) or not -0.6 <= sine < 0.65:
                    continue
                if (sine < 0.05) if sector % 2 == 0 else (sine > -0.05):
                    values[count] = sample(filled, x0[i] + way[j] * (x1[i] - x0[i]), y0[i] + way[j] * (y1[i] - y0[i]))
                    count += 1
            profile[j // each] += np.median(values[:count]) / each
        iris, rim, sclera, beyond = profile[0], profile[1], profile[2], profile[3]
        rises[sector] = max(sclera - rim - max(beyond - sclera, 0.0) - max(rim - iris, 0.0), 0.0)
    return rises


def checked_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A greyscale image (H, W) of bounded size, contiguous; RemoteError for anything else."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 2 or 0 in image.shape:
        raise RemoteError(
            "An iris image is a greyscale image of eight bits.", next_step="Give an array (H, W) of uint8."
        )
    if max(image.shape) > p.SIDE_MAX_PX:
        raise RemoteError(f"An iris image of {image.shape[1]} by {image.shape[0]} pixels is too large.")
    return np.ascontiguousarray(image)


def _working_size(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    height, width = image.shape
    scale = min(1.0, p.WORKING_WIDTH_PX / max(height, width))
    if scale == 1.0:
        return image, 1.0
    size = (max(round(width * scale), 2), max(round(height * scale), 2))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8), scale


def fill_speculars(image: NDArray[np.uint8]) -> tuple[FloatImage, FloatImage, NDArray[np.bool_]]:
    """Replace small bright spots by their surroundings.

    Returns the image for contours, where every spot is filled, the image for texture, where only glints are, as an
    iris has bright spots of its own, and where the glints were.
    """
    size = max(3, round(p.SPECULAR_KERNEL * max(image.shape))) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    opened = cv2.morphologyEx(image, cv2.MORPH_OPEN, kernel)
    rise = cv2.subtract(image, opened)
    spots = cv2.dilate((rise > p.SPECULAR_RISE).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    glint = ((rise > p.GLINT_RISE) & (image > p.GLINT_LEVEL)).astype(np.uint8)
    glints = cv2.dilate(glint, np.ones((5, 5), np.uint8)).astype(bool)
    for_contours = np.where(spots, opened, image).astype(np.float32)
    for_texture = np.where(glints, opened, image).astype(np.float32)
    return for_contours, for_texture, glints
