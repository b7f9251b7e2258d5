"""The card's own drawing: a fine-line ground, a rosette and an emblem, all computed. No state emblem is imitated.

Shapes are pixels of float coverage (0 to 1), mixed over the ground with a colour, so that lines stay thin and smooth.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Floats = NDArray[np.float64]

PAPER_TOP: Colour = (222, 238, 247)
PAPER_BOTTOM: Colour = (250, 240, 238)
LINE_BLUE: Colour = (150, 192, 219)
LINE_ROSE: Colour = (232, 188, 186)
EMBLEM_RED: Colour = (176, 42, 48)
EMBLEM_GOLD: Colour = (196, 152, 66)
_TEMPLE_STEPS = 5


def ground(width: int, height: int, seed: float) -> Image.Image:
    """The card's ground: two tints and two families of fine wavy lines. seed: 0 front, 1 back."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    share = (y / height)[..., None]
    paper = np.array(PAPER_TOP) * (1 - share) + np.array(PAPER_BOTTOM) * share
    u, v = x / width, y / height
    swell = 26 * np.sin(2 * math.pi * (1.1 * u + 0.15 * seed)) + 14 * np.sin(2 * math.pi * (2.7 * u - 0.9 * v + seed))
    paper = _over(paper, LINE_BLUE, 0.55 * _thin((y + swell * height / 640) / (height / 64)))
    turn = 34 * np.sin(2 * math.pi * (0.8 * v + 0.4 * seed)) + 18 * np.sin(2 * math.pi * (1.9 * v + 1.3 * u))
    paper = _over(paper, LINE_ROSE, 0.40 * _thin((0.72 * x + 0.5 * y + turn * width / 1012) / (width / 72)))
    return Image.fromarray(np.clip(paper + 0.5, 0, 255).astype(np.uint8))


@lru_cache(maxsize=8)
def rosette(size: int, petals: int, turns: int) -> Image.Image:
    """A guilloche rosette as a mask (L): a band of epitrochoids between two radii."""
    mask = Image.new("L", (size, size))
    pen = ImageDraw.Draw(mask)
    angles = np.linspace(0, 2 * math.pi, 1440)
    for turn in range(turns):
        phase = 2 * math.pi * turn / turns
        radius = size * (0.34 + 0.13 * np.sin(petals * angles + phase))
        across = size / 2 + radius * np.cos(angles)
        down = size / 2 + radius * np.sin(angles)
        pen.line(list(zip(across.tolist(), down.tolist(), strict=True)), fill=255, width=max(1, size // 300))
    return mask


def emblem(canvas: Image.Image, left: int, top: int, size: int) -> None:
    """Our emblem: a temple gate of stepped stones before a rising sun, in a ring; red and gold."""
    fine = size * 4
    picture = Image.new("RGBA", (fine, fine))
    pen = ImageDraw.Draw(picture)
    gold, red = (*EMBLEM_GOLD, 255), (*EMBLEM_RED, 255)
    pen.ellipse((0, 0, fine - 1, fine - 1), fill=red)
    pen.ellipse((fine * 0.04, fine * 0.04, fine * 0.96, fine * 0.96), fill=(255, 252, 246, 255))
    pen.ellipse((fine * 0.065, fine * 0.065, fine * 0.935, fine * 0.935), outline=gold, width=fine // 70)
    _sun(pen, fine, gold)
    for side in (-1, 1):
        _gate_half(pen, fine, side, red)
    pen.rectangle((fine * 0.22, fine * 0.755, fine * 0.78, fine * 0.785), fill=red)
    pen.rectangle((fine * 0.28, fine * 0.805, fine * 0.72, fine * 0.825), fill=gold)
    canvas.paste(picture.resize((size, size), Image.Resampling.LANCZOS), (left, top), _alpha(picture, size))


def tint(canvas: Image.Image, mask: Image.Image, left: int, top: int, colour: Colour, strength: float) -> None:
    """Lay a mask over the canvas in one colour; strength: 0 to 1."""
    canvas.paste(colour, (left, top), mask.point([round(value * strength) for value in range(256)]))


def _sun(pen: ImageDraw.ImageDraw, fine: int, gold: tuple[int, int, int, int]) -> None:
    middle, horizon = fine * 0.5, fine * 0.62
    for ray in range(13):
        angle = math.pi * (ray + 0.5) / 13
        inner, outer = fine * 0.19, fine * (0.36 if ray % 2 else 0.40)
        points = [
            (middle + math.cos(angle + spread) * radius, horizon - math.sin(angle + spread) * radius)
            for spread, radius in ((-0.05, inner), (0.0, outer), (0.05, inner))
        ]
        pen.polygon(points, fill=gold)
    pen.pieslice((middle - fine * 0.165, horizon - fine * 0.165, middle + fine * 0.165, horizon + fine * 0.165),
                 180, 360, fill=gold)  # fmt: skip


def _gate_half(pen: ImageDraw.ImageDraw, fine: int, side: int, red: tuple[int, int, int, int]) -> None:
    """One wing of a split gate (candi bentar): stones that step outwards from the passage."""
    middle = fine * 0.5
    for step in range(_TEMPLE_STEPS):
        near, far = middle + side * fine * 0.055, middle + side * fine * (0.115 + 0.042 * step)
        top, bottom = fine * (0.30 + 0.092 * step), fine * (0.30 + 0.092 * (step + 1) - 0.012)
        pen.rectangle((min(near, far), top, max(near, far), bottom), fill=red)


def _alpha(picture: Image.Image, size: int) -> Image.Image:
    return picture.getchannel("A").resize((size, size), Image.Resampling.LANCZOS)


def _thin(phase: Floats) -> Floats:
    """Coverage of one thin line per unit of phase."""
    distance = np.abs(phase - np.round(phase))
    coverage: Floats = np.clip(1.0 - distance / 0.07, 0.0, 1.0)
    return coverage


def _over(paper: Floats, colour: Colour, coverage: Floats) -> Floats:
    mixed: Floats = paper + (np.array(colour) - paper) * coverage[..., None]
    return mixed
