"""One touch of a synthetic finger on a scanner: what part touches, how the skin stretches, and what the sensor sees.

Every impression is rendered anew from the finger's skin: the touching area, turn, drag, pressure and moisture are
drawn, the glass is mapped back onto the skin, the relief is cut at the height that the local pressure reaches, and
pores, grain, rubbed-off patches, scratches, residue, blur and noise are added at their own scales. The drag follows
Cappelli, Maio and Maltoni (2001): skin under the middle of the contact sticks to the glass, skin outside does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from virtual.finger_master import Master
from virtual.finger_pattern import MASTER_CENTRE_PX, smooth_noise
from virtual.finger_presets import CapturePreset

_COARSE_PX: Final = 8
FloatImage = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Skin:
    """What a person's finger brings to every touch.

    moisture: −2 very dry to +2 very wet, 0 ordinary. roughness: 0 smooth to 1 worn by work or age.
    creases: how many fine lines cross the ridges. size: of the fingertip, 1 ordinary.
    """

    moisture: float
    roughness: float
    creases: int
    size: float


@dataclass(frozen=True, slots=True)
class Touch:
    """The drawn conditions of one impression; lengths in pixels at 500 ppi, angles in radians.

    glass: where the middle of the contact lies on the image (x, y). skin: which point of the master lies there.
    half_axes: of the contact. drag, twist: displacement and turn of the stuck skin. pressure: −1 faint to +1 hard.
    smear_px: how far the finger slid while parts of it were seen.
    """

    glass: tuple[float, float]
    skin: tuple[float, float]
    turn_rad: float
    half_axes: tuple[float, float]
    drag: tuple[float, float]
    twist_rad: float
    pressure: float
    moisture: float
    smear_px: float


def draw_touch(rng: np.random.Generator, preset: CapturePreset, skin: Skin, size: tuple[int, int]) -> Touch:
    """The conditions of one impression on a glass of `size` (height, width)."""
    height, width = size
    turn = float(np.clip(rng.normal(0, preset.rotation_sd_deg), -preset.rotation_max_deg, preset.rotation_max_deg))
    pressure = float(np.clip(rng.normal(0.0, 0.45), -1.0, 1.0))
    grip = skin.size * (1.0 + 0.10 * pressure)
    shift_x, shift_y = rng.normal(0, preset.shift_sd_px[0]), rng.normal(0, preset.shift_sd_px[1])
    half_x, half_y = preset.contact_width_px * grip, preset.contact_height_px * grip
    if rng.random() < preset.low_contact:
        cut = rng.uniform(0.6, 0.8)
        shift_y += (1 - cut) * half_y * (1.0 if rng.random() < 0.5 else -1.0)
        half_x, half_y = half_x * float(rng.uniform(0.7, 0.9)), half_y * float(cut)
    place = (
        width / 2 + float(np.clip(rng.normal(0, preset.placement_sd_px[0]), -width / 4, width / 4)),
        height / 2 + float(np.clip(rng.normal(0, preset.placement_sd_px[1]), -height / 4, height / 4)),
    )
    drag_x, drag_y = rng.normal(0, preset.drag_sd_px, 2)
    moisture = skin.moisture + rng.normal(0, preset.wet_sd if rng.random() < 0.5 else preset.dry_sd)
    touch = Touch(
        glass=place,
        skin=(MASTER_CENTRE_PX[0] + float(shift_x), MASTER_CENTRE_PX[1] + 20.0 + float(shift_y)),
        turn_rad=float(np.deg2rad(turn)),
        half_axes=(float(half_x * rng.normal(1, 0.05)), float(half_y * rng.normal(1, 0.05))),
        drag=(float(drag_x), float(drag_y)),
        twist_rad=float(np.deg2rad(rng.normal(0, preset.twist_sd_deg))),
        pressure=pressure,
        moisture=float(np.clip(moisture, -2.0, 2.0)),
        smear_px=0.0,
    )
    return _spoil(rng, touch) if rng.random() < preset.mishap else touch


def _spoil(rng: np.random.Generator, touch: Touch) -> Touch:
    """A touch gone wrong: only the tip or a side, hardly any contact, or a wet finger that slides."""
    kind = int(rng.integers(3))
    if kind == 0:
        share = float(rng.uniform(0.55, 0.75))
        angle = float(rng.uniform(0, 2 * np.pi))
        off_x, off_y = 0.8 * (1 - share) * np.cos(angle), 0.8 * (1 - share) * np.sin(angle)
        half_x, half_y = touch.half_axes
        place = (touch.skin[0] + float(off_x) * half_x, touch.skin[1] + float(off_y) * half_y)
        return replace(touch, skin=place, half_axes=(max(half_x * share, 68.0), max(half_y * share, 75.0)))
    if kind == 1:
        return replace(touch, pressure=float(rng.uniform(-1.0, -0.7)), moisture=float(rng.uniform(-2.0, -1.2)))
    smear = float(rng.uniform(9.0, 22.0))
    return replace(touch, pressure=float(rng.uniform(0.3, 1.0)), moisture=float(rng.uniform(0.9, 2.0)), smear_px=smear)


def _glass_to_skin(
    rng: np.random.Generator, touch: Touch, preset: CapturePreset, size: tuple[int, int]
) -> tuple[FloatImage, FloatImage, FloatImage]:
    """For every pixel: x and y on the master, and the distance from the contact's middle (1 at its edge)."""
    height, width = size
    rows, columns = -(-height // _COARSE_PX) + 1, -(-width // _COARSE_PX) + 1
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32) * _COARSE_PX
    dx, dy = x - touch.glass[0], y - touch.glass[1]
    cos, sin = np.cos(touch.turn_rad), np.sin(touch.turn_rad)
    across, along = cos * dx + sin * dy, -sin * dx + cos * dy
    half_x, half_y = touch.half_axes
    # A fingertip is round above and squarer below.
    power = np.where(along < 0, 2.0, 2.8)
    reach = (np.abs(across / half_x) ** power + np.abs(along / half_y) ** power) ** (1 / power)
    edge = 0.035 * smooth_noise(rng, rows, columns, 60.0, height, width)
    edge += 0.012 * smooth_noise(rng, rows, columns, 16.0, height, width)
    loose = np.clip((reach - 0.35) / 0.9, 0.0, 1.0)
    stuck = (0.5 * (1 + np.cos(np.pi * loose))).astype(np.float32)
    twist_cos, twist_sin = np.cos(touch.twist_rad) - 1, np.sin(touch.twist_rad)
    skin_x = across + stuck * (touch.drag[0] + twist_cos * across - twist_sin * along)
    skin_y = along + stuck * (touch.drag[1] + twist_sin * across + twist_cos * along)
    skin_x += preset.ripple_px * smooth_noise(rng, rows, columns, 75.0, height, width)
    skin_y += preset.ripple_px * smooth_noise(rng, rows, columns, 75.0, height, width)
    grids = (skin_x + touch.skin[0], skin_y + touch.skin[1], reach + edge)
    full = (columns * _COARSE_PX, rows * _COARSE_PX)
    # An affine map, since cv2.resize would put the nodes at cell centres instead of on pixels 0, 8, 16 …
    shift = np.array([[_COARSE_PX, 0, 0], [0, _COARSE_PX, 0]], np.float32)
    warped = [
        np.asarray(
            cv2.warpAffine(grid.astype(np.float32), shift, full, borderMode=cv2.BORDER_REPLICATE)[:height, :width],
            dtype=np.float32,
        )
        for grid in grids
    ]
    return warped[0], warped[1], warped[2]


