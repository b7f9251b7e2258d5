"""Which eye an image shows, left or right, where it shows it: by the pupil's place in the iris and by the lashes.

The pupil lies a little towards the nose from the middle of the iris, and lashes are darkest at the temple's end of the
upper lid. Both are small and people differ, so a doubtful image is not judged, and nobody is ever sure. An image that a
camera has mirrored shows the other eye. Speculars are not used: their layout belongs to the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contract.sample import IrisPosition
from edge.matcher_lite import iris_parameters as p
from edge.matcher_lite.iris_contour import Contour
from edge.matcher_lite.iris_polar import FloatImage, polar
from edge.matcher_lite.iris_segment import Segmentation, checked_image, segment

_LEAST_PIXELS: Final = 50  # of a corner above the eye, below which it says nothing


@dataclass(frozen=True, slots=True)
class EyeSide:
    """position: LEFT, RIGHT, or UNKNOWN where the image does not show it. confidence: 0.5 to SIDE_CONFIDENCE_MAX.

    lean: what was seen, positive for a left eye; about 1 for each cue of everyday strength.
    """

    position: IrisPosition
    confidence: float
    lean: float


NOT_JUDGED: Final = EyeSide(IrisPosition.UNKNOWN, 0.5, 0.0)


def which_eye(image: NDArray[np.uint8]) -> EyeSide:
    """Left or right by a near-infrared image (H, W), uint8, that is not mirrored and stands upright.

    RemoteError is raised only for what is no greyscale image at all.
    """
    image = checked_image(image)
    if min(image.shape) < p.SIDE_MIN_PX:
        return NOT_JUDGED
    found = segment(image)
    return side_of(found) if found is not None and found.is_plausible() else NOT_JUDGED


def side_of(found: Segmentation) -> EyeSide:
    """Left or right by contours that were found already."""
    # A person's left eye has the nose at the image's left.
    nasal = (found.limbus.x - found.pupil.x) / found.limbus.radius
    lean = nasal / p.SIDE_PUPIL_OFFSET + _lash_balance(found.image, found.limbus) / p.SIDE_LASH_BALANCE
    if abs(lean) < p.SIDE_LEAN_MIN:
        return EyeSide(IrisPosition.UNKNOWN, 0.5, lean)
    confidence = min(1.0 / (1.0 + float(np.exp(-abs(lean)))), p.SIDE_CONFIDENCE_MAX)
    return EyeSide(IrisPosition.LEFT if lean > 0 else IrisPosition.RIGHT, confidence, lean)


def _lash_balance(image: FloatImage, limbus: Contour) -> float:
    """Share of lash-dark pixels above and to the right of the iris, less that to the left; 0 where one is cut off."""
    x, y, radius = limbus.x, limbus.y, limbus.radius
    rim = polar(image, x, y, 0.6 * radius, 0.9 * radius, 64, 8)
    dark = image[: max(int(y - 0.2 * radius), 0)] < float(np.median(rim)) - p.SIDE_LASH_DEPTH
    right, left = dark[:, max(int(x + 0.5 * radius) + 1, 0) :], dark[:, : max(int(x - 0.5 * radius), 0)]
    if min(right.size, left.size) < _LEAST_PIXELS:
        return 0.0
    return float(right.mean() - left.mean())
