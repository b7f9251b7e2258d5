"""Image and signature records come back as they were, and garbage is never more than a RemoteError."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import face_image, finger_image, iris_image, signature_series
from contract.capture_header import CaptureHeader, QualityBlock
from contract.errors import RekamError, RemoteError
from contract.sample import FingerPosition, IrisPosition

FINGER = finger_image.FingerImageRecord(
    tuple(
        finger_image.FingerImage(position, 280, 448, b"image of " + position.name.encode())
        for position in (FingerPosition.RIGHT_THUMB, finger_image.SlapPosition.LEFT_FOUR)
    ),
    finger_image.Compression.WSQ,
)
IRIS = iris_image.IrisImageRecord(
    tuple(
        iris_image.IrisImage(
            position,
            iris_image.IrisImageKind.VGA,
            iris_image.IrisImageFormat.PNG,
            640,
            480,
            b"an eye",
            CaptureHeader(datetime(2026, 1, 2, tzinfo=UTC), 1, 2, 3, (QualityBlock(70), QualityBlock(71))),
        )
        for position in (IrisPosition.RIGHT, IrisPosition.LEFT)
    )
)
FACE = face_image.FaceImageRecord(
    tuple(
        face_image.FaceImage(300, 400, b"a face", feature_points=(face_image.FeaturePoint(12, n, 1, 2),) * n)
        for n in range(3)
    )
)
SIGNATURE = signature_series.signature_of(
    [(100 + n, 200 - n, 5 * n, n % 7, n % 3 > 0) for n in range(40)], units_per_mm=100, units_per_newton=341.3
)
RECORDS: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "finger": (finger_image.encode_record(FINGER), finger_image.decode_record),
    "iris": (iris_image.encode_record(IRIS), iris_image.decode_record),
    "face": (face_image.encode_record(FACE), face_image.decode_record),
    "signature": (signature_series.encode_series(SIGNATURE), signature_series.decode_series),
}
kinds = st.sampled_from(sorted(RECORDS))


def test_records_of_several_images_come_back() -> None:
    assert finger_image.decode_record(finger_image.encode_record(FINGER)) == FINGER
    assert iris_image.decode_record(iris_image.encode_record(IRIS)) == IRIS
    assert face_image.decode_record(face_image.encode_record(FACE)) == FACE


def test_a_signature_comes_back_with_its_scale() -> None:
    series = signature_series.decode_series(signature_series.encode_series(SIGNATURE))
    assert series.channels == SIGNATURE.channels
    assert series.point_count == 40
    scaling = series.descriptions[signature_series.Channel.F].scaling
    assert scaling == pytest.approx(341.3, rel=1 / 2048)


@given(st.floats(2**-16, 2**15.9))
@settings(max_examples=100, deadline=None)
def test_a_scaling_value_keeps_three_digits(scaling: float) -> None:
    series = signature_series.signature_of([(0, 0, 0, 0, True)], units_per_mm=scaling)
    again = signature_series.decode_series(signature_series.encode_series(series))
    assert again.descriptions[signature_series.Channel.X].scaling == pytest.approx(scaling, rel=1 / 2048)


def test_a_constant_channel_is_absent_from_the_points() -> None:
    channel, description = signature_series.Channel, signature_series.ChannelDescription
    series = signature_series.SignatureSeries(
        {channel.X: (1, 2), channel.Y: (3, 4)},
        {
            channel.X: description(scaling=10.0),
            channel.Y: description(scaling=10.0),
            channel.DT: description(scaling=200.0, constant=True),
        },
    )
    octets = signature_series.encode_series(series)
    assert len(octets) == 8 + 2 + 3 * 3 + 1 + 1 + 3 + 2 * 4
    assert signature_series.decode_series(octets) == series


@given(kinds, st.data())
@settings(max_examples=200, deadline=None)
def test_a_changed_byte_is_a_value_or_a_remote_error(kind: str, data: st.DataObject) -> None:
    octets, decode = RECORDS[kind]
    changed = bytearray(octets)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RemoteError):
        decode(bytes(changed))


@given(kinds, st.binary(max_size=120), st.integers(0, 60))
@settings(max_examples=150, deadline=None)
def test_garbage_is_a_remote_error(kind: str, garbage: bytes, kept: int) -> None:
    octets, decode = RECORDS[kind]
    for candidate in (garbage, octets[:kept] + garbage):
        with contextlib.suppress(RemoteError):
            decode(candidate)


@pytest.mark.parametrize("kind", sorted(RECORDS))
def test_a_truncated_or_longer_record_is_refused(kind: str) -> None:
    octets, decode = RECORDS[kind]
    for length in range(len(octets)):
        with pytest.raises(RemoteError):
            decode(octets[:length])
    with pytest.raises(RemoteError):
        decode(octets + b"\x00")


def test_an_announced_million_of_points_allocates_nothing() -> None:
    octets = bytearray(RECORDS["signature"][0])
    at = octets.index((40).to_bytes(3, "big"))
    octets[at : at + 3] = b"\xff\xff\xff"
    with pytest.raises(RemoteError, match="16777215 sample points"):
        signature_series.decode_series(bytes(octets))


def test_empty_records_cannot_be_written() -> None:
    for encode in (
        lambda: finger_image.encode_record(finger_image.FingerImageRecord((), finger_image.Compression.RAW)),
        lambda: iris_image.encode_record(iris_image.IrisImageRecord(())),
        lambda: face_image.encode_record(face_image.FaceImageRecord(())),
        lambda: signature_series.encode_series(signature_series.SignatureSeries({}, {})),
    ):
        with pytest.raises(RekamError):
            encode()


def test_raw_samples_must_fill_the_image() -> None:
    image = finger_image.FingerImage(FingerPosition.RIGHT_INDEX, 10, 10, b"short")
    with pytest.raises(RekamError, match="10 by 10"):
        finger_image.encode_record(finger_image.FingerImageRecord((image,), finger_image.Compression.RAW))
