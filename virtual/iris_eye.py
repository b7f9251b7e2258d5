"""One near-infrared picture of a synthetic eye: geometry, lids, lashes and reflections around the person's texture.

Between pictures the pupil dilates, the head tilts, the gaze strays, lids droop, focus and illumination change; the
texture stretches with the pupil as a rubber sheet that gives a little more near the pupil (Wyatt 2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from virtual.iris_texture import TEXTURE_ANGLES, TEXTURE_RADII

IMAGE_HEIGHT_PX: Final = 280
IMAGE_WIDTH_PX: Final = 320
FloatImage = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EyeTraits:
    """What stays with an eye.

    limbus_px: radius. pupil_ratio: its usual dilation. pupil_offset: of the pupil's centre in limbus radii.
    brightness, contrast: grey level of the iris and of its texture. lid_opening: of the upper lid in limbus radii.
    lid_tilt: slope of the lids. lash_seed: of the lashes' roots. lash_count. nasal: +1 where the nose is at the right.
    """

    limbus_px: float
    pupil_ratio: float
    pupil_offset: tuple[float, float]
    brightness: float
    contrast: float
    lid_opening: float
    lid_tilt: float
    lash_seed: int
    lash_count: int
    nasal: float


@dataclass(frozen=True, slots=True)
class Pose:
    """What changes from picture to picture; pixels, radians, ratios.

    haze: tear film, reflections and folds that are not the texture's, as a share of its contrast. slip_rad: how far
    sectors of the iris turn against each other as the muscles pull.
    """

    centre: tuple[float, float]
    scale: float
    roll_rad: float
    gaze: tuple[float, float]
    pupil_ratio: float
    droop: float
    blur_px: float
    gain: float
    haze: float
    slip_rad: float


def draw_eye_traits(rng: np.random.Generator, *, nasal: float) -> EyeTraits:
    """The lasting traits of an eye."""
    return EyeTraits(
        limbus_px=float(rng.uniform(98.0, 108.0)),
        pupil_ratio=float(rng.uniform(0.34, 0.50)),
        pupil_offset=(float(nasal * rng.uniform(0.0, 0.05)), float(rng.normal(0.0, 0.02))),
        brightness=float(rng.uniform(118.0, 150.0)),
        contrast=float(rng.uniform(5.5, 10.0)),
        lid_opening=float(rng.uniform(0.72, 1.08)),
        lid_tilt=float(nasal * rng.uniform(0.0, 0.16)),
        lash_seed=int(rng.integers(1 << 62)),
        lash_count=int(rng.integers(34, 80)),
        nasal=nasal,
    )


def draw_pose(rng: np.random.Generator, traits: EyeTraits) -> Pose:
    """The conditions of one picture."""
    return Pose(
        centre=(160.0 + float(rng.normal(0, 7)), 142.0 + float(rng.normal(0, 6))),
        scale=float(rng.normal(1.0, 0.02)),
        roll_rad=float(np.deg2rad(np.clip(rng.normal(0, 3.5), -10, 10))),
        gaze=(float(rng.normal(0, 0.05)), float(rng.normal(0, 0.05))),
        pupil_ratio=float(np.clip(traits.pupil_ratio + rng.normal(0, 0.055), 0.28, 0.60)),
        droop=float(np.clip(rng.normal(0.02, 0.12), -0.2, 0.45)),
        blur_px=float(np.clip(rng.lognormal(-0.25, 0.45), 0.4, 3.0)),
        gain=float(rng.normal(1.0, 0.05)),
        haze=float(np.clip(rng.lognormal(-0.68, 0.55), 0.12, 2.0)),
        slip_rad=float(np.deg2rad(abs(rng.normal(0.6, 0.5)))),
    )


def _soft_step(distance: FloatImage, width_px: float) -> FloatImage:
    """0 to 1 across an edge `width_px` wide."""
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(-distance * (4.0 / width_px), -40, 40))), dtype=np.float32)


def _haze(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatImage:
    """Texture of this picture only: noise of unit deviation at two scales, in image pixels."""
    fine = cv2.GaussianBlur(rng.standard_normal(shape, dtype=np.float32), (0, 0), 2.2)
    coarse = cv2.GaussianBlur(rng.standard_normal(shape, dtype=np.float32), (0, 0), 6.0)
    return np.asarray(0.75 * fine / fine.std() + 0.65 * coarse / coarse.std(), dtype=np.float32)


def _eyeball(rng: np.random.Generator, texture: FloatImage, traits: EyeTraits, pose: Pose) -> FloatImage:
    """Sclera, iris and pupil without lids, grey levels (280, 320)."""
    y, x = np.mgrid[0:IMAGE_HEIGHT_PX, 0:IMAGE_WIDTH_PX].astype(np.float32)
    limbus = traits.limbus_px * pose.scale
    gx, gy = pose.gaze
    dx, dy = (x - pose.centre[0]) / (1 - gx * gx), (y - pose.centre[1]) / (1 - gy * gy)
    radius = np.hypot(dx, dy)
    px = dx - (traits.pupil_offset[0] + 0.25 * gx) * limbus
    py = dy - (traits.pupil_offset[1] + 0.25 * gy) * limbus
    pupil = limbus * pose.pupil_ratio
    angle = np.arctan2(py, px)
    uneven = 1.0 + 0.012 * np.cos(2 * angle + traits.limbus_px) + 0.008 * np.cos(3 * angle + traits.brightness)
    pupil_radius = np.hypot(px, py) / uneven
    # Between the two circles, which do not share a centre, the sheet's radius is the share of the way from one edge.
    inside, outside = pupil_radius - pupil, limbus - radius
    depth = np.clip(inside / np.maximum(inside + outside, 1e-3), 0.0, 1.0)
    give = 1.0 + 0.5 * (pose.pupil_ratio - 0.42)
    row = (depth**give) * (TEXTURE_RADII - 1)
    slip = pose.slip_rad * np.sin(angle * 3 + rng.uniform(0, 6.28)) * np.sin(depth * 4 + rng.uniform(0, 6.28))
    column = np.mod((angle - pose.roll_rad + slip) / (2 * np.pi), 1.0) * TEXTURE_ANGLES
    wide = np.concatenate([texture, texture[:, :2]], axis=1)
    felt = cv2.remap(wide, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR)
    crowding = 1.0 + 0.4 * (pose.pupil_ratio - 0.42)
    felt = felt + pose.haze * _haze(rng, radius.shape)
    iris = traits.brightness + traits.contrast * crowding * felt - 24.0 * np.clip((depth - 0.82) / 0.18, 0, 1) ** 1.5
    drift = rng.normal(0, 5.0, 2)
    sclera = (
        196.0
        - 26.0 * (np.abs(dx) / 160.0) ** 2
        + 6.0 * cv2.GaussianBlur(rng.standard_normal(radius.shape, dtype=np.float32), (0, 0), 6.0)
    )
    ball = sclera + _soft_step(outside, 9.0) * (iris - sclera)
    ball = ball + _soft_step(-inside, 2.2) * (30.0 + 5.0 * np.clip(py / pupil, -1, 1) - ball)
    light = 1.0 + drift[0] / 100 * dx / 160.0 + drift[1] / 100 * dy / 140.0
    return np.asarray(ball * light * pose.gain, dtype=np.float32)


def _lids(traits: EyeTraits, pose: Pose) -> tuple[FloatImage, FloatImage]:
    """y of the upper and the lower lid's edge for every column (320,)."""
    x = np.arange(IMAGE_WIDTH_PX, dtype=np.float32)
    u = (x - pose.centre[0]) / 170.0
    limbus = traits.limbus_px * pose.scale
    opening = max(traits.lid_opening - pose.droop, 0.55) * limbus
    middle = pose.centre[1] + traits.lid_tilt * 60.0 * u
    upper = middle - opening + 0.62 * limbus * np.abs(u + 0.06 * traits.nasal) ** 2.1
    lower = middle + limbus * (1.0 - 0.25 * pose.droop) - 0.50 * limbus * np.abs(u) ** 2.2
    return np.asarray(upper, np.float32), np.asarray(np.maximum(lower, upper + 24.0), np.float32)


