"""Reads the finger images of ANSI/NIST-ITL 1-2011 transactions (.an2k, .eft, .nst): records of type 4 and type 14.

The record structure is read by `nistitl`, which is an extra (`pip install rekam[nist]`) because no unit needs it; the
images come through the one door for images. Field numbers are the standard's, clauses 8.4 and 8.14.
"""

from __future__ import annotations

import importlib
import re
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import RekamError, RemoteError
from contract.finger_image import SlapPosition
from contract.image_formats import decode_image
from contract.sample import FingerPosition
from edge.matcher_lite.finger_input import checked_ppi

TRANSACTION_BYTES_MAX = 16 << 20
TRANSACTION_FIELDS_MAX = 5000  # the library looks through all that follows once a record
TRANSACTION_SUFFIXES = frozenset({".an2k", ".an2", ".an", ".eft", ".nst", ".nist"})

_TYPE4_HEADER = "!B6sBHHB"  # IMP, FGP, ISR, HLL, VLL, GCA
_TYPE4_PPI = 500
_UNCOMPRESSED = frozenset({"0", "NONE"})
_DATA = 999
_PX_PER_MM = re.compile(r"\d{2,3}\.\d{2}")
_FIELD = re.compile(rb"\d\.\d{1,3}:")
# Finger position codes of table 8 beyond those of single fingers.
_PLAIN_THUMBS = {11: FingerPosition.RIGHT_THUMB, 12: FingerPosition.LEFT_THUMB}
_SLAPS = frozenset(SlapPosition)


@dataclass(frozen=True, slots=True, eq=False)
class NistImage:
    """One finger image of a transaction.

    record_type: 4 or 14. idc: information designation character. image: (H, W) uint8 grey. ppi: its resolution.
    position: of a single finger, UNKNOWN for a slap. slap: which one, None for a single finger.
    """

    record_type: int
    idc: int
    image: NDArray[np.uint8]
    ppi: int
    position: FingerPosition
    slap: SlapPosition | None


def read_transaction(octets: bytes) -> tuple[NistImage, ...]:
    """Finger images of a transaction in its own order; RemoteError where it is none, or holds none.

    Records of other types are left alone. RekamError where the extra is not installed.
    """
    if not 0 < len(octets) <= TRANSACTION_BYTES_MAX:
        raise RemoteError(f"The transaction has {len(octets)} bytes; 1 to {TRANSACTION_BYTES_MAX} are accepted.")
    if not octets.startswith(b"1.0") or len(_FIELD.findall(octets)) > TRANSACTION_FIELDS_MAX:
        raise RemoteError("These bytes are no ANSI/NIST-ITL transaction in traditional encoding.")
    records = _records(octets)
    images = []
    for record in records:
        if record.type == 4:
            images.append(_read_type4(record, records[0]))
        elif record.type == 14:
            images.append(_read_type14(record))
    if not images:
        raise RemoteError(
            "The transaction holds no finger image of type 4 or 14.", next_step="Ask the sender for finger images."
        )
    return tuple(images)


def _records(octets: bytes) -> list[Any]:
    """The transaction's records, as the library has them."""
    try:
        nistitl = importlib.import_module("nistitl")
    except ImportError as error:
        raise RekamError(
            "ANSI/NIST-ITL files need the library nistitl.", next_step="Install it: pip install 'rekam[nist]'."
        ) from error
    message: Any = nistitl.Message()
    try:
        message.parse(bytes(octets))
    except (nistitl.NistException, LookupError, ValueError, TypeError, AttributeError, struct.error) as error:
        raise RemoteError(f"The ANSI/NIST-ITL transaction is damaged ({type(error).__name__}).") from error
    return list(message)


def _read_type4(record: Any, transaction: Any) -> NistImage:
    """A high-resolution grey image: a binary header of 13 bytes, then the image.

    ISR 0 means 500 ppi, 1 the scanner's own resolution, which field 1.011 states in pixels per millimetre.
    """
    try:
        _, fingers, own_resolution, width, height, compression, data = record.unpack(_TYPE4_HEADER)
    except struct.error as error:
        raise RemoteError("A type-4 record is shorter than its header.") from error
    image = _pixels(data, width, height, "NONE" if compression == 0 else "")
    ppi = _scanner_ppi(transaction) if own_resolution == 1 else _TYPE4_PPI
    return _named(4, int(record.IDC), image, ppi, fingers[0])


def _scanner_ppi(transaction: Any) -> int:
    stated = str(_field(transaction, 11))
    if not _PX_PER_MM.fullmatch(stated):
        raise RemoteError("Field 1.011 states no scanning resolution.")
    return round(float(stated) * 25.4)


def _read_type14(record: Any) -> NistImage:
    """A variable-resolution image: tagged fields, the image in the last."""
    width, height, unit, across, down = (_number(record, tag) for tag in (6, 7, 8, 9, 10))
    if unit not in {1, 2} or across != down:
        raise RemoteError("A type-14 record states no square resolution.", next_step="Scan again at 500 ppi.")
    ppi = across if unit == 1 else round(across * 2.54)
    image = _pixels(_field(record, _DATA), width, height, str(_field(record, 11)))
    return _named(14, _number(record, 2), image, ppi, _number(record, 13))


def _named(record_type: int, idc: int, image: NDArray[np.uint8], ppi: int, code: int) -> NistImage:
    """The image under the position that `code` of table 8 names."""
    checked_ppi(ppi)
    single = FingerPosition(code) if code <= 10 else _PLAIN_THUMBS.get(code, FingerPosition.UNKNOWN)
    return NistImage(record_type, idc, image, ppi, single, SlapPosition(code) if code in _SLAPS else None)


def _pixels(data: Any, width: int, height: int, compression: str) -> NDArray[np.uint8]:
    """Grey values of raw or compressed image data, which must have the size that the record states."""
    if not isinstance(data, bytes):
        raise RemoteError("A finger image record carries no image.")
    if compression in _UNCOMPRESSED:
        if width * height == 0 or len(data) != width * height:
            raise RemoteError(f"{len(data)} bytes are no raw image of {width} × {height}.")
        return np.frombuffer(data, np.uint8).reshape(height, width)
    image = decode_image(data)
    if image.shape != (height, width):
        raise RemoteError(f"The image is {image.shape[1]} × {image.shape[0]}, the record says {width} × {height}.")
    return image


def _field(record: Any, tag: int) -> Any:
    field = record[tag]
    if field is None:
        raise RemoteError(f"The transaction lacks field {record.type}.{tag:03d}.")
    return field.value


def _number(record: Any, tag: int) -> int:
    """A field's number; table 8's code is the first where several are given."""
    value = _field(record, tag)
    first = value[0] if isinstance(value, list) and value else value
    if not str(first).isdecimal() or len(str(first)) > 6:
        raise RemoteError(f"Field {record.type}.{tag:03d} is no number.")
    return int(first)
