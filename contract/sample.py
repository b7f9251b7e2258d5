"""Biometric samples and their positions, in the words of ISO/IEC 2382-37 and the codes of ISO/IEC 19794."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Modality(StrEnum):
    """Kind of biometric characteristic."""

    FACE = "face"
    SIGNATURE = "signature"
    FINGER = "finger"
    IRIS = "iris"


class FingerPosition(IntEnum):
    """Finger position codes of ISO/IEC 19794-2:2005, table 2."""

    UNKNOWN = 0
    RIGHT_THUMB = 1
    RIGHT_INDEX = 2
    RIGHT_MIDDLE = 3
    RIGHT_RING = 4
    RIGHT_LITTLE = 5
    LEFT_THUMB = 6
    LEFT_INDEX = 7
    LEFT_MIDDLE = 8
    LEFT_RING = 9
    LEFT_LITTLE = 10

    @property
    def label(self) -> str:
        """The finger's name on Indonesian screens."""
        return FINGER_LABELS[self]


FINGER_LABELS = {
    FingerPosition.UNKNOWN: "Jari tidak diketahui",
    FingerPosition.RIGHT_THUMB: "Ibu jari kanan",
    FingerPosition.RIGHT_INDEX: "Telunjuk kanan",
    FingerPosition.RIGHT_MIDDLE: "Jari tengah kanan",
    FingerPosition.RIGHT_RING: "Jari manis kanan",
    FingerPosition.RIGHT_LITTLE: "Kelingking kanan",
    FingerPosition.LEFT_THUMB: "Ibu jari kiri",
    FingerPosition.LEFT_INDEX: "Telunjuk kiri",
    FingerPosition.LEFT_MIDDLE: "Jari tengah kiri",
    FingerPosition.LEFT_RING: "Jari manis kiri",
    FingerPosition.LEFT_LITTLE: "Kelingking kiri",
}

ALL_FINGERS = tuple(position for position in FingerPosition if position is not FingerPosition.UNKNOWN)
INDEX_FINGERS = (FingerPosition.RIGHT_INDEX, FingerPosition.LEFT_INDEX)


class IrisPosition(IntEnum):
    """Eye labels of ISO/IEC 19794-6:2011, table 4."""

    UNKNOWN = 0
    RIGHT = 1
    LEFT = 2

    @property
    def label(self) -> str:
        """The eye's name on Indonesian screens."""
        return {IrisPosition.UNKNOWN: "Mata", IrisPosition.RIGHT: "Mata kanan", IrisPosition.LEFT: "Mata kiri"}[self]


BOTH_EYES = (IrisPosition.RIGHT, IrisPosition.LEFT)


def eyes_are_swapped(*, left: IrisPosition, right: IrisPosition) -> bool:
    """Whether two images that were taken for left and right are both judged to show the other eye."""
    return left is IrisPosition.RIGHT and right is IrisPosition.LEFT
