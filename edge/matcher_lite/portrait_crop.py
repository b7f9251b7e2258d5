"""The part of a portrait that goes on the card and into the chip: ISO/IEC 19794-5's token geometry, nothing invented.

A token image is 3 by 4, has the eyes level, a quarter of its width apart, and their middle at half its width and 45 %
of its height (clause 9). Where the picture ends before that, the face may fill more of the crop; where even that does
not fit, or no eyes are seen, the crop stays level and inside the picture. No pixel is made up beyond the frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.chip_layout import BUDGET, ChipFile
from contract.errors import RemoteError
from contract.image_formats import ImageFormat, encode_image
from edge.matcher_lite.portrait_face import Face, find_faces

Pixels = NDArray[np.uint8]

ASPECT = (3, 4)
CARD_PHOTO_PX = (480, 640)
CHIP_PHOTO_PX = (180, 240)
EYE_SHARES = (0.25, 0.27, 0.29, 0.31)  # eye distance by width: the token's, up to what clause 8 still allows
EYE_LINE = 0.45  # by height, from the top
LEVEL_DEGREES = 0.3


@dataclass(frozen=True, slots=True)
class Window:
    """A crop, 3 by 4, of a picture. x, y: its centre; width: in the picture's pixels; roll: degrees, clockwise.

    inside: how much of the token image lies in the picture, 0 to 1; less than 1 where the crop had to give way.
    """

    x: float
    y: float
    width: float
    roll: float = 0.0
    inside: float = 1.0

    @property
    def height(self) -> float:
        """In the picture's pixels."""
        return self.width * ASPECT[1] / ASPECT[0]

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """Upper left, upper right, lower right, lower left in the picture."""
        turn = math.radians(self.roll)
        across, down = (math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn))
        return tuple(
            (
                self.x + side * across[0] * self.width / 2 + end * down[0] * self.height / 2,
                self.y + side * across[1] * self.width / 2 + end * down[1] * self.height / 2,
            )
            for side, end in ((-1, -1), (1, -1), (1, 1), (-1, 1))
        )


def card_window(face: Face | None, shape: tuple[int, ...]) -> Window:
    """Where to crop a picture of `shape` (H, W, …) that shows `face`; its middle where no eyes are known."""
    height, width = shape[:2]
    largest = min(float(width), height * ASPECT[0] / ASPECT[1])
    if face is None or face.eyes is None:
        return Window(width / 2, height / 2, largest)
    tokens = [_token(face, share) for share in EYE_SHARES]
    fitting = next((token for token in tokens if _inside(token, width, height) >= 1.0), None)
    if fitting is not None:
        return fitting
    closest = tokens[-1]
    kept = min(largest, tokens[0].width)
    kept_height = kept * ASPECT[1] / ASPECT[0]
    return Window(
        min(max(closest.x, kept / 2), width - kept / 2),
        min(max(closest.y, kept_height / 2), height - kept_height / 2),
        kept,
        inside=_inside(closest, width, height),
    )


def card_photo(pixels: Pixels, size: tuple[int, int] = CARD_PHOTO_PX) -> Pixels:
    """RGB (H, W, 3) cropped around the largest face, (size[1], size[0], 3). Raises RemoteError for a sliver."""
    if min(pixels.shape[:2]) < ASPECT[1]:
        raise RemoteError("The portrait is too small to be shown.", next_step="Send it as the camera took it.")
    grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
    faces = [face for face in find_faces(grey) if face.eyes]
    return crop(pixels, card_window(faces[0] if faces else None, pixels.shape), size)


def crop(pixels: Pixels, window: Window, size: tuple[int, int]) -> Pixels:
    """The window of RGB or grey `pixels`, drawn at `size` (width, height)."""
    if abs(window.roll) < LEVEL_DEGREES:
        left, top = max(0, round(window.x - window.width / 2)), max(0, round(window.y - window.height / 2))
        part = pixels[top : round(window.y + window.height / 2), left : round(window.x + window.width / 2)]
        method = cv2.INTER_AREA if size[0] < part.shape[1] else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(part, size, interpolation=method), np.uint8)
    # A turned crop is drawn at a size that loses nothing, then made smaller by area.
    fine = max(1, round(window.width / size[0]))
    drawn = (size[0] * fine, size[1] * fine)
    corners = np.asarray(window.corners[:3], np.float32)
    target = np.asarray([(0, 0), (drawn[0], 0), drawn], np.float32)
    turned = cv2.warpAffine(
        pixels, cv2.getAffineTransform(corners, target), drawn, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(cv2.resize(turned, size, interpolation=cv2.INTER_AREA), np.uint8)


def chip_photo(photo: Pixels, bytes_max: int = BUDGET[ChipFile.PHOTO]) -> bytes:
    """A card photo, RGB 3 by 4, as JPEG 2000 of CHIP_PHOTO_PX within the chip's budget."""
    small = np.asarray(cv2.resize(photo, CHIP_PHOTO_PX, interpolation=cv2.INTER_AREA), np.uint8)
    return encode_image(small, ImageFormat.JPEG2000, max_bytes=bytes_max)


def _token(face: Face, eye_share: float) -> Window:
    """The token image of a face whose eyes are known."""
    width = face.eye_distance_px / eye_share
    height = width * ASPECT[1] / ASPECT[0]
    turn = math.radians(face.roll_degrees)
    x, y = face.eye_middle
    below = (0.5 - EYE_LINE) * height
    return Window(x - math.sin(turn) * below, y + math.cos(turn) * below, width, face.roll_degrees)


def _inside(window: Window, width: int, height: int) -> float:
    """The share of a window that lies in a picture of this size; 1 where at most half a pixel sticks out."""
    corners = np.asarray(window.corners, np.float32)
    frame = np.asarray([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    if corners.min() >= -0.5 and corners[:, 0].max() <= width + 0.5 and corners[:, 1].max() <= height + 0.5:
        return 1.0
    area, _ = cv2.intersectConvexConvex(corners, frame)
    return float(area) / max(1.0, window.width * window.height)
