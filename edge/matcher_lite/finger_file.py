"""Reads a finger from a file for the commands: an image of six formats, a record's or a transaction's, or a template.

ISO/IEC 19794-4 (image) and 19794-2 (minutiae) records are told apart by their first bytes: both come as .iso.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from contract import finger_image
from contract.errors import RemoteError
from contract.finger_image import Compression, SlapPosition
from contract.finger_minutiae import MAGIC
from contract.image_formats import decode_image
from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_extract import extract
from edge.matcher_lite.finger_template import FingerTemplate
from edge.matcher_lite.nist_records import TRANSACTION_SUFFIXES, NistImage, read_transaction

FILE_BYTES_MAX = 64 << 20
IMAGE_SUFFIXES = frozenset({".tif", ".tiff", ".png", ".bmp", ".wsq", ".jp2", ".j2k", ".jpg", ".jpeg"})
TEMPLATE_SUFFIXES = frozenset({".fmr", ".fir", ".iso", ".cbor"})  # records, of minutiae or images, and templates
_METADATA_PPI_MIN = 200  # what lies outside is a default somebody forgot to set
_METADATA_PPI_MAX = 2000


def read_octets(path: Path) -> bytes:
    """The file's bytes; RemoteError where there is none to read, or too many."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise RemoteError(f"{path.name} is larger than any finger image.", next_step="Give a file below 64 MiB.")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # a name out of a list may hold what no file's name does
        raise RemoteError(f"{path.name!r} cannot be read.", next_step="Check the path and its permissions.") from error


def read_image(path: Path, ppi: int | None = None, *, slap: bool = False) -> tuple[NDArray[np.uint8], int]:
    """Grey image (H, W) and its resolution: `ppi` where given, else the file's own where believable, else 500.

    slap: an image record may also hold several fingers.
    """
    octets = read_octets(path)
    if path.suffix.lower() in TRANSACTION_SUFFIXES:
        held = _only_finger(path, read_transaction(octets))
        return held.image, ppi or held.ppi
    if octets.startswith(finger_image.MAGIC):
        pixels, stated = _record_image(octets, slap=slap)
        return pixels, ppi or stated
    return decode_image(octets, max_pixels=p.FILE_PIXELS_MAX), ppi or stated_ppi(octets) or 500


def _record_image(octets: bytes, *, slap: bool) -> tuple[NDArray[np.uint8], int]:
    """The first view of an ISO/IEC 19794-4 record, one finger unless `slap`, and the resolution that it states."""
    record = finger_image.decode_record(octets)
    view = record.images[0]
    if isinstance(view.position, SlapPosition) and not slap:
        raise RemoteError("The record holds a slap, not one finger.", next_step="Split it with 'rekam-match split'.")
    if record.compression.image_format is not None:
        return decode_image(view.image, max_pixels=p.FILE_PIXELS_MAX), record.ppi
    if record.compression is not Compression.RAW or len(view.image) != view.width_px * view.height_px:
        raise RemoteError(
            "The record's samples are packed in a way that is not read here.",
            next_step="Send PNG, WSQ, JPEG 2000 or bare samples of eight bits.",
        )
    return np.frombuffer(view.image, np.uint8).reshape(view.height_px, view.width_px), record.ppi


def _only_finger(path: Path, images: tuple[NistImage, ...]) -> NistImage:
    """The transaction's one image of one finger."""
    if len(images) != 1 or images[0].slap is not None:
        raise RemoteError(
            f"{path.name} holds {len(images)} images or a slap, not one finger.",
            next_step="Run 'rekam-match split' on it and give one of the files that it writes.",
        )
    return images[0]


def stated_ppi(octets: bytes) -> int | None:
    """The resolution that an image file states, None where it states none between 200 and 2000."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(octets)) as image:
                stated = image.info.get("dpi")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    try:
        ppi = round(float(stated[0])) if isinstance(stated, tuple) else 0
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return ppi if _METADATA_PPI_MIN <= ppi <= _METADATA_PPI_MAX else None


def read_template(path: Path, ppi: int | None = None) -> FingerTemplate:
    """A template from a minutiae record, from our own bytes, or extracted from an image or an image record."""
    if path.suffix.lower() in TEMPLATE_SUFFIXES:
        octets = read_octets(path)
        if octets.startswith(MAGIC):
            return FingerTemplate.from_iso(octets)
        if not octets.startswith(finger_image.MAGIC):
            return FingerTemplate.from_bytes(octets)
    image, resolution = read_image(path, ppi)
    return extract(image, resolution)
