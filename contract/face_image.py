"""Portraits as others can read them: ISO/IEC 19794-5.

Written as the 2005 edition ("010"), which is what ICAO 9303 puts on chips; read as 2005 and as 2011 ("030").
The image inside stays a JPEG or JPEG 2000 file; contract.image_formats opens it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

from contract.capture_header import CaptureHeader, decode_capture_header
from contract.errors import RekamError
from contract.image_formats import ImageFormat
from contract.octets import OctetReader, checked_size, field

MAGIC = b"FAC\x00"
VERSION_2005 = b"010\x00"
VERSION_2011 = b"030\x00"
HEADER_BYTES = 14
FACE_HEADER_BYTES = 20  # facial information block
RECORD_BYTES_MAX = 32 << 20
IMAGES_MAX = 64
FEATURE_POINTS_MAX = 4096
LEFT_EYE, RIGHT_EYE = (12, 1), (12, 2)  # the person's own; centres of the pupils

_IMAGE_INFORMATION_BYTES = 12

_Code = TypeVar("_Code", bound=IntEnum)


class FaceImageKind(IntEnum):
    """Face image type (table 9)."""

    BASIC = 0
    FULL_FRONTAL = 1
    TOKEN_FRONTAL = 2


class FaceImageData(IntEnum):
    """Image data type (table 10)."""

    JPEG = 0
    JPEG2000 = 1

    @property
    def image_format(self) -> ImageFormat:
        """The format of the image bytes."""
        return ImageFormat.JPEG if self is FaceImageData.JPEG else ImageFormat.JPEG2000


class Gender(IntEnum):
    """Gender code (table 3 of the 2005 edition)."""

    UNSPECIFIED = 0
    MALE = 1
    FEMALE = 2
    UNKNOWN = 255


class ColourSpace(IntEnum):
    """Image colour space (table 11)."""

    UNSPECIFIED = 0
    RGB24 = 1
    YUV422 = 2
    GREY8 = 3
    OTHER = 4


class SourceType(IntEnum):
    """What took the picture (table 12)."""

    UNSPECIFIED = 0
    PHOTOGRAPH = 1
    PHOTOGRAPH_DIGITAL_CAMERA = 2
    PHOTOGRAPH_SCANNER = 3
    VIDEO = 4
    VIDEO_ANALOGUE = 5
    VIDEO_DIGITAL = 6
    UNKNOWN = 7


@dataclass(frozen=True, slots=True)
class FeaturePoint:
    """An MPEG-4 feature point, such as LEFT_EYE. Pixels."""

    major: int
    minor: int
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class FaceImage:
    """One portrait. `properties` is the 24-bit feature mask, `pose` yaw, pitch and roll codes, 0 unspecified."""

    width_px: int
    height_px: int
    image: bytes
    data: FaceImageData = FaceImageData.JPEG2000
    kind: FaceImageKind = FaceImageKind.FULL_FRONTAL
    gender: Gender = Gender.UNSPECIFIED
    eye_colour: int = 0
    hair_colour: int = 0
    properties: int = 0
    expression: int = 0
    pose: tuple[int, int, int] = (0, 0, 0)
    pose_uncertainty: tuple[int, int, int] = (0, 0, 0)
    feature_points: tuple[FeaturePoint, ...] = ()
    colour_space: ColourSpace = ColourSpace.RGB24
    source: SourceType = SourceType.PHOTOGRAPH_DIGITAL_CAMERA
    device_type: int = 0
    quality: int = 0
    capture: CaptureHeader | None = None


@dataclass(frozen=True, slots=True)
class FaceImageRecord:
    """The portraits of one person."""

    images: tuple[FaceImage, ...]


def encode_record(record: FaceImageRecord) -> bytes:
    """`record` as ISO/IEC 19794-5:2005 bytes."""
    if not record.images:
        raise RekamError("A face image record needs at least one image.", next_step="Take the photo first.")
    body = b"".join(_encode_image(image) for image in record.images)
    return b"".join(
        (
            MAGIC,
            VERSION_2005,
            field(HEADER_BYTES + len(body), 4, "Record length", maximum=RECORD_BYTES_MAX),
            field(len(record.images), 2, "Number of images", maximum=IMAGES_MAX),
            body,
        )
    )


def decode_record(octets: bytes) -> FaceImageRecord:
    """Read a record of either edition; anything else is a RemoteError."""
    octets = checked_size(octets, RECORD_BYTES_MAX, "face image record")
    reader = OctetReader(octets, "face image record")
    reader.expect(MAGIC, "format identifier")
    version = reader.take(4)
    if version not in {VERSION_2005, VERSION_2011}:
        raise reader.error(f"is of the unknown version {version!r}")
    length = reader.u32()
    if length != len(octets):
        raise reader.error(f"says {length} bytes and has {len(octets)}")
    count = reader.u16()
    if not 0 < count <= IMAGES_MAX:
        raise reader.error(f"has {count} images; 1 to {IMAGES_MAX} are accepted")
    if version == VERSION_2005:
        images = tuple(_decode_2005(reader) for _ in range(count))
    else:
        certified = bool(reader.u8())
        reader.u16()  # temporal semantics of a sequence
        images = tuple(_decode_2011(reader, certified=certified) for _ in range(count))
    reader.expect_end()
    return FaceImageRecord(images)


def _encode_image(image: FaceImage) -> bytes:
    points = b"".join(
        b"\x01"  # an MPEG-4 point
        + field(point.major << 4 | point.minor, 1, "Feature point")
        + field(point.x, 2, "Feature point x")
        + field(point.y, 2, "Feature point y")
        + b"\x00\x00"
        for point in image.feature_points
    )
    length = FACE_HEADER_BYTES + len(points) + _IMAGE_INFORMATION_BYTES + len(image.image)
    return b"".join(
        (
            field(length, 4, "Image length"),
            field(len(image.feature_points), 2, "Number of feature points", maximum=FEATURE_POINTS_MAX),
            field(image.gender, 1, "Gender"),
            field(image.eye_colour, 1, "Eye colour"),
            field(image.hair_colour, 1, "Hair colour"),
            field(image.properties, 3, "Properties"),
            field(image.expression, 2, "Expression"),
            *(field(angle, 1, "Pose angle") for angle in image.pose),
            *(field(angle, 1, "Pose uncertainty") for angle in image.pose_uncertainty),
            points,
            field(image.kind, 1, "Face image type"),
            field(image.data, 1, "Image data type"),
            field(image.width_px, 2, "Width"),
            field(image.height_px, 2, "Height"),
            field(image.colour_space, 1, "Colour space"),
            field(image.source, 1, "Source type"),
            field(image.device_type, 2, "Device type"),
            field(image.quality, 2, "Quality"),
            image.image,
        )
    )


@dataclass(frozen=True, slots=True)
class _Person:
    """The facial information block and its feature points."""

    gender: Gender
    eye_colour: int
    hair_colour: int
    properties: int
    expression: int
    pose: tuple[int, int, int]
    pose_uncertainty: tuple[int, int, int]
    feature_points: tuple[FeaturePoint, ...]


def _decode_person(reader: OctetReader, *, has_height: bool) -> _Person:
    count = reader.u16()
    if count > FEATURE_POINTS_MAX:
        raise reader.error(f"has {count} feature points; up to {FEATURE_POINTS_MAX} are accepted")
    gender = _member(reader, Gender, "gender")
    eye_colour, hair_colour = reader.u8(), reader.u8()
    if has_height:
        reader.u8()  # body height, which no part here needs
    properties, expression = reader.uint(3), reader.u16()
    pose = (reader.u8(), reader.u8(), reader.u8())
    uncertainty = (reader.u8(), reader.u8(), reader.u8())
    points = []
    for _ in range(count):
        reader.u8()
        code, x, y = reader.u8(), reader.u16(), reader.u16()
        reader.u16()
        points.append(FeaturePoint(code >> 4, code & 0x0F, x, y))
    return _Person(gender, eye_colour, hair_colour, properties, expression, pose, uncertainty, tuple(points))


def _decode_2005(reader: OctetReader) -> FaceImage:
    part = reader.part(reader.u32() - 4, "image")
    person = _decode_person(part, has_height=False)
    kind = _member(part, FaceImageKind, "face image type")
    data = _member(part, FaceImageData, "image data type")
    width, height = part.u16(), part.u16()
    colour_space = _member(part, ColourSpace, "colour space")
    source = _member(part, SourceType, "source type")
    device_type, quality = part.u16(), part.u16()
    image = part.take(part.remaining)
    return _face(part, person, (width, height), image, data, kind, colour_space, source, device_type, quality)


def _decode_2011(reader: OctetReader, *, certified: bool) -> FaceImage:
    part = reader.part(reader.u32() - 4, "representation")
    capture = decode_capture_header(part, certified=certified)
    person = _decode_person(part, has_height=True)
    kind = _member(part, FaceImageKind, "face image type")
    code = part.u8()
    if code > 2:  # 1 and 2 are lossy and lossless JPEG 2000
        raise part.error(f"has the image data type {code}")
    width, height = part.u16(), part.u16()
    part.u8()  # spatial sampling rate level
    part.u16()  # post-acquisition processing
    part.u8()  # cross reference
    colour_space = _member(part, ColourSpace, "colour space")
    image = part.take(part.u32())
    # What follows, where anything does, is three-dimensional data that no part here needs.
    data = FaceImageData.JPEG if code == 0 else FaceImageData.JPEG2000
    quality = capture.qualities[0].score if capture.qualities else 0
    source = SourceType.UNSPECIFIED
    size = (width, height)
    return _face(part, person, size, image, data, kind, colour_space, source, capture.device_type, quality, capture)


def _face(
    reader: OctetReader,
    person: _Person,
    size_px: tuple[int, int],
    image: bytes,
    data: FaceImageData,
    kind: FaceImageKind,
    colour_space: ColourSpace,
    source: SourceType,
    device_type: int,
    quality: int,
    capture: CaptureHeader | None = None,
) -> FaceImage:
    width, height = size_px
    if not width or not height or not image:
        raise reader.error("has an empty image")
    return FaceImage(
        width_px=width,
        height_px=height,
        image=image,
        data=data,
        kind=kind,
        gender=person.gender,
        eye_colour=person.eye_colour,
        hair_colour=person.hair_colour,
        properties=person.properties,
        expression=person.expression,
        pose=person.pose,
        pose_uncertainty=person.pose_uncertainty,
        feature_points=person.feature_points,
        colour_space=colour_space,
        source=source,
        device_type=device_type,
        quality=quality,
        capture=capture,
    )


def _member(reader: OctetReader, codes: type[_Code], name: str) -> _Code:
    value = reader.u8()
    if value not in set(codes):
        raise reader.error(f"has the unknown {name} {value}")
    return codes(value)
