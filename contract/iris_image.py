"""Iris images as others can read them: ISO/IEC 19794-6:2011, clause 7: 16 bytes of header, then representations.

The image inside stays the bytes that the camera or the cropper made; contract.image_formats opens them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from contract.capture_header import NO_CAPTURE_DETAILS, CaptureHeader, decode_capture_header, encode_capture_header
from contract.errors import RekamError
from contract.image_formats import ImageFormat
from contract.octets import OctetReader, checked_size, field
from contract.sample import IrisPosition

MAGIC = b"IIR\x00"
VERSION = b"020\x00"
HEADER_BYTES = 16
RECORD_BYTES_MAX = 32 << 20
REPRESENTATIONS_MAX = 64
UNDEFINED = 0xFFFF  # a roll angle or its uncertainty that was not estimated


class IrisImageKind(IntEnum):
    """Image type (table 4): what was cut away and what was masked."""

    UNCROPPED = 1
    VGA = 2
    CROPPED = 3
    CROPPED_AND_MASKED = 7


class IrisImageFormat(IntEnum):
    """Image format (table 4)."""

    RAW = 2
    JPEG2000 = 10
    PNG = 14

    @property
    def image_format(self) -> ImageFormat | None:
        """The format of the image bytes, None where they are bare samples."""
        return {IrisImageFormat.JPEG2000: ImageFormat.JPEG2000, IrisImageFormat.PNG: ImageFormat.PNG}.get(self)


class Orientation(IntEnum):
    """How the camera held the eye along one axis."""

    UNDEFINED = 0
    BASE = 1
    FLIPPED = 2


@dataclass(frozen=True, slots=True)
class IrisCircle:
    """Bounds of the iris' centre and diameter in pixels; zeros where nobody estimated them."""

    centre_x_min: int = 0
    centre_x_max: int = 0
    centre_y_min: int = 0
    centre_y_max: int = 0
    diameter_min: int = 0
    diameter_max: int = 0


NOT_ESTIMATED = IrisCircle()


@dataclass(frozen=True, slots=True)
class IrisImage:
    """One eye's image.

    range_mm: distance of the camera (0 unassigned, 1 failed, 65535 beyond).
    roll_angle: units of 360/65536 degrees, 65535 undefined; roll_uncertainty: units of 180/65536.
    """

    position: IrisPosition
    kind: IrisImageKind
    image_format: IrisImageFormat
    width_px: int
    height_px: int
    image: bytes
    capture: CaptureHeader = NO_CAPTURE_DETAILS
    number: int = 1
    horizontal: Orientation = Orientation.UNDEFINED
    vertical: Orientation = Orientation.UNDEFINED
    lossy_before: bool = False
    bit_depth: int = 8
    range_mm: int = 0
    roll_angle: int = UNDEFINED
    roll_uncertainty: int = UNDEFINED
    circle: IrisCircle = NOT_ESTIMATED


@dataclass(frozen=True, slots=True)
class IrisImageRecord:
    """The iris images of one person."""

    images: tuple[IrisImage, ...]


def encode_record(record: IrisImageRecord) -> bytes:
    """`record` as ISO/IEC 19794-6:2011 bytes."""
    if not record.images:
        raise RekamError("An iris image record needs at least one image.", next_step="Capture an iris first.")
    body = b"".join(_encode_image(image) for image in record.images)
    eyes = {image.position for image in record.images}
    return b"".join(
        (
            MAGIC,
            VERSION,
            field(HEADER_BYTES + len(body), 4, "Record length", maximum=RECORD_BYTES_MAX),
            field(len(record.images), 2, "Number of images", maximum=REPRESENTATIONS_MAX),
            b"\x00",  # no certification
            field(0 if IrisPosition.UNKNOWN in eyes else len(eyes), 1, "Number of eyes"),
            body,
        )
    )


