"""Portrait and signature from their ISO records: as pixels for the card's face, and small enough for its chip (M37)."""

from __future__ import annotations

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from contract import face_image, signature_series
from contract.chip_layout import BUDGET, ChipFile
from contract.errors import RekamError, RemoteError
from contract.image_formats import ImageFormat, decode_image, encode_image
from contract.signature_series import Channel, SignatureSeries

PHOTO_ASPECT = (3, 4)
CHIP_PHOTO_PX = (180, 240)
SIGNATURE_PX = (900, 300)
CHIP_SIGNATURE_PX = ((240, 80), (180, 60), (120, 40), (90, 30))
MARGIN_SHARE = 0.06
PEN_SHARE = 0.012

Pixels = NDArray[np.uint8]


def portrait(record: bytes) -> Pixels:
    """The portrait in a 19794-5 record, RGB (H, W, 3), cropped around its middle to 3 by 4. Raises RemoteError."""
    pixels = decode_image(face_image.decode_record(record).images[0].image, colour=True)
    height, width = pixels.shape[:2]
    across, down = PHOTO_ASPECT
    kept_width = min(width, height * across // down)
    kept_height = min(height, width * down // across)
    if not kept_width or not kept_height:
        raise RemoteError("The portrait is too small to be shown.", next_step="Send it as the camera took it.")
    left, top = (width - kept_width) // 2, (height - kept_height) // 2
    return np.ascontiguousarray(pixels[top : top + kept_height, left : left + kept_width])


def chip_photo(pixels: Pixels) -> bytes:
    """A portrait as JPEG 2000 within the chip's budget."""
    small = cv2.resize(pixels, CHIP_PHOTO_PX, interpolation=cv2.INTER_AREA)
    return encode_image(np.asarray(small, np.uint8), ImageFormat.JPEG2000, max_bytes=BUDGET[ChipFile.PHOTO])


def signature(record: bytes) -> Image.Image:
    """A 19794-7 signature drawn in black on white, SIGNATURE_PX. Raises RemoteError for a record that is none."""
    return _drawn(signature_series.decode_series(record), SIGNATURE_PX)


def chip_signature(record: bytes) -> bytes:
    """The signature as a PNG of two colours: the largest drawing that fits the chip."""
    series = signature_series.decode_series(record)
    for size in CHIP_SIGNATURE_PX:
        buffer = io.BytesIO()
        _drawn(series, size).convert("1", dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= BUDGET[ChipFile.SIGNATURE]:
            return buffer.getvalue()
    raise RekamError("The signature is too intricate for the chip.", next_step="Have the resident sign again (M56).")


def png(image: Image.Image | Pixels) -> bytes:
    """A picture as PNG, for a face or a page."""
    buffer = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _drawn(series: SignatureSeries, size: tuple[int, int]) -> Image.Image:
    """Strokes scaled into the picture, keeping their proportions; the pen lifts where channel S says so."""
    x = np.asarray(series.channels[Channel.X], np.float64)
    y = np.asarray(series.channels[Channel.Y], np.float64)
    down = np.asarray(series.channels.get(Channel.S, (1,) * len(x)), bool)
    picture = Image.new("L", size, 255)
    if not down.any():
        return picture
    left, top = x[down].min(), y[down].min()
    extent = max(x[down].max() - left, 1.0), max(y[down].max() - top, 1.0)
    inner = [length * (1 - 2 * MARGIN_SHARE) for length in size]
    scale = min(inner[0] / extent[0], inner[1] / extent[1])
    shift = [(length - span * scale) / 2 for length, span in zip(size, extent, strict=True)]
    points = list(zip((x - left) * scale + shift[0], (y - top) * scale + shift[1], strict=True))
    pen = ImageDraw.Draw(picture)
    width = max(1, round(size[0] * PEN_SHARE))
    for index in range(1, len(points)):
        if down[index - 1] and down[index]:
            pen.line((points[index - 1], points[index]), fill=0, width=width, joint="curve")
    return picture
