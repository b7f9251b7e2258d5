"""Image and signature records composed by hand from the tables of ISO/IEC 19794-4, -5, -6 and -7."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from contract import face_image, finger_image, iris_image, signature_series
from contract.capture_header import CaptureHeader, QualityBlock
from contract.sample import FingerPosition, IrisPosition
from contract.signature_strokes import ink_of

FINGER_2005 = bytes.fromhex(
    "46495200" "30313000"  # FIR, 010
    "00000000003A"  # 58 bytes, in six
    "1234" "001F"  # device, acquisition level 31
    "01" "01"  # one finger, pixels per inch
    "01F4" "01F4" "01F4" "01F4"  # 500
    "08" "00" "0000"  # eight bits, raw, reserved
    "0000001A"  # 26 bytes of view
    "02" "01" "01" "50" "00"  # right index, one view, the first, quality 80, live plain
    "0004" "0003" "00"  # 4 by 3
    "000102030405060708090A0B"
)  # fmt: skip

FINGER_2011 = bytes.fromhex(
    "46495200" "30323000" "00000041" "0001" "00" "01"  # FIR, 020, 65 bytes, one image, not certified, one position
    "00000031"  # 49 bytes of representation
    "07E7" "05" "0B" "13" "00" "1B" "011F"  # 2023-05-11 19:00:27.287
    "0A" "0001" "0002" "01" "32" "000F" "0010"  # technology, vendor, type, one quality block: 50
    "07" "01" "01" "01F4" "01F4" "01F4" "01F4" "08" "06" "1D" "0118" "01C0"  # left index, ppi, PNG, 280 by 448
    "00000003" "AABBCC"
)  # fmt: skip

IRIS_2011 = bytes.fromhex(
    "49495200" "30323000" "0000004D" "0001" "00" "01"  # IIR, 020, 77 bytes, one image of one eye
    "0000003D"  # 61 bytes of representation
    "07E6" "0C" "1C" "12" "20" "0C" "006D"  # 2022-12-28 18:32:12.109
    "01" "0000" "0000" "01" "50" "0000" "0000"  # CMOS, one quality block: 80
    "0001" "02" "07" "0A" "85"  # number 1, left, cropped and masked, JPEG 2000, base, base, lossy before
    "0187" "0125" "08"  # 391 by 293
    "00C8" "FFFF" "FFFF"  # 200 mm, roll undefined
    "00C0" "00C4" "0090" "0094" "0060" "0064"  # centre and diameter
    "00000004" "DEADBEEF"
)  # fmt: skip

FACE_2005 = bytes.fromhex(
    "46414300" "30313000" "0000003A" "0001"  # FAC, 010, 58 bytes, one face
    "0000002C" "0001" "02" "03" "02" "000001" "0001" "000000" "000000"  # 44 bytes, one point, female, brown, black
    "01" "C1" "0064" "0078" "0000"  # left eye's centre at 100, 120
    "01" "01" "00F0" "0140" "01" "02" "0000" "0000"  # full frontal, JPEG 2000, 240 by 320, RGB, digital camera
    "CAFEF00D"
)  # fmt: skip

SIGNATURE_2007 = bytes.fromhex(
    "53444900" "20313000"  # SDI, version 10
    "C160"  # X, Y, T, F, S
    "E0" "B480" "7FF6" "8014"  # X: scaling 100 = (1 + 1152 / 2048) · 2^6, minimum -10, maximum 20
    "80" "B480"  # Y: scaling 100
    "80" "CFA0"  # T: scaling 1000 = (1 + 1952 / 2048) · 2^9
    "00" "00"  # F, S: nothing stated
    "00"  # reserved
    "80" "000002"  # extended data follow, two points
    "7FF6" "8001" "0000" "00FF" "01"
    "8014" "7FFF" "000A" "0000" "00"
    "0002" "BEEF"
)  # fmt: skip
# As other tablets' programs lay theirs out: a fixed rate instead of times, the pad's range of force, no pen switch.
SIGNATURE_OF_OTHERS = bytes.fromhex(
    "53444900" "20313000"
    "C0C0"  # X, Y, DT, F
    "80" "B480" "80" "B480"  # X, Y: scaling 100
    "84" "BC80"  # DT: scaling 200 = (1 + 1152 / 2048) · 2^7, constant
    "60" "0000" "03FF"  # F: minimum 0, maximum 1023
    "00"  # reserved
    "00" "000003"  # no extended data, three points
    "8064" "80C8" "01FF"
    "812C" "8064" "03FF"
    "812C" "8064" "0000"
)  # fmt: skip


def test_a_finger_image_of_2005() -> None:
    record = finger_image.FingerImageRecord(
        (finger_image.FingerImage(FingerPosition.RIGHT_INDEX, 4, 3, bytes(range(12)), quality=80),),
        finger_image.Compression.RAW,
        device_id=0x1234,
    )
    assert finger_image.encode_record(record) == FINGER_2005
    assert finger_image.decode_record(FINGER_2005) == record


def test_a_finger_image_of_2011() -> None:
    (image,) = finger_image.decode_record(FINGER_2011).images
    assert (image.position, image.width_px, image.height_px) == (FingerPosition.LEFT_INDEX, 280, 448)
    assert (image.quality, image.image) == (50, b"\xaa\xbb\xcc")
    assert image.capture == CaptureHeader(
        datetime(2023, 5, 11, 19, 0, 27, 287000, tzinfo=UTC), 10, 1, 2, (QualityBlock(50, 15, 16),)
    )
    assert finger_image.decode_record(FINGER_2011).compression is finger_image.Compression.PNG


def test_an_iris_image_of_2011() -> None:
    record = iris_image.IrisImageRecord(
        (
            iris_image.IrisImage(
                IrisPosition.LEFT,
                iris_image.IrisImageKind.CROPPED_AND_MASKED,
                iris_image.IrisImageFormat.JPEG2000,
                391,
                293,
                b"\xde\xad\xbe\xef",
                CaptureHeader(datetime(2022, 12, 28, 18, 32, 12, 109000, tzinfo=UTC), 1, 0, 0, (QualityBlock(80),)),
                horizontal=iris_image.Orientation.BASE,
                vertical=iris_image.Orientation.BASE,
                lossy_before=True,
                range_mm=200,
                circle=iris_image.IrisCircle(192, 196, 144, 148, 96, 100),
            ),
        )
    )
    assert iris_image.encode_record(record) == IRIS_2011
    assert iris_image.decode_record(IRIS_2011) == record


def test_a_portrait_of_2005() -> None:
    record = face_image.FaceImageRecord(
        (
            face_image.FaceImage(
                240,
                320,
                b"\xca\xfe\xf0\x0d",
                gender=face_image.Gender.FEMALE,
                eye_colour=3,
                hair_colour=2,
                properties=1,
                expression=1,
                feature_points=(face_image.FeaturePoint(12, 1, 100, 120),),
            ),
        )
    )
    assert face_image.encode_record(record) == FACE_2005
    assert face_image.decode_record(FACE_2005) == record


def test_a_signature_of_2007() -> None:
    channel, description = signature_series.Channel, signature_series.ChannelDescription
    series = signature_series.SignatureSeries(
        {channel.X: (-10, 20), channel.Y: (1, -1), channel.T: (0, 10), channel.F: (255, 0), channel.S: (1, 0)},
        {
            channel.X: description(scaling=100.0, value_min=-10, value_max=20),
            channel.Y: description(scaling=100.0),
            channel.T: description(scaling=1000.0),
            channel.F: description(),
            channel.S: description(),
        },
        b"\xbe\xef",
    )
    assert signature_series.encode_series(series) == SIGNATURE_2007
    assert signature_series.decode_series(SIGNATURE_2007) == series


def test_a_signature_of_another_program_is_read_as_it_was_meant() -> None:
    channel = signature_series.Channel
    series = signature_series.decode_series(SIGNATURE_OF_OTHERS)
    assert series.channels == {channel.X: (100, 300, 300), channel.Y: (200, 100, 100), channel.F: (511, 1023, 0)}
    assert series.descriptions[channel.DT] == signature_series.ChannelDescription(scaling=200.0, constant=True)
    assert signature_series.encode_series(series) == SIGNATURE_OF_OTHERS
    (stroke,) = ink_of(series).strokes  # down and to the right: Y grows upwards
    assert stroke == ((0.0, 0.0, pytest.approx(511 / 1023), 0.0), (2.0, 1.0, 1.0, pytest.approx(0.005)))
