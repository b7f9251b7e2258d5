"""Faces and eyes in a portrait: OpenCV's own Haar cascades, then the centre of each pupil by its gradients.

A cascade gives a box around an eye, with its centre some pixels off. Around a pupil the brightness falls towards one
point, so the point that most gradients aim away from is its centre (Timm and Barth, 2011); how well they agree says
whether there is a pupil to see at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Point = tuple[float, float]
Box = tuple[float, float, float]

SEARCH_WIDTH_PX = 600
SEARCH_SIDE_PX_MIN = 48
FACE_SHARE_MIN = 0.2
OTHER_FACE_SHARE = 0.6
EYES_WIDTH_PX = 280
EYE_CASCADES = (("eye", 1.05, 4), ("eye_tree_eyeglasses", 1.05, 3))
EYE_PATCH_PX = 48
PUPIL_REACH = 0.22  # of the eye box, from its centre


@dataclass(frozen=True, slots=True)
class Face:
    """A face in pixels of the picture.

    x, y, size: its box. eyes: pupil centres, the left one in the picture first; boxes: (x, y, size) around them.
    pupils: how well the gradients agree on each centre, 0 to 1.
    """

    x: float
    y: float
    size: float
    eyes: tuple[Point, Point] | None = None
    boxes: tuple[Box, ...] = ()
    pupils: tuple[float, ...] = ()

    @property
    def eye_distance_px(self) -> float:
        """Distance of the pupil centres, 0 where they were not found."""
        return math.dist(*self.eyes) if self.eyes else 0.0

    @property
    def eye_middle(self) -> Point:
        """The point between the eyes; where they are not seen, where eyes are in a face box."""
        if self.eyes is None:
            return self.x + self.size / 2, self.y + 0.4 * self.size
        (left_x, left_y), (right_x, right_y) = self.eyes
        return (left_x + right_x) / 2, (left_y + right_y) / 2

    @property
    def roll_degrees(self) -> float:
        """How far the line of the eyes is turned, clockwise as seen; 0 where the eyes are not seen."""
        if self.eyes is None:
            return 0.0
        (left_x, left_y), (right_x, right_y) = self.eyes
        return math.degrees(math.atan2(right_y - left_y, right_x - left_x))


def find_faces(grey: Grey) -> tuple[Face, ...]:
    """The faces of a grey (H, W) picture, the largest first."""
    scale = min(1.0, SEARCH_WIDTH_PX / grey.shape[1])
    if min(grey.shape) * scale < SEARCH_SIDE_PX_MIN:
        return ()
    small = scaled(grey, scale)
    side = round(FACE_SHARE_MIN * min(small.shape))
    boxes: Sequence[Sequence[int]] = ()
    for view in (small, cv2.equalizeHist(small)):  # a hazy face shows itself only once its levels are spread
        boxes = _cascade("frontalface_default").detectMultiScale(view, 1.1, 5, minSize=(side, side))
        if len(boxes):
            break
    found = [_face(grey, (float(x / scale), float(y / scale), float(size / scale))) for x, y, size, _ in boxes]
    if not found:
        return ()
    first = max(found, key=lambda face: (face.eyes is not None, face.size))
    others = [face for face in found if face is not first and _is_another(face, first)]
    return tuple(sorted((first, *others), key=lambda face: -face.size))


def scaled(grey: Grey, scale: float) -> Grey:
    """The picture made smaller by area; as it is where scale is 1 or more."""
    if scale >= 1:
        return grey
    return np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _is_another(face: Face, first: Face) -> bool:
    """Whether a box is a second person: apart from the first, and with eyes or of about its size."""
    x, y = face.x + face.size / 2, face.y + face.size / 2
    is_within = first.x < x < first.x + first.size and first.y < y < first.y + first.size
    return not is_within and (face.eyes is not None or face.size > OTHER_FACE_SHARE * first.size)


@cache
def _cascade(name: str) -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / f"haarcascade_{name}.xml"))


def _face(grey: Grey, box: Box) -> Face:
    x, y, size = box
    boxes = _eye_pair(grey, box)
    if boxes is None:
        return Face(x, y, size)
    (left, left_trust), (right, right_trust) = (pupil_centre(grey, eye) for eye in boxes)
    return Face(x, y, size, (left, right), boxes, (left_trust, right_trust))


def _eye_pair(grey: Grey, box: Box) -> tuple[Box, Box] | None:
    """The pair of eye detections in the upper half of a face that looks most like a pair of eyes, as boxes."""
    x, y, size = box
    left, top = round(x), round(y + size / 6)
    zoom = EYES_WIDTH_PX / size
    region = grey[top : round(y + 0.55 * size), left : round(x + size)]
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    view = cv2.equalizeHist(cv2.resize(region, None, fx=zoom, fy=zoom, interpolation=method))
    least, most = EYES_WIDTH_PX // 9, EYES_WIDTH_PX // 3
    for name, step, neighbours in EYE_CASCADES:
        found = _cascade(name).detectMultiScale(view, step, neighbours, minSize=(least, least), maxSize=(most, most))
        pair = _likeliest_pair([(float(a), float(b), float(side)) for a, b, side, _ in found])
        if pair is not None:
            first, second = ((left + a / zoom, top + b / zoom, side / zoom) for a, b, side in pair)
            return first, second
    return None


def _likeliest_pair(eyes: list[Box]) -> tuple[Box, Box] | None:
    """Two of the boxes, in shares of the face's width: level, alike, and as far apart as eyes are."""
    best, best_cost = None, 0.35
    for a, b in product(eyes, eyes):
        middle_a, middle_b = ((x + side / 2, y + side / 2) for x, y, side in (a, b))
        apart = (middle_b[0] - middle_a[0]) / EYES_WIDTH_PX
        if not 0.25 <= apart <= 0.6:
            continue
        level = abs(middle_b[1] - middle_a[1]) / EYES_WIDTH_PX
        aside = abs((middle_a[0] + middle_b[0]) / 2 / EYES_WIDTH_PX - 0.5)
        cost = level + aside + abs(apart - 0.38) + abs(a[2] - b[2]) / EYES_WIDTH_PX
        if cost < best_cost:
            best, best_cost = (a, b), cost
    return best