def decode_record(octets: bytes) -> IrisImageRecord:
    """Read a record; anything that the standard does not allow is a RemoteError."""
    octets = checked_size(octets, RECORD_BYTES_MAX, "iris image record")
    reader = OctetReader(octets, "iris image record")
    reader.expect(MAGIC, "format identifier")
    reader.expect(VERSION, "version")
    length = reader.u32()
    if length != len(octets):
        raise reader.error(f"says {length} bytes and has {len(octets)}")
    count = reader.u16()
    certified = bool(reader.u8())
    reader.u8()
    if not 0 < count <= REPRESENTATIONS_MAX:
        raise reader.error(f"has {count} images; 1 to {REPRESENTATIONS_MAX} are accepted")
    images = tuple(_decode_image(reader, certified=certified) for _ in range(count))
    reader.expect_end()
    return IrisImageRecord(images)


def _encode_image(image: IrisImage) -> bytes:
    if image.image_format is IrisImageFormat.RAW and len(image.image) != _raw_bytes(image):
        raise RekamError(
            f"{len(image.image)} bytes of samples are given for {image.width_px} by {image.height_px} pixels.",
            next_step="Give one byte a pixel, row by row.",
        )
    circle = image.circle
    properties = image.horizontal | image.vertical << 2 | (2 if image.lossy_before else 1) << 6
    body = b"".join(
        (
            encode_capture_header(image.capture),
            field(image.number, 2, "Representation number"),
            field(image.position, 1, "Eye label"),
            field(image.kind, 1, "Image type"),
            field(image.image_format, 1, "Image format"),
            field(properties, 1, "Image properties"),
            field(image.width_px, 2, "Width"),
            field(image.height_px, 2, "Height"),
            field(image.bit_depth, 1, "Bit depth"),
            field(image.range_mm, 2, "Range"),
            field(image.roll_angle, 2, "Roll angle"),
            field(image.roll_uncertainty, 2, "Roll angle uncertainty"),
            field(circle.centre_x_min, 2, "Iris centre"),
            field(circle.centre_x_max, 2, "Iris centre"),
            field(circle.centre_y_min, 2, "Iris centre"),
            field(circle.centre_y_max, 2, "Iris centre"),
            field(circle.diameter_min, 2, "Iris diameter"),
            field(circle.diameter_max, 2, "Iris diameter"),
            field(len(image.image), 4, "Image length"),
            image.image,
        )
    )
    return field(4 + len(body), 4, "Representation length") + body


def _decode_image(reader: OctetReader, *, certified: bool) -> IrisImage:
    part = reader.part(reader.u32() - 4, "representation")
    capture = decode_capture_header(part, certified=certified)
    number = part.u16()
    eye, kind, image_format, properties = (part.u8() for _ in range(4))
    if eye not in set(IrisPosition):
        raise part.error(f"has the eye label {eye}")
    if kind not in set(IrisImageKind):
        raise part.error(f"has the image type {kind}")
    if image_format not in set(IrisImageFormat):
        raise part.error(f"has the image format {image_format}")
    width, height, depth = part.u16(), part.u16(), part.u8()
    range_mm, roll, uncertainty = part.u16(), part.u16(), part.u16()
    circle = IrisCircle(*(part.u16() for _ in range(6)))
    image = IrisImage(
        position=IrisPosition(eye),
        kind=IrisImageKind(kind),
        image_format=IrisImageFormat(image_format),
        width_px=width,
        height_px=height,
        image=part.take(part.u32()),
        capture=capture,
        number=number,
        horizontal=_orientation(properties & 3),
        vertical=_orientation(properties >> 2 & 3),
        lossy_before=properties >> 6 == 2,
        bit_depth=depth,
        range_mm=range_mm,
        roll_angle=roll,
        roll_uncertainty=uncertainty,
        circle=circle,
    )
    part.expect_end()
    if not width or not height or not image.image or not 1 <= depth <= 16:
        raise part.error("has an empty image")
    if image.image_format is IrisImageFormat.RAW and len(image.image) != _raw_bytes(image):
        raise part.error(f"has {len(image.image)} bytes of samples for {width} by {height} pixels")
    return image


def _orientation(code: int) -> Orientation:
    return Orientation(code) if code in set(Orientation) else Orientation.UNDEFINED


def _raw_bytes(image: IrisImage) -> int:
    return image.width_px * image.height_px * ((image.bit_depth + 7) // 8)
