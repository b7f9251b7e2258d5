"""Eyes as a camera sees the unwilling: small, off the axis, half closed, under lashes, in skin as grey as they are.

A picture of an eye that fills the frame is put, smaller, turned and seen from the side, into a wider frame of skin
with brow, fold and lids of its own. Lids droop over the pupil, lashes hang across, lamps are mirrored, sclera and skin
come close to the iris in brightness, focus and light fail. What belongs to the eye (lids' shape, lashes, brow, skin) is
drawn from one seed and returns in each picture; the rest changes. The texture stays the eye's own.

`harden` also gives the true contours, so that segmentation can be judged without a comparator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

FRAME_HEIGHT_PX: Final = 238
FRAME_WIDTH_PX: Final = 320
FloatImage = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Circle:
    """Centre and radius in pixels."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Surround:
    """What stays with an eye: the skin around it.

    radius_px: of the iris in the frame. skin: grey level. sclera: share of its contrast to the iris that it keeps.
    opening, lower: of the lids above and below the centre, in iris radii. width: half the eye's width in radii.
    tilt: of the lids. lashes: how many. brow_px: how far above the centre the brow is. seed: of roots and pores.
    """

    radius_px: float
    skin: float
    sclera: float
    opening: float
    lower: float
    width: float
    tilt: float
    lashes: int
    brow_px: float
    seed: int


def draw_surround(rng: np.random.Generator) -> Surround:
    """The lasting traits of an eye's surroundings."""
    radius = float(rng.uniform(46.0, 70.0))
    return Surround(
        radius_px=radius,
        skin=float(rng.uniform(120.0, 215.0)),
        sclera=float(rng.uniform(0.35, 1.0)),
        opening=float(rng.uniform(0.68, 1.1)),
        lower=float(rng.uniform(0.85, 1.15)),
        width=float(rng.uniform(1.9, 2.5)),
        tilt=float(rng.normal(0.0, 0.12)),
        lashes=int(rng.integers(20, 60)),
        brow_px=float(radius * rng.uniform(1.7, 2.4)),
        seed=int(rng.integers(1 << 62)),
    )


@dataclass(frozen=True, slots=True)
class _View:
    """What changes: frame from source pixels (2, 3), the eye's centre in the frame, and how wide the lids are open."""

    to_frame: NDArray[np.float64]
    x: float
    y: float
    radius: float
    opening: float
    lower: float


def harden(
    image: NDArray[np.uint8], pupil: Circle, limbus: Circle, surround: Surround, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Circle, Circle]:
    """A hard picture (FRAME_HEIGHT_PX, FRAME_WIDTH_PX) of the eye in `image`, and its pupil and limbus there.

    pupil, limbus: where they are in `image`.
    """
    view = _view(limbus, surround, rng)
    frame = _eyeball(image, pupil, limbus, surround, view, rng)
    upper, lower = _lids(surround, view)
    y = np.arange(FRAME_HEIGHT_PX, dtype=np.float32)[:, None]
    frame *= 1.0 - 0.35 * np.exp(-np.maximum(y - upper[None, :], 0.0) / (0.16 * view.radius))
    covered = np.maximum(_soft(upper[None, :] - y, 2.0), _soft(y - lower[None, :], 2.0))
    frame += covered * (_skin(surround, view, upper, lower, rng) - frame)
    shade = _lashes(surround, view, upper, lower, rng)
    _glints(frame, pupil.radius / limbus.radius * view.radius, view, rng)
    frame *= 1.0 - 0.8 * shade
    frame *= _light(rng)
    frame = np.asarray(cv2.GaussianBlur(frame, (0, 0), float(np.clip(rng.lognormal(-0.55, 0.35), 0.35, 1.4))))
    frame += rng.uniform(1.0, 3.0) * rng.standard_normal(frame.shape, dtype=np.float32)
    circles = [_moved(circle, view) for circle in (pupil, limbus)]
    return np.clip(np.rint(frame), 0, 255).astype(np.uint8), circles[0], circles[1]


def _view(limbus: Circle, surround: Surround, rng: np.random.Generator) -> _View:
    scale = surround.radius_px / limbus.radius * float(np.clip(rng.normal(1.0, 0.05), 0.85, 1.15))
    roll, axis = np.deg2rad(np.clip(rng.normal(0.0, 5.0), -14, 14)), rng.uniform(0.0, np.pi)
    squeeze = float(np.cos(np.deg2rad(min(abs(rng.normal(0.0, 11.0)), 28.0))))
    turn = np.array([[np.cos(axis), -np.sin(axis)], [np.sin(axis), np.cos(axis)]])
    lean = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    linear = scale * (turn @ np.diag([squeeze, 1.0]) @ turn.T) @ lean
    x = FRAME_WIDTH_PX / 2 + float(np.clip(rng.normal(0.0, 22.0), -60, 60))
    y = FRAME_HEIGHT_PX / 2 + float(np.clip(rng.normal(8.0, 14.0), -30, 40))
    shift = np.array([x, y]) - linear @ np.array([limbus.x, limbus.y])
    droop = float(np.clip(abs(rng.normal(0.0, 0.15)), 0.0, 0.55))
    return _View(
        to_frame=np.column_stack([linear, shift]),
        x=x,
        y=y,
        radius=scale * limbus.radius,
        opening=max(surround.opening - droop, 0.25),
        lower=max(surround.lower - 0.4 * droop, 0.55),
    )


