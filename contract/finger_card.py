"""What the chip has room for: the card formats of ISO/IEC 19794-2:2005, clause 8: bare minutiae of one finger.

A card template has no header, so its format and its finger are known from the file that holds it. Read back it is a
record whose pixels are the format's units, and compares like any other.
"""

from __future__ import annotations

from enum import StrEnum

from contract.errors import RekamError, RemoteError
from contract.finger_minutiae import (
    COORDINATE_MAX,
    MINUTIAE_MAX,
    FingerView,
    Minutia,
    MinutiaeRecord,
    MinutiaKind,
)
from contract.octets import OctetReader, field
from contract.sample import FingerPosition

CARD_BYTES_MAX = 512


class CardFormat(StrEnum):
    """Normal: 5 bytes a minutia in 0.01 mm and 360/256 degrees. Compact: 3 bytes in 0.1 mm and 360/64 degrees."""

    NORMAL = "normal"
    COMPACT = "compact"

    @property
    def minutia_bytes(self) -> int:
        """Bytes of one minutia."""
        return 5 if self is CardFormat.NORMAL else 3

    @property
    def ppcm(self) -> int:
        """Pixels per centimetre of a record whose pixels are this format's units."""
        return 1000 if self is CardFormat.NORMAL else 100

    @property
    def coordinate_max(self) -> int:
        """Largest coordinate, in the format's units."""
        return COORDINATE_MAX if self is CardFormat.NORMAL else 255


def encode_card(
    view: FingerView,
    ppcm_x: int,
    ppcm_y: int,
    card_format: CardFormat = CardFormat.COMPACT,
    max_bytes: int = CARD_BYTES_MAX,
) -> bytes:
    """One finger in a card format, at most `max_bytes` long.

    Where the finger has more minutiae than fit, those of best quality stay, in the record's order. A finger that is
    wider or longer than the format reaches (compact: 25.5 mm) is moved to the origin, which comparison does not
    notice; what still lies outside is left out.
    """
    if ppcm_x <= 0 or ppcm_y <= 0:
        raise RekamError("A card template needs the resolution of its minutiae.", next_step="Give pixels per cm.")
    points = [
        (round(minutia.x * card_format.ppcm / ppcm_x), round(minutia.y * card_format.ppcm / ppcm_y), minutia)
        for minutia in view.minutiae
    ]
    shift_x = _shift([x for x, _, _ in points], card_format.coordinate_max)
    shift_y = _shift([y for _, y, _ in points], card_format.coordinate_max)
    inside = [
        (x - shift_x, y - shift_y, minutia)
        for x, y, minutia in points
        if x - shift_x <= card_format.coordinate_max and y - shift_y <= card_format.coordinate_max
    ]
    room = min(max_bytes // card_format.minutia_bytes, MINUTIAE_MAX)
    best = sorted(range(len(inside)), key=lambda index: -_card_quality(inside[index][2]))[:room]
    return b"".join(_encode_card_minutia(*inside[index], card_format) for index in sorted(best))


def decode_card(
    octets: bytes,
    card_format: CardFormat = CardFormat.COMPACT,
    position: FingerPosition = FingerPosition.UNKNOWN,
) -> MinutiaeRecord:
    """A card template as a record of one view whose pixels are the format's units (100 or 1000 pixels per cm)."""
    if len(octets) > MINUTIAE_MAX * card_format.minutia_bytes or len(octets) % card_format.minutia_bytes:
        raise RemoteError(f"{len(octets)} bytes are no {card_format} card template.")
    reader = OctetReader(bytes(octets), f"{card_format} card template")
    minutiae = []
    while reader.remaining:
        minutiae.append(_decode_card_minutia(reader, card_format))
    size = card_format.coordinate_max + 1
    view = FingerView(minutiae=tuple(minutiae), position=position)
    return MinutiaeRecord(size, size, card_format.ppcm, card_format.ppcm, (view,))


def _shift(coordinates: list[int], maximum: int) -> int:
    return min(coordinates) if coordinates and max(coordinates) > maximum else 0


def _card_quality(minutia: Minutia) -> int:
    return minutia.quality if minutia.quality <= 100 else 0


def _encode_card_minutia(x: int, y: int, minutia: Minutia, card_format: CardFormat) -> bytes:
    kind = MinutiaKind(minutia.kind)
    if card_format is CardFormat.COMPACT:
        angle = round(minutia.angle / 4) % 64
        return field(x, 1, "Minutia x") + field(y, 1, "Minutia y") + bytes((kind << 6 | angle,))
    x_field = int.from_bytes(field(x, 2, "Minutia x", maximum=COORDINATE_MAX), "big")
    return (
        (kind << 14 | x_field).to_bytes(2, "big")
        + field(y, 2, "Minutia y", maximum=COORDINATE_MAX)
        + field(minutia.angle, 1, "Minutia angle")
    )


def _decode_card_minutia(reader: OctetReader, card_format: CardFormat) -> Minutia:
    if card_format is CardFormat.COMPACT:
        x, y, kind_and_angle = reader.u8(), reader.u8(), reader.u8()
        kind, angle = kind_and_angle >> 6, (kind_and_angle & 0x3F) * 4
    else:
        kind_and_x = reader.u16()
        y = reader.u16() & COORDINATE_MAX
        kind, x, angle = kind_and_x >> 14, kind_and_x & COORDINATE_MAX, reader.u8()
    if kind > MinutiaKind.BIFURCATION:
        raise reader.error("has a minutia of the reserved type 3")
    return Minutia(kind, x, y, angle)
