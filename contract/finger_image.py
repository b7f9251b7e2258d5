"""Finger images as others can read them: ISO/IEC 19794-4.

Written as the 2005 edition ("010"), which certified scanners and AFIS import; read as 2005 and as 2011 ("020"),
which MOSIP devices send. The image inside stays the bytes that the device made; contract.image_formats opens them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from contract.capture_header import CaptureHeader, decode_capture_header
from contract.errors import RekamError
from contract.image_formats import ImageFormat
from contract.octets import OctetReader, checked_size, field
from contract.sample import FingerPosition

MAGIC = b"FIR\x00"
VERSION_2005 = b"010\x00"
VERSION_2011 = b"020\x00"
HEADER_BYTES = 32
VIEW_HEADER_BYTES = 14
RECORD_BYTES_MAX = 64 << 20
VIEWS_MAX = 255


class SlapPosition(IntEnum):
    """Positions of plain impressions of several fingers (table 6)."""

    RIGHT_FOUR = 13
    LEFT_FOUR = 14
    THUMBS = 15


# The fingers of each slap from left to right, as the picture shows them.
SLAP_FINGERS: Mapping[SlapPosition, tuple[FingerPosition, ...]] = {
    SlapPosition.RIGHT_FOUR: tuple(FingerPosition(code) for code in (2, 3, 4, 5)),
    SlapPosition.LEFT_FOUR: tuple(FingerPosition(code) for code in (10, 9, 8, 7)),
    SlapPosition.THUMBS: (FingerPosition.LEFT_THUMB, FingerPosition.RIGHT_THUMB),
}


def slap_of(finger: FingerPosition) -> SlapPosition | None:
    """The slap that a finger belongs to."""
    return next((slap for slap, fingers in SLAP_FINGERS.items() if finger in fingers), None)


class Compression(IntEnum):
    """Image compression algorithm (2005, table 4)."""

    RAW = 0
    RAW_PACKED = 1
    WSQ = 2
    JPEG = 3
    JPEG2000 = 4
    PNG = 5

    @property
    def image_format(self) -> ImageFormat | None:
        """The format of the image bytes, None where they are bare samples."""
        return _FORMATS.get(self)


_FORMATS = {
    Compression.WSQ: ImageFormat.WSQ,
    Compression.JPEG: ImageFormat.JPEG,
    Compression.JPEG2000: ImageFormat.JPEG2000,
    Compression.PNG: ImageFormat.PNG,
}
# The 2011 edition tells lossy (4) from lossless (5) JPEG 2000 and moves PNG to 6.
_COMPRESSIONS_2011 = (
    Compression.RAW,
    Compression.RAW_PACKED,
    Compression.WSQ,
    Compression.JPEG,
    Compression.JPEG2000,
    Compression.JPEG2000,
    Compression.PNG,
)


class ScaleUnits(IntEnum):
    """What resolutions are counted in."""

    PIXELS_PER_INCH = 1
    PIXELS_PER_CM = 2


@dataclass(frozen=True, slots=True)
class FingerImage:
    """One impression: `image` holds `width_px` by `height_px` pixels in the record's compression."""

    position: FingerPosition | SlapPosition
    width_px: int
    height_px: int
    image: bytes
    view_number: int = 1
    view_count: int = 1
    quality: int = 254  # "undefined" in the 2005 edition
    impression: int = 0
    capture: CaptureHeader | None = None


@dataclass(frozen=True, slots=True)
class FingerImageRecord:
    """Finger images of one capture, all at one resolution, depth and compression (2005, clause 8)."""

    images: tuple[FingerImage, ...]
    compression: Compression
    ppi: int = 500
    pixel_depth: int = 8
    acquisition_level: int = 31
    device_id: int = 0
    scale_units: ScaleUnits = ScaleUnits.PIXELS_PER_INCH


def encode_record(record: FingerImageRecord) -> bytes:
    """`record` as ISO/IEC 19794-4:2005 bytes."""
    if not record.images:
        raise RekamError("A finger image record needs at least one image.", next_step="Capture a finger first.")
    body = b"".join(_encode_view(image, record) for image in record.images)
    resolution = record.ppi if record.scale_units is ScaleUnits.PIXELS_PER_INCH else round(record.ppi / 2.54)
    return b"".join(
        (
            MAGIC,
            VERSION_2005,
            field(HEADER_BYTES + len(body), 6, "Record length", maximum=RECORD_BYTES_MAX),
            field(record.device_id, 2, "Capture device"),
            field(record.acquisition_level, 2, "Acquisition level"),
            field(len(record.images), 1, "Number of images"),
            field(record.scale_units, 1, "Scale units"),
            field(resolution, 2, "Resolution") * 4,
            field(record.pixel_depth, 1, "Pixel depth", maximum=16),
            field(record.compression, 1, "Compression"),
            b"\x00\x00",
            body,
        )
    )


def decode_record(octets: bytes) -> FingerImageRecord:
    """Read a record of either edition; anything else is a RemoteError."""
    octets = checked_size(octets, RECORD_BYTES_MAX, "finger image record")
    reader = OctetReader(octets, "finger image record")
    reader.expect(MAGIC, "format identifier")
    version = reader.take(4)
    if version == VERSION_2005:
        return _decode_2005(reader, len(octets))
    if version == VERSION_2011:
        return _decode_2011(reader, len(octets))
    raise reader.error(f"is of the unknown version {version!r}")