def _moved(circle: Circle, view: _View) -> Circle:
    x, y = view.to_frame @ np.array([circle.x, circle.y, 1.0])
    return Circle(float(x), float(y), circle.radius * float(np.sqrt(np.linalg.det(view.to_frame[:, :2]))))


def _eyeball(
    image: NDArray[np.uint8], pupil: Circle, limbus: Circle, surround: Surround, view: _View, rng: np.random.Generator
) -> FloatImage:
    """The eye without lids: its own iris, a sclera of less contrast, no glints in the pupil yet."""
    source = image.astype(np.float32)
    rows, columns = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float32)
    in_pupil = np.hypot(columns - pupil.x, rows - pupil.y)
    beyond = np.hypot(columns - limbus.x, rows - limbus.y) - limbus.radius
    dark = float(np.median(source[in_pupil < 0.8 * pupil.radius]))
    source = np.where((in_pupil < 0.88 * pupil.radius) & (source > dark + 25.0), dark, source)
    ring = (beyond < -4) & (beyond > -0.3 * limbus.radius) & (np.abs(rows - limbus.y) < 0.4 * limbus.radius)
    iris = float(np.median(source[ring]))
    around = (beyond > 6) & (beyond < 0.3 * limbus.radius) & (np.abs(rows - limbus.y) < 0.4 * limbus.radius)
    white = max(float(np.median(source[around])) if around.any() else 0.0, iris + 24.0)
    share = surround.sclera * float(rng.uniform(0.8, 1.1))
    level = iris + share * (white - iris)
    out = np.asarray(
        cv2.warpAffine(
            source, view.to_frame, (FRAME_WIDTH_PX, FRAME_HEIGHT_PX), flags=cv2.INTER_AREA,
            borderMode=cv2.BORDER_CONSTANT, borderValue=white,
        )
    )  # fmt: skip
    distance = cv2.warpAffine(
        beyond.astype(np.float32), view.to_frame, (FRAME_WIDTH_PX, FRAME_HEIGHT_PX), flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT, borderValue=1e3,
    )  # fmt: skip
    away = _soft(np.asarray(distance, dtype=np.float32), 10.0)
    dimmed = np.where(out > iris, iris + share * (out - iris), out)
    # The source ends somewhere beyond the limbus: it fades into an even sclera, or its border would be an edge.
    rim = np.minimum(np.minimum(columns, image.shape[1] - 1 - columns), np.minimum(rows, image.shape[0] - 1 - rows))
    known = cv2.warpAffine(rim, view.to_frame, (FRAME_WIDTH_PX, FRAME_HEIGHT_PX), borderValue=0.0)
    fade = np.clip(known / 30.0, 0.0, 1.0) * np.clip(2.0 - distance / (0.3 * limbus.radius), 0.0, 1.0)
    dimmed = level + np.where(distance > 0, fade, 1.0) * (dimmed - level)
    return np.asarray(out + away * (dimmed - out), dtype=np.float32)


def _lids(surround: Surround, view: _View) -> tuple[FloatImage, FloatImage]:
    """y of both lids' edges for every column."""
    u = (np.arange(FRAME_WIDTH_PX, dtype=np.float32) - view.x) / (surround.width * view.radius)
    middle = view.y + surround.tilt * (np.arange(FRAME_WIDTH_PX) - view.x) + 0.15 * view.radius
    bow = np.abs(u) ** 2.2
    upper = middle - (view.opening + 0.15) * view.radius * (1.0 - bow)
    lower = middle + (view.lower - 0.15) * view.radius * (1.0 - bow)
    return upper.astype(np.float32), np.maximum(lower, upper).astype(np.float32)


