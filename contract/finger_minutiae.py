"""Finger minutiae as others can read them: ISO/IEC 19794-2:2005, record format (clause 7).

The record travels in packets and between vendors; what the chip holds is in contract.finger_card.
Coordinates are pixels of the record's resolution, origin at the upper left, y downwards. Angles are units of
360/256 degrees, counter-clockwise from the x axis as seen.

ANSI INCITS 378-2004 starts with the same eight bytes but has a two-byte length, a product identifier and angles
in units of 2 degrees; such a record is refused by name instead of being misread.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from contract.errors import RekamError, RemoteError
from contract.octets import OctetReader, checked_size, field
from contract.sample import FingerPosition

MAGIC = b"FMR\x00"
VERSION = b" 20\x00"
HEADER_BYTES = 24
VIEW_HEADER_BYTES = 4
MINUTIA_BYTES = 6
MINUTIAE_MAX = 255
VIEWS_MAX = 255
RECORD_BYTES_MAX = 1 << 20
COORDINATE_MAX = 0x3FFF

_HEADER = struct.Struct(">4s4sIHHHHHBB")
_VIEW_HEADER = struct.Struct(">BBBB")  # position, number and impression, quality, number of minutiae
_MINUTIA = struct.Struct(">HHBB")  # type and x, y, angle, quality
_KIND_RESERVED = 3

_AREA_RIDGE_COUNT = 1
_AREA_CORE_DELTA = 2
_POINTS_MAX = 63


class MinutiaKind(IntEnum):
    """Type of a minutia (7.4.2.1)."""

    OTHER = 0
    ENDING = 1
    BIFURCATION = 2


class Impression(IntEnum):
    """Impression type (table 3)."""

    LIVE_PLAIN = 0
    LIVE_ROLLED = 1
    NON_LIVE_PLAIN = 2
    NON_LIVE_ROLLED = 3
    LATENT = 7
    SWIPE = 8


class Minutia(NamedTuple):
    """One minutia; `numpy.array(view.minutiae)` has shape (N, 5) in this order.

    kind: a MinutiaKind. x, y: pixels, 0 to 16383. angle: units of 360/256 degrees, 0 to 255.
    quality: 1 to 100, 0 where not reported (254 and 255 of later editions pass through).
    """

    kind: int
    x: int
    y: int
    angle: int
    quality: int = 0


class Core(NamedTuple):
    """A core point; angle None where the record gives none."""

    x: int
    y: int
    angle: int | None = None


class Delta(NamedTuple):
    """A delta point with the three directions of its ridges, or None."""

    x: int
    y: int
    angles: tuple[int, int, int] | None = None


class RidgeCount(NamedTuple):
    """Ridges between the minutiae of the two indices (0-based)."""

    first: int
    second: int
    ridges: int


@dataclass(frozen=True, slots=True)
class ExtendedArea:
    """An extended data area that this codec carries without reading it (7.5)."""

    kind: int
    octets: bytes


@dataclass(frozen=True, slots=True)
class FingerView:
    """The minutiae of one impression of one finger (7.4)."""

    minutiae: tuple[Minutia, ...]
    position: FingerPosition = FingerPosition.UNKNOWN
    view_number: int = 0
    impression: int = Impression.LIVE_PLAIN
    quality: int = 0
    ridge_counts: tuple[RidgeCount, ...] = ()
    ridge_count_method: int = 0
    cores: tuple[Core, ...] = ()
    deltas: tuple[Delta, ...] = ()
    areas: tuple[ExtendedArea, ...] = ()


@dataclass(slots=True)
class _Areas:
    """What a view's extended data holds."""

    ridge_counts: tuple[RidgeCount, ...]
    ridge_count_method: int
    cores: tuple[Core, ...]
    deltas: tuple[Delta, ...]
    areas: list[ExtendedArea]


class PackedView(NamedTuple):
    """A view with its minutiae as the record has them, MINUTIA_BYTES each (7.4.2): who reads many makes arrays of them.

    They are whole in number, and none is of the reserved type.
    """

    minutiae: bytes
    position: FingerPosition
    number_and_impression: int
    quality: int
    extended: _Areas


class PackedRecord(NamedTuple):
    """A record with packed views; fields as MinutiaeRecord has them."""

    width_px: int
    height_px: int
    ppcm_x: int
    ppcm_y: int
    views: tuple[PackedView, ...]
    capture_equipment: int


@dataclass(frozen=True, slots=True)
class MinutiaeRecord:
    """A finger minutiae record: image size in pixels, resolution in pixels per centimetre, 1 to 255 views."""

    width_px: int
    height_px: int
    ppcm_x: int
    ppcm_y: int
    views: tuple[FingerView, ...]
    capture_equipment: int = 0


