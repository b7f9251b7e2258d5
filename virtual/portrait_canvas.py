"""A small painter's kit for portraits: soft shapes, curves and shading on a float RGB canvas."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]
Points = NDArray[np.float64]
_SUBPIXEL_BITS: Final = 4


def closed_curve(points: Points, *, per_side: int = 12) -> Points:
    """A smooth closed Catmull-Rom curve (N·per_side, 2) through points (N, 2)."""
    before, after, beyond = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
    t = np.linspace(0, 1, per_side, endpoint=False)[None, :, None]
    p0, p1, p2, p3 = (each[:, None, :] for each in (before, points, after, beyond))
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    return np.asarray(curve.reshape(-1, 2))


def open_curve(points: Points, *, per_side: int = 12) -> Points:
    """A smooth open curve through points (N, 2)."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, per_side, endpoint=False)[None, :, None]
    p0, p1, p2, p3 = (padded[k : len(padded) - 3 + k][:, None, :] for k in range(4))
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    return np.concatenate([curve.reshape(-1, 2), points[-1:]])


class Canvas:
    """RGB floats 0–255 of shape (height, width, 3); every mark is blended through a soft mask."""

    def __init__(self, height: int, width: int, ground: Colour) -> None:
        self.pixels: NDArray[np.float32] = np.empty((height, width, 3), np.float32)
        self.pixels[:] = np.array(ground, np.float32)

    def blend(self, mask: NDArray[np.float32], colour: Colour) -> None:
        """Move every pixel towards `colour` by `mask` (height, width), 0–1."""
        self.pixels += mask[..., None] * (np.array(colour, np.float32) - self.pixels)

    def _stamp(
        self, low: NDArray[np.float64], high: NDArray[np.float64], soft_px: float
    ) -> tuple[slice, slice, tuple[int, int]] | None:
        """The part of the canvas that a mark between two corners can touch, and its origin (x, y)."""
        height, width = self.pixels.shape[:2]
        margin = 3 * soft_px + 3
        x0, y0 = (max(0, int(v - margin)) for v in low)
        x1, y1 = min(width, int(high[0] + margin) + 1), min(height, int(high[1] + margin) + 1)
        if x1 <= x0 or y1 <= y0:
            return None
        return slice(y0, y1), slice(x0, x1), (x0, y0)

    def _lay(
        self, rows: slice, columns: slice, mask: NDArray[np.float32], colour: Colour, alpha: float, soft_px: float,
        clip: NDArray[np.float32] | None,
    ) -> None:  # fmt: skip
        if soft_px > 0:
            mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), soft_px), dtype=np.float32)
        mask = mask * np.float32(alpha)
        if clip is not None:
            mask = mask * clip[rows, columns]
        region = self.pixels[rows, columns]
        region += mask[..., None] * (np.array(colour, np.float32) - region)

    def fill(
        self, outline: Points, colour: Colour, *, alpha: float = 1.0, soft_px: float = 0.8,
        clip: NDArray[np.float32] | None = None,
    ) -> None:  # fmt: skip
        """Fill a polygon (N, 2), its edge softened by `soft_px`, only where `clip` (height, width) lets through."""
        place = self._stamp(outline.min(0), outline.max(0), soft_px)
        if place is None:
            return
        rows, columns, origin = place
        mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
        shifted = np.rint((outline - np.array(origin)) * 16).astype(np.int32).reshape(-1, 1, 2)
        cv2.fillPoly(mask, [shifted], 1.0, cv2.LINE_AA, _SUBPIXEL_BITS)
        self._lay(rows, columns, mask, colour, alpha, soft_px, clip)

    def ellipse(
        self, centre: tuple[float, float], half_axes: tuple[float, float], colour: Colour, *, alpha: float = 1.0,
        soft_px: float = 0.8, tilt_deg: float = 0.0, clip: NDArray[np.float32] | None = None,
    ) -> None:  # fmt: skip
        """Fill an ellipse; with a large `soft_px` it is a touch of light or shade."""
        t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        turn = np.deg2rad(tilt_deg)
        x, y = half_axes[0] * np.cos(t), half_axes[1] * np.sin(t)
        outline = np.stack(
            [centre[0] + x * np.cos(turn) - y * np.sin(turn), centre[1] + x * np.sin(turn) + y * np.cos(turn)], axis=1
        )
        self.fill(outline, colour, alpha=alpha, soft_px=soft_px, clip=clip)

    def line(
        self, points: Points, colour: Colour, width_px: float, *, alpha: float = 1.0, soft_px: float = 0.6,
        taper: bool = True, clip: NDArray[np.float32] | None = None,
    ) -> None:  # fmt: skip
        """A brush line along points (N, 2), thinning towards both ends where `taper`."""
        t = np.linspace(0, 1, len(points))
        half = 0.5 * width_px * (np.sin(np.pi * np.clip(t, 0.04, 0.96)) ** 0.6 if taper else np.ones_like(t))
        step = np.gradient(points, axis=0)
        normal = np.stack([-step[:, 1], step[:, 0]], axis=1) / (np.linalg.norm(step, axis=1, keepdims=True) + 1e-9)
        outline = np.concatenate([points + normal * half[:, None], (points - normal * half[:, None])[::-1]])
        self.fill(outline, colour, alpha=alpha, soft_px=soft_px, clip=clip)

    def mask_of(self, outline: Points, soft_px: float) -> NDArray[np.float32]:
        """A soft mask (height, width), 0–1, of a polygon."""
        mask = np.zeros(self.pixels.shape[:2], np.float32)
        cv2.fillPoly(mask, [np.rint(outline * 16).astype(np.int32).reshape(-1, 1, 2)], 1.0, cv2.LINE_AA, _SUBPIXEL_BITS)
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), soft_px), dtype=np.float32)
