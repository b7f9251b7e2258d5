"""The door of the extractor: whatever array comes in leaves as 8-bit grey at the working resolution, or is refused."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from contract.errors import RemoteError
from edge.matcher_lite import finger_parameters as p

Grey = NDArray[np.uint8]


def as_grey(image: NDArray[Any]) -> Grey:
    """8-bit grey of an array that is 1-bit, 8-bit, 16-bit, floating (0..1 or 0..255), grey, grey + alpha or colour.

    image: (H, W) or (H, W, 1..4). RemoteError where it is none of these, empty or beyond 64 megapixels.
    """
    pixels = np.asarray(image)
    if pixels.ndim not in {2, 3} or pixels.size == 0:
        raise RemoteError(
            f"An array of shape {pixels.shape} is no image.", next_step="Give height × width grey values."
        )
    if pixels.shape[0] * pixels.shape[1] > p.IMAGE_PIXELS_MAX:
        raise RemoteError(
            f"The image has {pixels.shape[1]} × {pixels.shape[0]} pixels, more than any finger needs.",
            next_step="Cut the image to one finger, or give a smaller resolution.",
        )
    levels: Grey = as_bytes(pixels)
    if levels.ndim == 2:
        return np.ascontiguousarray(levels)
    channels = levels.shape[2]
    if channels <= 2:
        return np.ascontiguousarray(levels[:, :, 0], np.uint8)
    if channels <= 4:
        code = cv2.COLOR_RGB2GRAY if channels == 3 else cv2.COLOR_RGBA2GRAY
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(levels), code), np.uint8)
    raise RemoteError(f"An image of {channels} channels is unknown here.", next_step="Give a grey or colour image.")


def as_bytes(pixels: NDArray[Any]) -> Grey:
    """Samples scaled to 0..255 by the range of their type."""
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype == np.uint16:
        return (pixels >> 8).astype(np.uint8)
    if pixels.dtype.kind in "iu":
        return np.asarray(np.clip(pixels, 0, 255), np.uint8)
    if pixels.dtype.kind == "f":
        finite = np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=255.0, neginf=0.0)
        return np.clip(finite * 255.0 if finite.max() <= 1.0 else finite, 0.0, 255.0).astype(np.uint8)
    raise RemoteError(f"Samples of type {pixels.dtype} are no grey values.", next_step="Give 8-bit grey values.")


def checked_ppi(ppi: float) -> float:
    """The resolution, or RemoteError where no ridge can be seen at it."""
    try:
        stated = float(ppi)
    except (TypeError, ValueError, OverflowError):
        stated = 0.0
    if not p.PPI_MIN <= stated <= p.PPI_MAX:
        raise RemoteError(
            f"A finger image of {ppi} ppi cannot be read; ridges need {p.PPI_MIN} to {p.PPI_MAX}.",
            next_step="State the scanner's true resolution, or scan again at 500 ppi.",
        )
    return stated


def resample(grey: Grey, ppi: float) -> Grey:
    """The image at 333 ppi; RemoteError where that is more than one finger's area, which has to be split first."""
    scale = p.WORKING_PPI / ppi
    height = max(round(grey.shape[0] * scale), 1)
    width = max(round(grey.shape[1] * scale), 1)
    if height * width > p.WORKING_PIXELS_MAX:
        raise RemoteError(
            f"At {ppi:g} ppi the image is {width / p.WORKING_PPI * 25.4:.0f} mm wide and "
            f"{height / p.WORKING_PPI * 25.4:.0f} mm high: more than one finger.",
            next_step="Split a slap into fingers first, or state the true resolution.",
        )
    method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_CUBIC
    return cv2.resize(grey, (width, height), interpolation=method).astype(np.uint8)


class Window(NamedTuple):
    """What a scanner saw, without the margin or frame that was laid around it.

    grey: (H, W). left, top: its corner in the image that was given, pixels.
    """

    grey: Grey
    left: int
    top: int


def unframe(grey: Grey) -> Window:
    """Cuts off margins and frames: lines of one level along a side of the image that end in a straight step.

    Such a step is no ridge, yet stronger than any. Plain glass around a finger has no step and stays.
    """
    height, width = grey.shape
    span = _span(grey)
    if min(height, width) < p.FRAME_SIDE_MIN or span <= 0.0:
        return Window(grey, 0, 0)
    across, along = slice(width // 5, width - width // 5), slice(height // 5, height - height // 5)
    turned = np.asarray(cv2.transpose(grey[along]), np.uint8)
    top, bottom = _margin(grey[:, across], span), _margin(grey[::-1, across], span)
    left, right = _margin(turned, span), _margin(turned[::-1], span)
    if not top + bottom + left + right:
        return Window(grey, 0, 0)
    return Window(np.ascontiguousarray(grey[top : height - bottom, left : width - right]), left, top)


def _span(grey: Grey) -> float:
    """Grey levels between the darkest and the lightest 2 % of every fourth pixel of every fourth row."""
    levels = np.bincount(grey[::4, ::4].reshape(-1), minlength=256).cumsum()
    places = np.array((0.02, 0.98)) * (levels[-1] - 1)
    below, above = (np.searchsorted(levels, rank(places), side="right") for rank in (np.floor, np.ceil))
    dark, light = below + (above - below) * (places % 1.0)
    return float(light - dark)


def _margin(rows: Grey, span: float) -> int:
    """How many of the first rows lie outside of the last straight step from one level to a picture."""
    limits = p.FRAME_DEVIATION_SHARE * span, p.FRAME_STEP_SHARE * span, p.FRAME_STEP_LENGTH * rows.shape[1]
    step = int(_last_step(rows, round(p.FRAME_SHARE_MAX * rows.shape[0]), *limits))
    return step + p.FRAME_STEP if step >= 0 else 0


@njit(cache=True, nogil=True)
def _last_step(rows: Grey, count: int, deviation_max: float, height_min: float, length_min: float) -> int:
    """The last of `count` rows that varies little and differs much from the row FRAME_STEP on; −1 without one."""
    last = -1
    size = rows.shape[1]
    for y in range(count):
        total = squares = 0
        for x in range(size):
            level = int(rows[y, x])
            total += level
            squares += level * level
        mean = total / size
        if math.sqrt(max(squares / size - mean * mean, 0.0)) > deviation_max:
            continue
        stepped = 0
        for x in range(size):
            stepped += 1 if abs(rows[y + p.FRAME_STEP, x] - mean) > height_min else 0
        if stepped > length_min:
            last = y
    return last
