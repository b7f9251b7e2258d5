"""Reads a finger from a file for the commands: an image of six formats, a transaction's, or a template of three."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from contract.errors import RemoteError
from contract.finger_minutiae import MAGIC
from contract.image_formats import decode_image
from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_extract import extract
from edge.matcher_lite.finger_template import FingerTemplate
from edge.matcher_lite.nist_records import TRANSACTION_SUFFIXES, NistImage, read_transaction

FILE_BYTES_MAX = 64 << 20
IMAGE_SUFFIXES = frozenset({".tif", ".tiff", ".png", ".bmp", ".wsq", ".jp2", ".j2k", ".jpg", ".jpeg"})
TEMPLATE_SUFFIXES = frozenset({".fmr", ".iso", ".cbor"})
_METADATA_PPI_MIN = 200  # what lies outside is a default somebody forgot to set
_METADATA_PPI_MAX = 2000


def read_octets(path: Path) -> bytes:
    """The file's bytes; RemoteError where there is none to read, or too many."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise RemoteError(f"{path.name} is larger than any finger image.", next_step="Give a file below 64 MiB.")
        return path.read_bytes()
    except OSError as error:
        raise RemoteError(f"{path.name} cannot be read.", next_step="Check the path and its permissions.") from error


def read_image(path: Path, ppi: int | None = None) -> tuple[NDArray[np.uint8], int]:
    """Grey image (H, W) and its resolution: `ppi` where given, else the file's own where believable, else 500."""
    octets = read_octets(path)
    if path.suffix.lower() in TRANSACTION_SUFFIXES:
        held = _only_finger(path, read_transaction(octets))
        return held.image, ppi or held.ppi
    return decode_image(octets, max_pixels=p.FILE_PIXELS_MAX), ppi or stated_ppi(octets) or 500


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
    """A template from an ISO record, from our own bytes, or extracted from an image."""
    if path.suffix.lower() in TEMPLATE_SUFFIXES:
        octets = read_octets(path)
        return FingerTemplate.from_iso(octets) if octets.startswith(MAGIC) else FingerTemplate.from_bytes(octets)
    image, resolution = read_image(path, ppi)
    return extract(image, resolution)