def _skin(rng: np.random.Generator, upper: FloatImage, lower: FloatImage) -> FloatImage:
    """Skin of the lids, brighter away from the eye, with a fold above."""
    y = np.arange(IMAGE_HEIGHT_PX, dtype=np.float32)[:, None]
    above, below = upper[None, :] - y, y - lower[None, :]
    skin = 205.0 + 22.0 * np.tanh(np.maximum(above, below) / 40.0)
    fold = np.exp(-0.5 * ((above - 34.0) / 3.2) ** 2)
    soft = cv2.GaussianBlur(rng.standard_normal(skin.shape, dtype=np.float32), (0, 0), 2.2)
    return np.asarray(skin - 34.0 * fold - 26.0 * np.exp(-np.abs(below - 2.0) / 5.0) + 9.0 * soft, dtype=np.float32)


def _lash(own: np.random.Generator, now: np.random.Generator, edge: FloatImage, tuft: float, upper: bool) -> FloatImage:
    """One lash as points (9, 2), from its root on the lid's edge; lashes of a tuft lean together."""
    t = np.linspace(0.0, 1.0, 9)
    x0 = float(np.clip(tuft + own.normal(0, 9.0), 2, IMAGE_WIDTH_PX - 3))
    length = float(own.uniform(20, 44) if upper else own.uniform(9, 22))
    outwards = (tuft - 160.0) / 150.0
    lean = outwards + float(own.normal(0.0, 0.18)) + float(now.normal(0, 0.06))
    y0 = float(edge[int(x0)]) + (-1.0 if upper else 2.0)
    if upper:  # hangs forward over the eye, then turns up
        hang, turn = float(own.uniform(0.1, 0.6)), float(own.uniform(0.5, 1.0))
        py = y0 + length * (hang * np.sin(np.pi * 0.8 * t) - turn * t**2.4)
    else:
        py = y0 + length * (0.25 * t + 0.65 * t**1.7)
    return np.stack([x0 + length * lean * (0.35 * t + 0.65 * t**1.5), py], axis=1).astype(np.float32)