def _contact_level(
    rng: np.random.Generator, touch: Touch, preset: CapturePreset, skin: Skin, reach: FloatImage
) -> FloatImage:
    """How much of the relief touches at each pixel: the relief above −level is ridge in the image."""
    height, width = reach.shape
    middle = np.clip((1.0 - reach) / 0.45, -1.0, 1.0)
    blotch = smooth_noise(rng, height, width, 17.0, height, width)
    patch = smooth_noise(rng, height, width, 75.0, height, width)
    moist = 0.30 * touch.moisture
    level = -0.30 + 0.42 * touch.pressure + moist + 0.45 * middle + preset.blotch * (0.26 * blotch + 0.42 * patch)
    worn = smooth_noise(rng, height, width, 42.0, height, width) - (2.1 - 0.7 * preset.wear - 0.5 * skin.roughness)
    return np.asarray(level - 1.6 * np.clip(worn, 0.0, 1.0), dtype=np.float32)


def _grain(
    rng: np.random.Generator, touch: Touch, preset: CapturePreset, skin: Skin, shape: tuple[int, int]
) -> FloatImage:
    """Noise that breaks ridges (dry) or fills valleys (wet), at the scale of a pore."""
    fine = cv2.GaussianBlur(rng.standard_normal(shape, dtype=np.float32), (0, 0), 1.3) * np.float32(4.2)
    dry = max(0.0, -touch.moisture)
    strength = preset.grain * (0.30 + 0.42 * dry + 0.45 * skin.roughness)
    return np.asarray(fine * np.float32(strength), dtype=np.float32)


