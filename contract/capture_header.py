"""The head that every representation of the 2011 editions of ISO/IEC 19794 shares (19794-1:2011, clause 12)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from contract.octets import OctetReader, field

NOT_GIVEN = b"\xff" * 9  # a capture time of which nothing is known


@dataclass(frozen=True, slots=True)
class QualityBlock:
    """A quality score of 0 to 100 (255: the attempt failed) with the algorithm that gave it."""

    score: int
    vendor_id: int = 0
    algorithm_id: int = 0


@dataclass(frozen=True, slots=True)
class CaptureHeader:
    """When and with what a representation was captured; `captured_at` None where the record does not say."""

    captured_at: datetime | None = None
    technology: int = 0
    vendor_id: int = 0
    device_type: int = 0
    qualities: tuple[QualityBlock, ...] = ()


NO_CAPTURE_DETAILS = CaptureHeader()


def encode_capture_header(header: CaptureHeader) -> bytes:
    """The header's bytes, to follow the representation length."""
    return b"".join(
        (
            _encode_time(header.captured_at),
            field(header.technology, 1, "Device technology"),
            field(header.vendor_id, 2, "Device vendor"),
            field(header.device_type, 2, "Device type"),
            field(len(header.qualities), 1, "Number of quality blocks"),
            *(
                field(block.score, 1, "Quality score")
                + field(block.vendor_id, 2, "Quality vendor")
                + field(block.algorithm_id, 2, "Quality algorithm")
                for block in header.qualities
            ),
        )
    )


def decode_capture_header(reader: OctetReader, *, certified: bool = False) -> CaptureHeader:
    """Read the header; `certified` where certification blocks follow the quality blocks, which are passed over."""
    captured_at = _decode_time(reader)
    technology, vendor_id, device_type = reader.u8(), reader.u16(), reader.u16()
    qualities = tuple(QualityBlock(reader.u8(), reader.u16(), reader.u16()) for _ in range(reader.u8()))
    if certified:
        reader.take(3 * reader.u8())
    return CaptureHeader(captured_at, technology, vendor_id, device_type, qualities)


def _encode_time(captured_at: datetime | None) -> bytes:
    if captured_at is None:
        return NOT_GIVEN
    moment = captured_at.astimezone(UTC)
    return (
        moment.year.to_bytes(2, "big")
        + bytes((moment.month, moment.day, moment.hour, moment.minute, moment.second))
        + (moment.microsecond // 1000).to_bytes(2, "big")
    )


def _decode_time(reader: OctetReader) -> datetime | None:
    octets = reader.take(9)
    if octets in {NOT_GIVEN, bytes(9)}:
        return None
    year, milliseconds = int.from_bytes(octets[:2], "big"), int.from_bytes(octets[7:], "big")
    month, day, hour, minute, second = octets[2:7]
    try:
        return datetime(year, month, day, hour, minute, second, milliseconds * 1000, tzinfo=UTC)
    except ValueError as error:
        raise reader.error("has an impossible capture time") from error
