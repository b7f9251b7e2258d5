"""Shows what extraction bears: error rates of a folder of prints as other scanners would have seen them.

Each alteration is applied to every print of a set alike, as if another device had taken them all: tone, contrast,
light, sharpness, noise, margins, frames, resolution, and a resolution stated wrongly. Where a figure leaps, a stage
does not bear what it should. Seeded: the same folder gives the same figures.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.matcher_lite.finger_evaluation import Evaluation, enrol, evaluate_prints

Picture = NDArray[np.uint8]
Seeded = Callable[[Picture, int, np.random.Generator], tuple[Picture, int]]


def _toned(curve: Callable[[NDArray[Any]], NDArray[Any]]) -> Seeded:
    """Grey levels through a curve over 0..1."""
    table = np.clip(np.rint(255 * curve(np.linspace(0, 1, 256, dtype=np.float32))), 0, 255).astype(np.uint8)
    return lambda image, ppi, _random: (np.asarray(cv2.LUT(image, table), np.uint8), ppi)


def _lit(amount: float) -> Seeded:
    """Light that falls off from one side to the other by `amount` grey levels."""

    def alter(image: Picture, ppi: int, random: np.random.Generator) -> tuple[Picture, int]:
        height, width = image.shape
        angle = random.uniform(0, 2 * np.pi)
        y, x = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
        return _as_levels(image * (1.0 - amount / 255 * (0.5 + x * np.cos(angle) + y * np.sin(angle)))), ppi

    return alter


def _faded(least: float) -> Seeded:
    """Contrast that falls to `least` in places."""

    def alter(image: Picture, ppi: int, random: np.random.Generator) -> tuple[Picture, int]:
        height, width = image.shape
        field = cv2.GaussianBlur(random.standard_normal((height, width), dtype=np.float32), (0, 0), 40.0)
        share = np.clip(0.5 + field / (2.5 * field.std()), 0.0, 1.0) * (1 - least) + least
        middle = float(np.median(image))
        return _as_levels(middle + (image - middle) * share), ppi

    return alter


def _noisy(deviation: float) -> Seeded:
    def alter(image: Picture, ppi: int, random: np.random.Generator) -> tuple[Picture, int]:
        return _as_levels(image + deviation * random.standard_normal(image.shape)), ppi

    return alter


def _blurred(sigma: float) -> Seeded:
    return lambda image, ppi, _random: (np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8), ppi)


def _sharpened(image: Picture, ppi: int, _random: np.random.Generator) -> tuple[Picture, int]:
    soft = cv2.GaussianBlur(image, (0, 0), 1.5)
    return np.asarray(cv2.addWeighted(image, 2.5, soft, -1.5, 0.0), np.uint8), ppi


def _margined(level: int, side: int, frame: int | None = None) -> Seeded:
    """A margin of `side` pixels of one grey level, with a line of another around the picture where `frame` is given."""

    def alter(image: Picture, ppi: int, _random: np.random.Generator) -> tuple[Picture, int]:
        inner = image if frame is None else cv2.copyMakeBorder(image, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(frame,))
        wide = cv2.copyMakeBorder(inner, side, side, side, side, cv2.BORDER_CONSTANT, value=(level,))
        return np.asarray(wide, np.uint8), ppi

    return alter


def _speckled_margin(level: int, side: int, deviation: float) -> Seeded:
    """A margin that is never quite one level, as a dark box around a glass."""
    plain = _margined(level, side)

    def alter(image: Picture, ppi: int, random: np.random.Generator) -> tuple[Picture, int]:
        wide = plain(image, ppi, random)[0].astype(np.float32)
        inner = wide[side:-side, side:-side].copy()
        wide += deviation * random.standard_normal(wide.shape, dtype=np.float32)
        wide[side:-side, side:-side] = inner
        return _as_levels(wide), ppi

    return alter


def _resampled(share: float, *, stated: bool = True) -> Seeded:
    """The picture at `share` of its resolution; `stated` says whether the resolution is given with it."""

    def alter(image: Picture, ppi: int, _random: np.random.Generator) -> tuple[Picture, int]:
        method = cv2.INTER_AREA if share < 1 else cv2.INTER_CUBIC
        made = cv2.resize(image, None, fx=share, fy=share, interpolation=method)
        return np.asarray(made, np.uint8), round(ppi * share) if stated else ppi

    return alter


def _small_window(image: Picture, ppi: int, _random: np.random.Generator) -> tuple[Picture, int]:
    """Only the middle 256 × 288 pixels."""
    top, left = max((image.shape[0] - 288) // 2, 0), max((image.shape[1] - 256) // 2, 0)
    return np.ascontiguousarray(image[top : top + 288, left : left + 256]), ppi


def _compressed(image: Picture, ppi: int, _random: np.random.Generator) -> tuple[Picture, int]:
    octets = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1]
    return np.asarray(cv2.imdecode(octets, cv2.IMREAD_GRAYSCALE), np.uint8), ppi


ALTERATIONS: dict[str, Seeded] = {
    "as they are": lambda image, ppi, _random: (image, ppi),
    "gamma 0.5": _toned(np.sqrt),
    "gamma 2": _toned(lambda level: level * level),
    "contrast of 64 levels": _toned(lambda level: 0.4 + level / 4),
    "contrast of 24 levels": _toned(lambda level: 0.4 + level * 24 / 255),
    "16 grey levels": _toned(lambda level: np.floor(level * 15.99) / 15),
    "6 grey levels": _toned(lambda level: np.floor(level * 5.99) / 5),
    "light falls off by 150": _lit(150.0),
    "contrast fades to 15 % in places": _faded(0.15),
    "noise of 12 levels": _noisy(12.0),
    "noise of 25 levels": _noisy(25.0),
    "blur of 1 px": _blurred(1.0),
    "blur of 1.6 px": _blurred(1.6),
    "sharpened": _sharpened,
    "JPEG of quality 30": _compressed,
    "black margin": _margined(0, 80),
    "grey margin": _margined(128, 80),
    "margin of noisy black": _speckled_margin(12, 80, 4.0),
    "margin of noisy grey": _speckled_margin(120, 80, 6.0),
    "black frame": _margined(255, 20, 0),
    "middle 256 × 288 only": _small_window,
    "80 % of the resolution": _resampled(0.8),
    "114 % of the resolution": _resampled(1.138),
    "120 % of the resolution": _resampled(1.2),
    "resolution stated 12 % too low": _resampled(1.138, stated=False),
    "resolution stated 14 % too high": _resampled(0.88, stated=False),
}


def stress(folder: Path, ppi: int | None, name: str) -> Evaluation:
    """The evaluation of the folder's prints, each altered by ALTERATIONS[name]."""
    return evaluate_prints(folder.name, enrol(folder, ppi, 1, partial(_seeded, ALTERATIONS[name])))


def _seeded(alteration: Seeded, image: Picture, ppi: int) -> tuple[Picture, int]:
    return alteration(image, ppi, np.random.default_rng(zlib.crc32(image.tobytes())))


def _as_levels(values: NDArray[np.floating[Any]]) -> Picture:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
