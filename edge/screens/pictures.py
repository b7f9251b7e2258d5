"""Small pictures for the unit's pages."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.errors import DeviceError

SIDE_PX_MAX = 640
JPEG_QUALITY = 80


def jpeg(pixels: NDArray[np.uint8], side_px_max: int = SIDE_PX_MAX) -> bytes:
    """A JPEG of grey (H, W) or RGB (H, W, 3) pixels, its longer side at most `side_px_max`. Raises DeviceError."""
    if pixels.size == 0 or pixels.ndim not in {2, 3}:
        raise DeviceError("The device gave an empty picture.")
    scale = side_px_max / max(pixels.shape[:2])
    if scale < 1:
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    shown = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, ::-1])
    done, encoded = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise DeviceError("The picture cannot be encoded.")
    return encoded.tobytes()