def _scratch(rng: np.random.Generator, ink: FloatImage, count: int) -> None:
    """Wipe a few thin lines off the print, in place."""
    height, width = ink.shape
    for _ in range(count):
        x, y, angle = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0, np.pi)
        reach = rng.uniform(15, 70)
        end = (int(x + reach * np.cos(angle)), int(y + reach * np.sin(angle)))
        wipe = np.ones_like(ink)
        cv2.line(wipe, (int(x), int(y)), end, float(rng.uniform(0.0, 0.4)), 1 + int(rng.random() < 0.4), cv2.LINE_AA)
        ink *= wipe


def _smear(rng: np.random.Generator, ink: FloatImage, reach_px: float) -> FloatImage:
    """The print dragged over the glass in one direction, in some places more than in others."""
    taps = 2 * round(reach_px / 2) + 1
    angle = float(rng.uniform(0, np.pi))
    kernel = np.zeros((taps, taps), np.float32)
    half = taps // 2
    dx, dy = round(half * np.cos(angle)), round(half * np.sin(angle))
    cv2.line(kernel, (half - dx, half - dy), (half + dx, half + dy), 1.0, 1)
    dragged = np.clip(cv2.filter2D(ink, -1, kernel / kernel.sum()) * 1.25, 0.0, 1.0)
    height, width = ink.shape
    where = np.clip(0.55 + 0.6 * smooth_noise(rng, height, width, 70.0, height, width), 0.0, 1.0)
    return np.asarray(ink + where * (dragged - ink), dtype=np.float32)


def _residue(rng: np.random.Generator, ink: FloatImage) -> FloatImage:
    """Grease that an earlier touch left on the glass, in grey levels: a faint print elsewhere, wiped here and there."""
    height, width = ink.shape
    turn = np.array(cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.normal(0, 14.0)), 1.0), np.float64)
    away = float(rng.uniform(0, 2 * np.pi))
    turn[:, 2] += rng.uniform(40.0, 90.0) * np.array((np.cos(away), np.sin(away)))
    earlier = cv2.warpAffine(ink, turn, (width, height), borderMode=cv2.BORDER_CONSTANT)
    film = np.clip(0.5 + 0.7 * smooth_noise(rng, height, width, 90.0, height, width), 0.0, 1.0)
    return np.asarray(26.0 * film * cv2.GaussianBlur(earlier, (0, 0), 1.0), dtype=np.float32)


def _develop(
    rng: np.random.Generator, touch: Touch, preset: CapturePreset, ink: FloatImage, residue: FloatImage | None
) -> NDArray[np.uint8]:
    """Ink in 0–1 as the sensor's grey levels."""
    height, width = ink.shape
    shade = smooth_noise(rng, height, width, 60.0, height, width)
    dark = 62.0 - 30.0 * touch.pressure - 12.0 * touch.moisture + 9.0 * shade
    ground = preset.background + preset.unevenness * smooth_noise(rng, height, width, 120.0, height, width)
    if residue is not None:
        ground = ground - residue
    grey = ground - cv2.GaussianBlur(ink, (0, 0), 0.7) * np.maximum(ground - dark, 0.0)
    amplitude = preset.sensor_noise * (0.35 + ink)
    grey = grey + amplitude * rng.standard_normal((height, width), dtype=np.float32)
    return np.asarray(np.clip(np.rint(grey), 0, 255), dtype=np.uint8)


def render_impression(
    master: Master,
    skin: Skin,
    preset: CapturePreset,
    rng: np.random.Generator,
    size: tuple[int, int],
    alter: Callable[[Touch], Touch] | None = None,
) -> NDArray[np.uint8]:
    """One impression, (height, width) uint8 at 500 ppi, dark ridges on a light ground.

    alter: makes another touch of the one that was drawn; nothing else about the impression changes.
    """
    touch = draw_touch(rng, preset, skin, size)
    if alter is not None:
        touch = alter(touch)
    skin_x, skin_y, reach = _glass_to_skin(rng, touch, preset, size)
    relief = cv2.remap(master.relief, skin_x, skin_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    pores = cv2.remap(master.pores, skin_x, skin_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    level = _contact_level(rng, touch, preset, skin, reach)
    pore_depth = float(np.clip(0.9 - 0.55 * touch.pressure - 0.35 * touch.moisture, 0.0, 1.6))
    height_above = relief + level + _grain(rng, touch, preset, skin, size) - pore_depth * pores
    ink = 1.0 / (1.0 + np.exp(-5.0 * height_above))
    ink *= np.clip((1.03 - reach) / 0.05, 0.0, 1.0)
    print_ink: FloatImage = ink.astype(np.float32)
    if touch.smear_px:
        print_ink = _smear(rng, print_ink, touch.smear_px)
    _scratch(rng, print_ink, int(rng.poisson(0.6)))
    residue = _residue(rng, print_ink) if rng.random() < preset.residue else None
    return _develop(rng, touch, preset, print_ink, residue)