def encode_record(record: MinutiaeRecord) -> bytes:
    """`record` as ISO/IEC 19794-2:2005 bytes; RekamError where a value has no room in its field."""
    if not record.views:
        raise RekamError("A minutiae record needs at least one view.", next_step="Capture a finger first.")
    body = b"".join(_encode_view(view) for view in record.views)
    return b"".join(
        (
            MAGIC,
            VERSION,
            field(HEADER_BYTES + len(body), 4, "Record length", maximum=RECORD_BYTES_MAX),
            field(record.capture_equipment, 2, "Capture equipment"),
            field(record.width_px, 2, "Width"),
            field(record.height_px, 2, "Height"),
            field(record.ppcm_x, 2, "Resolution in x"),
            field(record.ppcm_y, 2, "Resolution in y"),
            field(len(record.views), 1, "Number of views"),
            b"\x00",
            body,
        )
    )


def decode_record(octets: bytes) -> MinutiaeRecord:
    """Read a record; anything that the standard does not allow is a RemoteError."""
    packed = decode_packed(octets)
    views = tuple(_unpack_view(view) for view in packed.views)
    return MinutiaeRecord(
        packed.width_px, packed.height_px, packed.ppcm_x, packed.ppcm_y, views, packed.capture_equipment
    )


def decode_packed(octets: bytes) -> PackedRecord:
    """Read a record as `decode_record` does and leave its minutiae packed: a search reads millions of them."""
    octets = checked_size(octets, RECORD_BYTES_MAX, "minutiae record")
    reader = OctetReader(octets, "minutiae record")
    magic, version, length, equipment, width, height, ppcm_x, ppcm_y, count, _ = reader.unpack(_HEADER)
    if magic != MAGIC:
        raise reader.error(f"has no format identifier {MAGIC!r}")
    if version != VERSION:
        raise reader.error(f"has no version {VERSION!r}")
    if length != len(octets):
        raise _length_error(octets, length)
    if not ppcm_x or not ppcm_y:
        raise reader.error("states a resolution of zero")
    if not count:
        raise reader.error("has no view")
    views = tuple([_packed_view(reader) for _ in range(count)])
    reader.expect_end()
    return PackedRecord(width, height, ppcm_x, ppcm_y, views, equipment)


def _length_error(octets: bytes, length: int) -> RemoteError:
    if int.from_bytes(octets[8:10], "big") == len(octets):
        return RemoteError(
            "This is an ANSI INCITS 378 record, not ISO/IEC 19794-2.",
            next_step="Have the sender export ISO/IEC 19794-2:2005.",
        )
    return RemoteError(f"The minutiae record says {length} bytes and has {len(octets)}.")


def _encode_view(view: FingerView) -> bytes:
    areas = _encode_areas(view)
    return b"".join(
        (
            field(view.position, 1, "Finger position", maximum=10),
            field(view.view_number << 4 | view.impression, 1, "View number and impression"),
            field(view.quality, 1, "Finger quality"),
            field(len(view.minutiae), 1, "Number of minutiae"),
            *(_encode_minutia(minutia) for minutia in view.minutiae),
            field(len(areas), 2, "Extended data length"),
            areas,
        )
    )


def _packed_view(reader: OctetReader) -> PackedView:
    code, number_and_impression, quality, count = reader.unpack(_VIEW_HEADER)
    if code > FingerPosition.LEFT_LITTLE:
        raise reader.error(f"has finger position {code}")
    minutiae = reader.take(count * MINUTIA_BYTES)
    if max(minutiae[::MINUTIA_BYTES], default=0) >> 6 == _KIND_RESERVED:
        raise reader.error("has a minutia of the reserved type 3")
    extended = reader.part(reader.u16(), "extended data")
    return PackedView(minutiae, FingerPosition(code), number_and_impression, quality, _decode_areas(extended, count))


def _unpack_view(view: PackedView) -> FingerView:
    minutiae = tuple(
        Minutia(kind_x >> 14, kind_x & COORDINATE_MAX, y & COORDINATE_MAX, angle, quality)
        for kind_x, y, angle, quality in _MINUTIA.iter_unpack(view.minutiae)
    )
    found = view.extended
    return FingerView(
        minutiae=minutiae,
        position=view.position,
        view_number=view.number_and_impression >> 4,
        impression=view.number_and_impression & 0x0F,
        quality=view.quality,
        ridge_counts=found.ridge_counts,
        ridge_count_method=found.ridge_count_method,
        cores=found.cores,
        deltas=found.deltas,
        areas=tuple(found.areas),
    )