def _lashes(rng: np.random.Generator, traits: EyeTraits, upper: FloatImage, lower: FloatImage) -> FloatImage:
    """How much lashes darken each pixel, 0–1; roots belong to the eye, their bend to the picture."""
    own = np.random.default_rng(traits.lash_seed)
    shade = np.zeros((IMAGE_HEIGHT_PX, IMAGE_WIDTH_PX), np.float32)
    for edge, tufts, on_upper in ((upper, traits.lash_count // 2, True), (lower, 11, False)):
        for _ in range(tufts):
            tuft = float(own.uniform(0, IMAGE_WIDTH_PX))
            for _ in range(int(own.integers(2, 6))):
                points = _lash(own, rng, edge, tuft, on_upper)
                depth = float(own.uniform(0.5, 0.9) if on_upper else own.uniform(0.25, 0.5))
                corners = np.rint(points * 16).astype(np.int32).reshape(-1, 1, 2)
                cv2.polylines(shade, [corners], False, depth, 1, cv2.LINE_8, 4)
                if on_upper:  # thicker near the root
                    cv2.polylines(shade, [corners[:5]], False, depth, 2, cv2.LINE_8, 4)
    return np.asarray(cv2.GaussianBlur(shade, (0, 0), 0.7), dtype=np.float32)


def _glints(rng: np.random.Generator, image: FloatImage, traits: EyeTraits, pose: Pose) -> None:
    """Reflections of a ring of lamps in the cornea, in place."""
    limbus = traits.limbus_px * pose.scale
    x = pose.centre[0] - pose.gaze[0] * limbus * 0.4 + float(rng.normal(0, 1.5))
    y = pose.centre[1] - pose.gaze[1] * limbus * 0.4 + float(rng.normal(0, 1.5))
    spots = np.zeros_like(image)
    for k in range(8):
        angle = 2 * np.pi * k / 8
        centre = (int((x + 15.0 * np.cos(angle)) * 16), int((y + 15.0 * np.sin(angle)) * 16))
        cv2.circle(spots, centre, int(rng.uniform(2.4, 3.4) * 16), 1.0, -1, cv2.LINE_AA, 4)
    image += cv2.GaussianBlur(spots, (0, 0), 0.8) * (252.0 - image)


def render_eye(texture: FloatImage, traits: EyeTraits, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One near-infrared picture (280, 320) uint8 of the eye with this texture and these traits."""
    pose = draw_pose(rng, traits)
    image = _eyeball(rng, texture, traits, pose)
    _glints(rng, image, traits, pose)
    upper, lower = _lids(traits, pose)
    y = np.arange(IMAGE_HEIGHT_PX, dtype=np.float32)[:, None]
    image *= 1.0 - 0.28 * np.exp(-np.maximum(y - upper[None, :], 0.0) / 9.0)  # the upper lid's shadow
    covered = 1.0 - _soft_step(y - upper[None, :], 3.0) * _soft_step(lower[None, :] - y, 3.0)
    image += covered * (_skin(rng, upper, lower) - image)
    image *= 1.0 - 0.72 * _lashes(rng, traits, upper, lower)
    seen = cv2.GaussianBlur(image, (0, 0), pose.blur_px)
    seen = seen + rng.normal(0, 1.0) + 2.2 * rng.standard_normal(image.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(seen), 0, 255), dtype=np.uint8)
