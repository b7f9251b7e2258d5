"""Says how well a capture will compare, 0..100, and what the person can do better.

`judge` knows whether there is a usable finger at all, by classical features, and grades it by them where no runtime for
the learnt model is installed. `finger_quality_model` grades what is usable.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_quality_sums import spread

Plane = NDArray[np.float32]
Mask = NDArray[np.uint8]


class FingerAdvice(StrEnum):
    """What is wrong with a capture, as the operator's screen and the log name it."""

    NO_FINGER = "no_finger"
    TOO_LITTLE = "too_little"
    TOO_DRY = "too_dry"
    TOO_WET = "too_wet"
    SMEARED = "smeared"
    MOVED = "moved"
    UNCLEAR = "unclear"

    @property
    def indonesian(self) -> str:
        """What to tell the resident, in Indonesian."""
        return _ADVICE[self][0]

    @property
    def english(self) -> str:
        """What to tell the resident, in English."""
        return _ADVICE[self][1]


_ADVICE = {
    FingerAdvice.NO_FINGER: ("Letakkan jari di tengah kaca.", "Place the finger on the middle of the glass."),
    FingerAdvice.TOO_LITTLE: (
        "Letakkan seluruh ruas jari dan tekan rata.",
        "Lay the whole fingertip flat on the glass.",
    ),
    FingerAdvice.TOO_DRY: (
        "Jari terlalu kering: lembapkan sedikit, lalu tekan lebih kuat.",
        "The finger is too dry: moisten it a little and press harder.",
    ),
    FingerAdvice.TOO_WET: (
        "Jari terlalu basah: keringkan jari dan kaca, tekan lebih ringan.",
        "The finger is too wet: dry finger and glass, and press less.",
    ),
    FingerAdvice.SMEARED: (
        "Jari bergeser di kaca: angkat, lalu letakkan kembali tegak lurus tanpa menggeser.",
        "The finger slid on the glass: lift it and put it straight down again.",
    ),
    FingerAdvice.MOVED: (
        "Jari bergerak saat difoto: letakkan kembali dan tahan diam.",
        "The finger moved while it was taken: put it down again and hold it still.",
    ),
    FingerAdvice.UNCLEAR: (
        "Gambar jari kurang jelas: bersihkan jari dan kaca, coba lagi.",
        "The print is unclear: clean finger and glass, and try again.",
    ),
}


class FingerQuality(NamedTuple):
    """value: 0 (nothing usable) to 100. advice: most pressing first, empty for a good capture."""

    value: int
    advice: tuple[FingerAdvice, ...]


def judge(interior: Mask, trust: Plane, scores: Plane, darkness: float) -> FingerQuality:
    """Quality from usable area, belief in the ridges and the number of believable minutiae.

    interior: (H, W) of 0 and 1; trust: half resolution, 0..1; scores: one per minutia, 0..1; darkness: share of dark
    pixels in the finger, 0..1.
    """
    inside = interior[::2, ::2][: trust.shape[0], : trust.shape[1]] > 0
    _, (count, total, _) = spread(trust, inside)
    area_mm2 = float(count) * 4.0 * (25.4 / p.WORKING_PPI) ** 2
    if area_mm2 < p.USABLE_AREA_MM2_MIN or scores.shape[0] < p.USABLE_MINUTIAE_MIN:
        return FingerQuality(0, (FingerAdvice.NO_FINGER,))
    belief = float(total / count)
    if belief < p.USABLE_TRUST_MIN:
        return FingerQuality(0, (FingerAdvice.NO_FINGER,))
    sound_area = area_mm2 * np.count_nonzero(inside & (trust > p.SOUND_TRUST)) / count
    evidence = float(np.clip(scores - p.MINUTIA_QUALITY_MIN, 0.0, None).sum())
    parts = (
        min(sound_area / p.GOOD_AREA_MM2, 1.0),
        min(evidence / p.GOOD_EVIDENCE, 1.0),
        min(belief / p.GOOD_TRUST, 1.0),
    )
    value = round(100.0 * float(np.prod(parts)) ** (1.0 / 3.0))
    if value < p.USABLE_QUALITY_MIN:
        return FingerQuality(0, (FingerAdvice.NO_FINGER,))
    return FingerQuality(value, _advise(value, area_mm2, belief, scores.shape[0], darkness))


def _advise(value: int, area_mm2: float, belief: float, minutiae: int, darkness: float) -> tuple[FingerAdvice, ...]:
    """What to tell the person, most pressing first; nothing for a good capture."""
    if value >= p.GOOD_QUALITY:
        return ()
    found = []
    if area_mm2 < p.SMALL_AREA_MM2:
        found.append(FingerAdvice.TOO_LITTLE)
    if darkness < p.DRY_DARKNESS:
        found.append(FingerAdvice.TOO_DRY)
    elif darkness > p.WET_DARKNESS:
        found.append(FingerAdvice.TOO_WET)
    elif belief < p.SMEARED_TRUST:
        found.append(FingerAdvice.SMEARED)
    if not found or minutiae < p.FEW_MINUTIAE:
        found.append(FingerAdvice.UNCLEAR)
    return tuple(found)


def darkness(levels: NDArray[np.int64]) -> float:
    """Share of the finger's pixels that are ridge: dry prints have too little of it, wet ones too much.

    levels: how many of the finger's pixels have each grey level, (256,). A pixel is ridge where it is darker than half
    way between the dark and the light of the finger.
    """
    shares = np.cumsum(levels) / max(levels.sum(), 1)
    if shares[-1] == 0.0:
        return 0.0
    dark, light = np.searchsorted(shares, (0.05, 0.95))
    return float(shares[(dark + light) // 2])