def _encode_minutia(minutia: Minutia) -> bytes:
    kind = MinutiaKind(minutia.kind)
    x = int.from_bytes(field(minutia.x, 2, "Minutia x", maximum=COORDINATE_MAX), "big")
    return b"".join(
        (
            (kind << 14 | x).to_bytes(2, "big"),
            field(minutia.y, 2, "Minutia y", maximum=COORDINATE_MAX),
            field(minutia.angle, 1, "Minutia angle"),
            field(minutia.quality, 1, "Minutia quality"),
        )
    )


# --- Extended data (7.5): ridge counts, cores and deltas are read, other areas are carried along. ---


def _decode_areas(reader: OctetReader, minutiae: int) -> _Areas:
    found = _Areas((), 0, (), (), [])
    while reader.remaining:
        kind = reader.u16()
        length = reader.u16()
        if length < 4:
            raise reader.error(f"has an area of {length} bytes, less than its own header")
        area = reader.part(length - 4, f"area {kind}")
        if kind == _AREA_RIDGE_COUNT:
            found.ridge_count_method, found.ridge_counts = _decode_ridge_counts(area, minutiae)
        elif kind == _AREA_CORE_DELTA:
            found.cores, found.deltas = _decode_points(area)
        else:
            found.areas.append(ExtendedArea(kind, area.take(area.remaining)))
    return found


def _decode_ridge_counts(reader: OctetReader, minutiae: int) -> tuple[int, tuple[RidgeCount, ...]]:
    method = reader.u8()
    counts = []
    while reader.remaining:
        first, second, count = reader.u8(), reader.u8(), reader.u8()
        if first >= minutiae or second >= minutiae:
            raise reader.error(f"counts ridges to a minutia that is not there ({first}, {second} of {minutiae})")
        counts.append(RidgeCount(first, second, count))
    return method, tuple(counts)


def _decode_points(reader: OctetReader) -> tuple[tuple[Core, ...], tuple[Delta, ...]]:
    cores = []
    for _ in range(reader.u8() & _POINTS_MAX):
        kind_and_x = reader.u16()
        y = reader.u16() & COORDINATE_MAX
        cores.append(Core(kind_and_x & COORDINATE_MAX, y, reader.u8() if kind_and_x >> 14 == 1 else None))
    deltas = []
    for _ in range(reader.u8() & _POINTS_MAX):
        kind_and_x = reader.u16()
        y = reader.u16() & COORDINATE_MAX
        angles = (reader.u8(), reader.u8(), reader.u8()) if kind_and_x >> 14 == 1 else None
        deltas.append(Delta(kind_and_x & COORDINATE_MAX, y, angles))
    reader.expect_end()
    return tuple(cores), tuple(deltas)


def _encode_areas(view: FingerView) -> bytes:
    areas = []
    if view.ridge_counts:
        triples = b"".join(
            b"".join(field(value, 1, "Ridge count") for value in ridge_count) for ridge_count in view.ridge_counts
        )
        areas.append(ExtendedArea(_AREA_RIDGE_COUNT, field(view.ridge_count_method, 1, "Ridge count method") + triples))
    if view.cores or view.deltas:
        areas.append(ExtendedArea(_AREA_CORE_DELTA, _encode_points(view.cores, view.deltas)))
    areas.extend(view.areas)
    return b"".join(
        field(area.kind, 2, "Area type") + field(len(area.octets) + 4, 2, "Area length") + area.octets for area in areas
    )


def _encode_points(cores: tuple[Core, ...], deltas: tuple[Delta, ...]) -> bytes:
    octets = [field(len(cores), 1, "Number of cores", maximum=_POINTS_MAX)]
    for core in cores:
        octets.append(_encode_point(core.x, core.y, () if core.angle is None else (core.angle,)))
    octets.append(field(len(deltas), 1, "Number of deltas", maximum=_POINTS_MAX))
    for delta in deltas:
        octets.append(_encode_point(delta.x, delta.y, delta.angles or ()))
    return b"".join(octets)


def _encode_point(x: int, y: int, angles: tuple[int, ...]) -> bytes:
    x_field = int.from_bytes(field(x, 2, "Point x", maximum=COORDINATE_MAX), "big")
    return b"".join(
        (
            ((1 if angles else 0) << 14 | x_field).to_bytes(2, "big"),
            field(y, 2, "Point y", maximum=COORDINATE_MAX),
            *(field(angle, 1, "Point angle") for angle in angles),
        )
    )