def pupil_centre(grey: Grey, box: Box) -> tuple[Point, float]:
    """The pupil's centre in an eye's box (x, y, size) and how well the gradients agree on it, 0 to 1."""
    left, top, size = box
    x, y = max(0, round(left)), max(0, round(top))
    patch = grey[y : round(top + size), x : round(left + size)]
    if min(patch.shape) < 8:
        return (left + size / 2, top + size / 2), 0.0
    zoom = EYE_PATCH_PX / max(patch.shape)
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    zoomed = cv2.resize(patch, None, fx=zoom, fy=zoom, interpolation=method)
    eye = np.asarray(cv2.GaussianBlur(zoomed, (0, 0), 1.2), np.uint8)
    across, down = cv2.Sobel(eye, cv2.CV_32F, 1, 0), cv2.Sobel(eye, cv2.CV_32F, 0, 1)
    steep = np.hypot(across, down)
    strong = steep > max(8.0, float(steep.mean() + 0.3 * steep.std()))
    rows, columns = np.nonzero(strong)
    middle, reach = (eye.shape[1] / 2, eye.shape[0] / 2), PUPIL_REACH * EYE_PATCH_PX
    ys, xs = (np.arange(round(centre - reach), round(centre + reach) + 1) for centre in (middle[1], middle[0]))
    if len(rows) < 12:
        return (left + size / 2, top + size / 2), 0.0
    away_x = columns[None, None, :] - xs[None, :, None]
    away_y = rows[None, None, :] - ys[:, None, None]
    distance = np.hypot(away_x, away_y)
    towards = (away_x * across[strong] + away_y * down[strong]) / (np.maximum(distance, 1.0) * steep[strong])
    near = (distance > 2.0) & (distance < 0.26 * EYE_PATCH_PX)
    agree = (np.maximum(towards, 0.0) ** 2 * near).sum(axis=2) / np.maximum(near.sum(axis=2), 12)
    darkness = 1.0 - cv2.GaussianBlur(eye, (0, 0), 2.0)[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1] / 255.0
    vote = agree * darkness
    row, column = np.unravel_index(int(vote.argmax()), vote.shape)
    centre = (float(x + (xs[column] + 0.5) / zoom), float(y + (ys[row] + 0.5) / zoom))
    return centre, float(agree[row, column])
