"""Splits an image of several fingers into single ones, each named and upright.

Four-finger and two-thumb images are positions 13, 14 and 15 of ANSI/NIST-ITL 1-2011, table 8. The middle segments of
fingers, print and handwriting on a card, and a neighbour's rim at the image's side are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.errors import RemoteError
from contract.finger_image import SLAP_FINGERS, SlapPosition
from contract.sample import FingerPosition
from edge.matcher_lite import slap_parameters as p
from edge.matcher_lite.finger_input import as_grey, checked_ppi
from edge.matcher_lite.slap_parts import Part, find_parts

Grey = NDArray[np.uint8]
Points = NDArray[np.float64]


class SlapAdvice(StrEnum):
    """What is wrong with a slap, as the operator's screen and the log name it."""

    TOO_FEW_FINGERS = "too_few_fingers"
    TOO_MANY_FINGERS = "too_many_fingers"
    OTHER_HAND = "other_hand"
    CUT_OFF = "cut_off"

    @property
    def indonesian(self) -> str:
        """What to tell the resident, in Indonesian."""
        return _ADVICE[self][0]

    @property
    def english(self) -> str:
        """What to tell the resident, in English."""
        return _ADVICE[self][1]


_ADVICE = {
    SlapAdvice.TOO_FEW_FINGERS: (
        "Ada jari yang tidak terlihat: letakkan semua jari rata pada kaca, sedikit renggang.",
        "A finger is missing: lay all fingers flat on the glass, a little apart.",
    ),
    SlapAdvice.TOO_MANY_FINGERS: (
        "Jari terlalu banyak: angkat jari lain dan bersihkan kaca.",
        "There are too many fingers: lift the others and clean the glass.",
    ),
    SlapAdvice.OTHER_HAND: ("Tampaknya tangan tertukar: periksa tangan.", "This looks like the other hand: check it."),
    SlapAdvice.CUT_OFF: (
        "Ada jari yang terpotong: geser tangan ke tengah kaca.",
        "A finger is cut off: move the hand to the middle of the glass.",
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class SlapFinger:
    """One finger of a slap.

    position: UNKNOWN where the number of fingers is not what was asked for. corners: (4, 2) px (x, y) of the slap,
    upper left, upper right, lower right, lower left of the upright finger. angle: rad by which the finger leans,
    counter-clockwise as seen. image: (h, w) uint8, the finger turned upright, at the slap's resolution. cut_off:
    whether the slap's edge cuts it.
    """

    position: FingerPosition
    corners: Points
    angle: float
    image: Grey
    cut_off: bool


@dataclass(frozen=True, slots=True)
class Slap:
    """Fingers from left to right, and what the operator should hear; advice is empty for a good capture."""

    kind: SlapPosition
    fingers: tuple[SlapFinger, ...]
    advice: tuple[SlapAdvice, ...]


def segment_slap(image: NDArray[Any], ppi: int, kind: SlapPosition) -> Slap:
    """Fingers of a four-finger or two-thumb image, which may be turned by up to 60°.

    image: (H, W) grey or colour. Fewer or more fingers than `kind` has, and a hand of the wrong shape, are advice, not
    errors; an array that is no image, or an area larger than any platen, is a RemoteError.
    """
    grey = as_grey(image)
    scale = p.WORKING_PPI / checked_ppi(ppi)
    if grey.size * (25.4 / ppi) ** 2 > p.SLAP_AREA_MM2_MAX:
        raise RemoteError(
            f"At {ppi} ppi the image is larger than any platen.", next_step="State the scanner's true resolution."
        )
    size = (max(round(grey.shape[1] * scale), 1), max(round(grey.shape[0] * scale), 1))
    small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
    parts = find_parts(small)
    lean = _hand_lean(parts)
    tips = _fingertips(parts, lean, len(SLAP_FINGERS[kind]))
    backdrop = _backdrop(small, parts)
    fingers = tuple(
        _cut(grey, scale, tip, [other for other in tips if other is not tip], position, lean, backdrop)
        for tip, position in zip(tips, _named(kind, len(tips)), strict=True)
    )
    return Slap(kind, fingers, _advise(kind, fingers, tips, lean))


def _named(kind: SlapPosition, count: int) -> tuple[FingerPosition, ...]:
    """Positions from left to right; nobody can name the fingers where one is missing or too many."""
    return SLAP_FINGERS[kind] if count == len(SLAP_FINGERS[kind]) else (FingerPosition.UNKNOWN,) * count


def _hand_lean(parts: list[Part]) -> float:
    """How far the hand leans, rad as Part has it: the median of its long parts, by area."""
    long = sorted((part.lean, part.area) for part in parts if part.elongation >= p.ELONGATION_MIN)
    long = [(lean, area) for lean, area in long if abs(lean) <= p.LEAN_MAX_RAD]
    if not long:
        return 0.0
    reached = np.cumsum([area for _, area in long])
    return long[int(np.searchsorted(reached, reached[-1] / 2))][0]


def _fingertips(parts: list[Part], lean: float, wanted: int) -> list[Part]:
    """The uppermost part of each finger, left to right, without the neighbour's rim at the image's side."""
    tips: list[Part] = []
    for part in sorted(parts, key=lambda part: float(part.along(lean).min())):
        if not any(_overlap(part, tip, lean) >= p.COLUMN_OVERLAP_MIN for tip in tips):
            tips.append(part)
    tips.sort(key=lambda tip: float(np.median(tip.across(lean))))
    while len(tips) > wanted:
        typical = float(np.median([tip.area for tip in tips]))
        strays = [tip for tip in (tips[0], tips[-1]) if tip.cut_by_side and tip.area < p.STRAY_AREA_SHARE * typical]
        if not strays:
            break
        tips.remove(min(strays, key=lambda tip: tip.area))
    return tips


def _overlap(first: Part, second: Part, lean: float) -> float:
    """How much of the narrower part's width lies above or below the other."""
    low, high = (np.percentile(part.across(lean), (2, 98)) for part in (first, second))
    shared = min(low[1], high[1]) - max(low[0], high[0])
    return float(shared / max(min(low[1] - low[0], high[1] - high[0]), 1.0))


def _advise(
    kind: SlapPosition, fingers: tuple[SlapFinger, ...], tips: list[Part], lean: float
) -> tuple[SlapAdvice, ...]:
    """What the operator should hear, most pressing first."""
    wanted = len(SLAP_FINGERS[kind])
    found = []
    if len(tips) < wanted:
        found.append(SlapAdvice.TOO_FEW_FINGERS)
    if len(tips) > wanted:
        found.append(SlapAdvice.TOO_MANY_FINGERS)
    if len(tips) == wanted == 4 and _other_hand(kind, tips, lean):
        found.append(SlapAdvice.OTHER_HAND)
    if any(finger.cut_off for finger in fingers):
        found.append(SlapAdvice.CUT_OFF)
    return tuple(found)


def _other_hand(kind: SlapPosition, tips: list[Part], lean: float) -> bool:
    """Whether the index ends clearly lower than the little finger, which hands do not do."""
    ends = [float(np.percentile(tip.along(lean), 1)) for tip in (tips[0], tips[-1])]
    index, little = ends if kind is SlapPosition.RIGHT_FOUR else ends[::-1]
    return index - little > p.SWAPPED_DROP_MM * p.WORKING_PX_PER_MM


def _cut(
    grey: Grey, scale: float, tip: Part, others: list[Part], position: FingerPosition, hand_lean: float, backdrop: int
) -> SlapFinger:
    """The finger's box, and its upright picture without its neighbours."""
    lean = hand_lean
    if tip.elongation >= p.ELONGATION_MIN and abs(tip.lean - hand_lean) <= p.LEAN_FROM_HAND_MAX_RAD:
        lean = tip.lean
    across, along = tip.across(lean), tip.along(lean)
    margin = p.BOX_MARGIN * p.WORKING_PX_PER_MM
    left, right = float(across.min()) - margin, float(across.max()) + margin
    top = float(along.min()) - margin
    bottom = min(float(along.max()), float(along.min()) + p.TIP_LENGTH_MAX * p.WORKING_PX_PER_MM) + margin
    turn = np.array([[np.cos(lean), np.sin(lean)], [-np.sin(lean), np.cos(lean)]])  # (across, along) → (x, y)
    frame = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    corners = frame @ turn / scale
    width, height = max(round((right - left) / scale), 1), max(round((bottom - top) / scale), 1)
    target = np.array([[0, 0], [width, 0], [width, height]], np.float32)
    picture = grey.copy()
    for other in others:
        picture[_enlarged(other, scale, picture.shape)] = backdrop
    upright = cv2.warpAffine(
        picture, cv2.getAffineTransform(corners[:3].astype(np.float32), target), (width, height),
        flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=(backdrop,),
    )  # fmt: skip
    return SlapFinger(position, corners, -lean, np.asarray(upright, np.uint8), tip.cut_off)


def _enlarged(part: Part, scale: float, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The part's pixels in the slap's own resolution."""
    size = (shape[1], shape[0])
    return np.asarray(cv2.resize(part.mask, size, interpolation=cv2.INTER_NEAREST) > 0)


def _backdrop(small: Grey, parts: list[Part]) -> int:
    """The grey level of bare glass or paper."""
    bare = np.ones(small.shape, bool)
    for part in parts:
        bare &= part.mask == 0
    return int(np.median(small[bare])) if bare.any() else 255