def _skin(
    surround: Surround, view: _View, upper: FloatImage, lower: FloatImage, rng: np.random.Generator
) -> FloatImage:
    own = np.random.default_rng(surround.seed)
    y = np.arange(FRAME_HEIGHT_PX, dtype=np.float32)[:, None]
    shape = (FRAME_HEIGHT_PX, FRAME_WIDTH_PX)
    pores = cv2.GaussianBlur(own.standard_normal(shape, dtype=np.float32), (0, 0), 1.6)
    hills = cv2.GaussianBlur(own.standard_normal(shape, dtype=np.float32), (0, 0), 22.0)
    above, below = upper[None, :] - y, y - lower[None, :]
    socket = np.exp(-0.5 * ((above - 0.9 * view.radius) / (0.5 * view.radius)) ** 2)
    fold = np.exp(-0.5 * ((above - 0.28 * view.radius) / 2.0) ** 2)
    bag = np.exp(-0.5 * ((below - 0.5 * view.radius) / (0.25 * view.radius)) ** 2)
    skin = surround.skin + 14.0 * pores / pores.std() * 0.4 + 12.0 * hills / hills.std()
    skin = skin - 35.0 * socket - 40.0 * fold - 14.0 * bag + 10.0 * float(rng.normal())
    brow = np.zeros(shape, np.float32)
    for _ in range(320):
        x = float(own.uniform(-1.0, 1.0))
        px = view.x + x * 2.6 * view.radius
        py = view.y - surround.brow_px + 0.5 * view.radius * x * x + float(own.normal(0, 0.12 * view.radius))
        lean = float(own.normal(0.35, 0.2)) * (1 if surround.tilt > 0 else -1)
        end = (round(px + 0.35 * view.radius * lean * 2), round(py - 0.15 * view.radius))
        cv2.line(brow, (round(px), round(py)), end, float(own.uniform(0.3, 0.8)), 1, cv2.LINE_AA)
    return np.asarray(skin * (1.0 - 0.75 * brow), dtype=np.float32)


def _lashes(
    surround: Surround, view: _View, upper: FloatImage, lower: FloatImage, rng: np.random.Generator
) -> FloatImage:
    """How much lashes darken each pixel, 0 to 1; upper ones hang across the eye before they turn up or end."""
    own = np.random.default_rng(surround.seed + 1)
    shade = np.zeros((FRAME_HEIGHT_PX, FRAME_WIDTH_PX), np.float32)
    hang = float(own.uniform(-0.2, 0.8))
    t = np.linspace(0.0, 1.0, 8)
    for edge, count, side in ((upper, surround.lashes * 2, 1.0), (lower, surround.lashes // 2, 0.4)):
        for _ in range(count):
            x = view.x + float(own.uniform(-1.0, 1.0)) * surround.width * view.radius
            if not 1 <= x < FRAME_WIDTH_PX - 1:
                continue
            length = float(own.uniform(0.25, 0.6)) * view.radius * side
            fan = (
                (x - view.x) / (surround.width * view.radius) + float(own.normal(0, 0.25)) + float(rng.normal(0, 0.05))
            )
            down = hang + float(own.normal(0, 0.25)) if side == 1.0 else 0.7
            px = x + length * fan * t
            py = edge[int(x)] + length * (down * t - 0.5 * max(0.6 - down, 0.0) * t**2)
            corners = np.rint(np.stack([px, py], axis=1) * 16).astype(np.int32).reshape(-1, 1, 2)
            cv2.polylines(shade, [corners], False, float(own.uniform(0.4, 0.95)), 1, cv2.LINE_AA, 4)
    return shade


def _glints(frame: FloatImage, pupil_px: float, view: _View, rng: np.random.Generator) -> None:
    """One to four mirrored lamps, most in or near the pupil, in place."""
    spots = np.zeros_like(frame)
    for k in range(int(rng.integers(1, 5))):
        reach = pupil_px * (0.9 if k < 2 else 1.6)
        angle, r = rng.uniform(0, 2 * np.pi), reach * np.sqrt(rng.uniform())
        centre = (int((view.x + r * np.cos(angle)) * 16), int((view.y + r * np.sin(angle)) * 16))
        cv2.circle(spots, centre, int(rng.uniform(1.5, 4.5) * 16), 1.0, -1, cv2.LINE_AA, 4)
    frame += cv2.GaussianBlur(spots, (0, 0), 0.7) * (250.0 - frame)


def _light(rng: np.random.Generator) -> FloatImage:
    """Uneven light and another exposure, as a factor for each pixel."""
    y, x = np.mgrid[0:FRAME_HEIGHT_PX, 0:FRAME_WIDTH_PX].astype(np.float32)
    slope = rng.normal(0.0, 0.16, 2)
    across = slope[0] * (x / FRAME_WIDTH_PX - 0.5) + slope[1] * (y / FRAME_HEIGHT_PX - 0.5)
    return np.asarray((1.0 + across) * rng.uniform(0.7, 1.1), dtype=np.float32)


def _soft(distance: NDArray[np.floating], width_px: float) -> FloatImage:
    """0 to 1 across an edge `width_px` wide."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(distance * (4.0 / width_px), -40, 40))), dtype=np.float32)
