"""A near-infrared image of an eye to an iris template: the pipeline, a line per stage."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from contract.sample import IrisPosition
from edge.matcher_lite import iris_parameters as p
from edge.matcher_lite.iris_encode import fine_bits, rotated_words
from edge.matcher_lite.iris_quality import ADVICE_CLOSER, ADVICE_NO_EYE, ADVICE_OPEN, judge
from edge.matcher_lite.iris_segment import checked_image, segment
from edge.matcher_lite.iris_template import IrisTemplate, unusable
from edge.matcher_lite.iris_texture import unroll


def extract_iris(image: NDArray[np.uint8], position: IrisPosition = IrisPosition.UNKNOWN) -> IrisTemplate:
    """The template of the eye in `image`, shape (H, W), uint8.

    An image without a usable iris gives a template with `usable` False and advice; RemoteError is raised only for
    what is no greyscale image at all.
    """
    image = checked_image(image)
    if min(image.shape) < p.SIDE_MIN_PX:
        return unusable(position, ADVICE_CLOSER)
    found = segment(image)
    if found is None or not found.is_plausible():
        return unusable(position, ADVICE_NO_EYE)
    texture, valid = unroll(found)
    bits, trust = fine_bits(texture, valid)
    codes, masks = rotated_words(bits), rotated_words(trust)
    quality = judge(image, found, texture, valid)
    upright = p.ROTATIONS
    code, mask = codes[upright].copy(), masks[upright].copy()
    if int(np.bitwise_count(mask).sum()) < p.JOINT_BITS_MIN:
        return unusable(position, quality.advice or ADVICE_OPEN)
    return IrisTemplate(position, quality.overall, True, quality.advice, code, mask, (codes, masks))


def extract_best_iris(
    images: Iterable[NDArray[np.uint8]], position: IrisPosition = IrisPosition.UNKNOWN, *, enough: int = 90
) -> tuple[IrisTemplate, int]:
    """The best template of a burst and the number of its image; the rest is not looked at once one reaches `enough`.

    Where none is usable the last image's advice is given.
    """
    best, of_image = unusable(position, ADVICE_NO_EYE), 0
    for number, image in enumerate(images):
        found = extract_iris(image, position)
        if (found.usable, found.quality) >= (best.usable, best.quality):
            best, of_image = found, number
        if best.usable and best.quality >= enough:
            break
    return best, of_image