def _encode_view(image: FingerImage, record: FingerImageRecord) -> bytes:
    if record.compression is Compression.RAW:
        expected = image.width_px * image.height_px * ((record.pixel_depth + 7) // 8)
        if len(image.image) != expected:
            raise RekamError(
                f"{len(image.image)} bytes of samples are given for {image.width_px} by {image.height_px} pixels.",
                next_step="Give one byte a pixel, row by row.",
            )
    return b"".join(
        (
            field(VIEW_HEADER_BYTES + len(image.image), 4, "Image length"),
            field(image.position, 1, "Finger position"),
            field(image.view_count, 1, "View count"),
            field(image.view_number, 1, "View number"),
            field(image.quality, 1, "Quality"),
            field(image.impression, 1, "Impression type"),
            field(image.width_px, 2, "Width"),
            field(image.height_px, 2, "Height"),
            b"\x00",
            image.image,
        )
    )


def _decode_2005(reader: OctetReader, size: int) -> FingerImageRecord:
    length = reader.uint(6)
    if length != size:
        raise reader.error(f"says {length} bytes and has {size}")
    device_id, level = reader.u16(), reader.u16()
    count = reader.u8()
    units = _scale_units(reader)
    resolutions = [reader.u16() for _ in range(4)]
    depth = reader.u8()
    code = reader.u8()
    reader.u16()
    if code >= len(Compression):
        raise reader.error(f"has the unknown compression {code}")
    if not count:
        raise reader.error("has no image")
    compression = Compression(code)
    images = tuple(_decode_view_2005(reader, compression, depth) for _ in range(count))
    reader.expect_end()
    return FingerImageRecord(images, compression, _ppi(reader, resolutions[2], units), depth, level, device_id, units)


def _decode_view_2005(reader: OctetReader, compression: Compression, depth: int) -> FingerImage:
    length = reader.u32()
    position = _position(reader)
    view_count, view_number, quality, impression = (reader.u8() for _ in range(4))
    width, height = reader.u16(), reader.u16()
    reader.u8()
    image = reader.take(length - VIEW_HEADER_BYTES)
    _check_samples(reader, image, compression, (width, height), depth)
    return FingerImage(position, width, height, image, view_number, view_count, quality, impression)


def _decode_2011(reader: OctetReader, size: int) -> FingerImageRecord:
    length = reader.u32()
    if length != size:
        raise reader.error(f"says {length} bytes and has {size}")
    count = reader.u16()
    certified = reader.u8()
    reader.u8()
    if not 0 < count <= VIEWS_MAX:
        raise reader.error(f"has {count} images; 1 to {VIEWS_MAX} are accepted")
    found = [_decode_view_2011(reader, certified=bool(certified)) for _ in range(count)]
    reader.expect_end()
    formats = {(compression, ppi, depth, units) for _, compression, ppi, depth, units in found}
    if len(formats) != 1:
        raise reader.error("mixes resolutions or compressions")
    compression, ppi, depth, units = formats.pop()
    return FingerImageRecord(tuple(image for image, *_ in found), compression, ppi, depth, scale_units=units)


def _decode_view_2011(reader: OctetReader, *, certified: bool) -> tuple[FingerImage, Compression, int, int, ScaleUnits]:
    length = reader.u32()
    view = reader.part(length - 4, "representation")
    capture = decode_capture_header(view, certified=certified)
    position = _position(view)
    number = view.u8()
    units = _scale_units(view)
    resolutions = [view.u16() for _ in range(4)]
    depth, code, impression = view.u8(), view.u8(), view.u8()
    width, height = view.u16(), view.u16()
    if code >= len(_COMPRESSIONS_2011):
        raise view.error(f"has the unknown compression {code}")
    compression = _COMPRESSIONS_2011[code]
    image = view.take(view.u32())
    _check_samples(view, image, compression, (width, height), depth)
    # What follows, where anything does, is segmentation and annotation: extended data that no part here needs.
    quality = capture.qualities[0].score if capture.qualities else 254
    finger = FingerImage(position, width, height, image, number, 1, quality, impression, capture)
    return finger, compression, _ppi(view, resolutions[2], units), depth, units


def _position(reader: OctetReader) -> FingerPosition | SlapPosition:
    code = reader.u8()
    if code <= FingerPosition.LEFT_LITTLE:
        return FingerPosition(code)
    if code in set(SlapPosition):
        return SlapPosition(code)
    raise reader.error(f"has finger position {code}")


def _scale_units(reader: OctetReader) -> ScaleUnits:
    code = reader.u8()
    if code not in set(ScaleUnits):
        raise reader.error(f"has the unknown scale units {code}")
    return ScaleUnits(code)


def _ppi(reader: OctetReader, resolution: int, units: ScaleUnits) -> int:
    if not resolution:
        raise reader.error("states a resolution of zero")
    return resolution if units is ScaleUnits.PIXELS_PER_INCH else round(resolution * 2.54)


def _check_samples(
    reader: OctetReader, image: bytes, compression: Compression, size_px: tuple[int, int], depth: int
) -> None:
    width, height = size_px
    if not 1 <= depth <= 16:
        raise reader.error(f"has {depth} bits a pixel")
    if not width or not height or not image:
        raise reader.error("has an empty image")
    if compression is Compression.RAW and len(image) != width * height * ((depth + 7) // 8):
        raise reader.error(f"has {len(image)} bytes of samples for {width} by {height} pixels")
