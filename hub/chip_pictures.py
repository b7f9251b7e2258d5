"""Portrait and signature from their ISO records: as pixels for the card's face, and small enough for its chip (M37).

How they are cropped and drawn is edge.matcher_lite's, so that a unit, the hub and the command line do the same.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract import face_image, signature_series
from contract.errors import RemoteError
from contract.image_formats import decode_image
from contract.signature_strokes import Ink, ink_of
from edge.matcher_lite import portrait_crop, signature_picture

Pixels = NDArray[np.uint8]


def portrait(record: bytes) -> Pixels:
    """The portrait in a 19794-5 record as it was taken, RGB (H, W, 3). Raises RemoteError."""
    pixels = decode_image(face_image.decode_record(record).images[0].image, colour=True)
    if min(pixels.shape[:2]) < portrait_crop.ASPECT[1]:
        raise RemoteError("The portrait is too small to be shown.", next_step="Send it as the camera took it.")
    return pixels


def card_photo(record: bytes) -> Pixels:
    """The portrait cropped around the face, 3 by 4, RGB (H, W, 3). Raises RemoteError."""
    return portrait_crop.card_photo(portrait(record))


def chip_photo(photo: Pixels) -> bytes:
    """A card photo as JPEG 2000 within the chip's budget."""
    return portrait_crop.chip_photo(photo)


def ink(record: bytes) -> Ink:
    """The strokes of a 19794-7 signature. Raises RemoteError for a record that is none."""
    return ink_of(signature_series.decode_series(record))


def signature(record: bytes) -> Image.Image:
    """A 19794-7 signature with its pressure, transparent around the ink. Raises RemoteError."""
    return signature_picture.signature_picture(ink(record))


def signature_on_paper(record: bytes, size: tuple[int, int]) -> Pixels:
    """The same in dark grey on white, (size[1], size[0]), for pages. Raises RemoteError."""
    return np.asarray(255 - signature_picture.draw_ink(ink(record), size), np.uint8)


def chip_signature(record: bytes) -> bytes:
    """The signature as a PNG of two colours: the largest drawing that fits the chip."""
    return signature_picture.chip_signature(ink(record))


def png(image: Image.Image | Pixels) -> bytes:
    """A picture as PNG, for a face or a page."""
    buffer = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(buffer, "PNG")
    return buffer.getvalue()
