"""The texture of a synthetic iris: what belongs to one eye of one person and returns in every picture of it.

It lives in polar coordinates (radius from pupil to limbus, angle), as Daugman's rubber sheet does. Near-infrared
light shows dark-brown irises as grey felt: fibres that run outwards with small detours, crypts about a wavy
collarette, faint furrows along the limbus, and grain at every scale in between; each is seeded noise of its own.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

TEXTURE_RADII: Final = 96
TEXTURE_ANGLES: Final = 1024
FloatImage = NDArray[np.float32]


def _felt(rng: np.random.Generator, radial: float, angular: float) -> FloatImage:
    """Noise (96, 1024) of unit deviation, smooth over `radial` rows and `angular` columns, closed in angle."""
    noise = rng.standard_normal((TEXTURE_RADII, TEXTURE_ANGLES), dtype=np.float32)
    margin = int(4 * angular) + 1
    wide = np.concatenate([noise[:, -margin:], noise, noise[:, :margin]], axis=1)
    soft = cv2.GaussianBlur(wide, (0, 0), sigmaX=angular, sigmaY=radial, borderType=cv2.BORDER_REFLECT)
    field = soft[:, margin:-margin]
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)


def _sample_wrapped(field: FloatImage, radius: FloatImage, angle: FloatImage) -> FloatImage:
    """`field` at fractional rows and columns, closed in angle."""
    margin = 64
    wide = np.concatenate([field[:, -margin:], field, field[:, :margin]], axis=1)
    column = np.mod(angle, TEXTURE_ANGLES) + margin
    found = cv2.remap(wide, column.astype(np.float32), radius.astype(np.float32), cv2.INTER_LINEAR)
    return np.asarray(found, dtype=np.float32)


def _crypts(rng: np.random.Generator, collarette: FloatImage) -> FloatImage:
    """Dark lens-shaped pits, most of them along the collarette (row index by angle)."""
    pits = np.zeros((TEXTURE_RADII, TEXTURE_ANGLES), np.float32)
    for _ in range(int(rng.integers(14, 46))):
        column = int(rng.integers(TEXTURE_ANGLES))
        row = float(np.clip(collarette[column] + rng.normal(3.0, 9.0), 4, TEXTURE_RADII - 8))
        half_axes = (float(rng.uniform(4, 13)), float(rng.uniform(2.5, 9.0)))
        tilt, depth = float(rng.normal(0, 25)), float(rng.uniform(0.4, 1.0))
        for turn in (-TEXTURE_ANGLES, 0, TEXTURE_ANGLES):
            box = ((column + turn, row), (2 * half_axes[0], 2 * half_axes[1]), tilt)
            cv2.ellipse(pits, box, depth, -1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(pits, (0, 0), 1.4), dtype=np.float32)


def grow_texture(rng: np.random.Generator) -> FloatImage:
    """One eye's texture (96, 1024): rows from pupil to limbus, columns by angle; about ±2.5, mean 0."""
    rows, columns = np.mgrid[0:TEXTURE_RADII, 0:TEXTURE_ANGLES].astype(np.float32)
    wander = 6.0 * _felt(rng, 20.0, 30.0)
    fibres = _sample_wrapped(_felt(rng, 16.0, 2.4), rows, columns + wander)
    strands = _sample_wrapped(_felt(rng, 11.0, 6.5), rows, columns + wander)
    height = np.float32(rng.uniform(0.22, 0.36) * TEXTURE_RADII)
    ring = height + 4.0 * _felt(rng, 60.0, 26.0)[0] + 1.8 * _felt(rng, 60.0, 7.0)[0]
    from_ring = rows - ring[None, :]
    collarette = np.exp(-0.5 * (from_ring / 3.5) ** 2)
    inner = 1.0 / (1.0 + np.exp(from_ring / 3.0))
    furrow_phase = rows / np.float32(rng.uniform(7.0, 11.0)) + 0.7 * _felt(rng, 10.0, 70.0)
    furrows = np.cos(2 * np.pi * furrow_phase) * np.clip((rows / TEXTURE_RADII - 0.45) * 2.2, 0, 1)
    texture = (
        0.75 * fibres * (1.0 - 0.35 * inner)
        + 0.65 * strands
        + 0.55 * _felt(rng, 5.0, 11.0)
        + 0.40 * _felt(rng, 2.0, 4.0)
        + 0.30 * _felt(rng, 18.0, 60.0)
        + 0.80 * collarette
        - 0.30 * inner
        + 0.22 * furrows
        - 2.2 * _crypts(rng, ring)
    )
    texture = texture.astype(np.float32) - np.float32(texture.mean())
    texture.setflags(write=False)
    return np.asarray(texture, dtype=np.float32)
