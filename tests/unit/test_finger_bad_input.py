"""What must never take a desk down: files and templates that are damaged, forged, huge or of another kind."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from contract.errors import RemoteError
from contract.finger_card import CardFormat
from contract.finger_image import Compression, FingerImage, FingerImageRecord, SlapPosition, encode_record
from contract.finger_minutiae import HEADER_BYTES, VIEW_HEADER_BYTES
from contract.image_formats import ImageFormat, encode_image
from contract.sample import FingerPosition
from edge.matcher_lite import FingerTemplate, compare, extract
from edge.matcher_lite.finger_file import read_image, read_template
from edge.matcher_lite.finger_warm import ridge_pattern

_PRINT = ridge_pattern(2, 200, 180)
_FILES = {held: encode_image(_PRINT, held) for held in ImageFormat}
_RECORD = extract(_PRINT).to_iso()
_CARD = extract(_PRINT).to_card()


def image_record(
    compression: Compression, position: FingerPosition | SlapPosition = FingerPosition.RIGHT_INDEX
) -> bytes:
    """The print as an ISO/IEC 19794-4 record."""
    held = compression.image_format
    octets = _PRINT.tobytes() if held is None else _FILES[held]
    height, width = _PRINT.shape
    view = FingerImage(position, width, height, octets)
    return encode_record(FingerImageRecord((view,), compression))


_IMAGE_RECORD = image_record(Compression.PNG)


def mutated(octets: bytes, data: st.DataObject) -> bytes:
    """Some bytes changed, and perhaps the end cut off or something appended."""
    damaged = bytearray(octets)
    for place in data.draw(st.lists(st.integers(0, len(octets) - 1), max_size=6)):
        damaged[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.one_of(st.none(), st.integers(0, len(octets))))
    return bytes(damaged[:end]) + data.draw(st.binary(max_size=4))


@pytest.mark.parametrize("held", [each for each in ImageFormat if each is not ImageFormat.WSQ])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_image_file_gives_a_template_or_a_refusal(
    held: ImageFormat, tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "print.img"
    path.write_bytes(mutated(_FILES[held], data))
    try:
        template = read_template(path, 500)
    except RemoteError:
        return
    assert 0 <= template.quality <= 100


# The WSQ decoder runs in a process of its own: fewer examples.
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_wsq_file_gives_a_template_or_a_refusal(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "print.wsq"
    path.write_bytes(mutated(_FILES[ImageFormat.WSQ], data))
    try:
        assert read_template(path, 500).minutiae <= 255
    except RemoteError:
        return


@pytest.mark.parametrize("held", list(ImageFormat))
def test_every_format_gives_the_prints_template(held: ImageFormat, tmp_path: Path) -> None:
    path = tmp_path / f"print.{held}"
    path.write_bytes(_FILES[held])
    template = read_template(path, 500)
    assert compare(template, extract(_PRINT)).value > 60.0


@pytest.mark.parametrize("compression", [Compression.RAW, Compression.PNG, Compression.WSQ, Compression.JPEG2000])
def test_an_iso_image_record_gives_the_prints_template(compression: Compression, tmp_path: Path) -> None:
    path = tmp_path / "print.iso"
    path.write_bytes(image_record(compression))
    assert compare(read_template(path), extract(_PRINT)).value > 60.0


def test_a_record_of_a_slap_or_of_packed_samples_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "print.fir"
    path.write_bytes(image_record(Compression.PNG, SlapPosition.RIGHT_FOUR))
    with pytest.raises(RemoteError) as caught:
        read_template(path)
    assert "split" in caught.value.next_step
    assert read_image(path, slap=True)[0].shape == _PRINT.shape
    path.write_bytes(image_record(Compression.RAW_PACKED))
    with pytest.raises(RemoteError, match="packed"):
        read_template(path)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_image_record_gives_a_template_or_a_refusal(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "print.fir"
    path.write_bytes(mutated(_IMAGE_RECORD, data))
    try:
        assert read_template(path).minutiae <= 255
    except RemoteError:
        return


def test_one_bit_sixteen_bit_and_colour_files_are_read(tmp_path: Path) -> None:
    pictures = {
        "bit": Image.fromarray(_PRINT > 128),
        "deep": Image.fromarray(_PRINT.astype(np.uint16) * 257),
        "colour": Image.fromarray(np.dstack([_PRINT] * 3)),
        "alpha": Image.fromarray(np.dstack([_PRINT, np.full_like(_PRINT, 255)])),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / f"{name}.png")
        assert compare(read_template(tmp_path / f"{name}.png", 500), extract(_PRINT)).value > 40.0, name


@pytest.mark.parametrize("held", [ImageFormat.PNG, ImageFormat.JPEG2000])
def test_a_file_of_twenty_megapixels_is_refused_before_it_is_decoded(held: ImageFormat, tmp_path: Path) -> None:
    path = tmp_path / "large.img"
    path.write_bytes(encode_image(np.zeros((4500, 4500), np.uint8), held))
    started = time.process_time()
    with pytest.raises(RemoteError, match="pixels"):
        read_image(path, 2000)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize("ppi", [None, "dense", float("nan"), float("inf"), 10**400])
def test_a_resolution_that_is_no_number_is_refused(ppi: object) -> None:
    with pytest.raises(RemoteError, match="ppi"):
        extract(_PRINT, ppi)  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_record_compares_or_is_refused(data: st.DataObject) -> None:
    for octets, read in ((_RECORD, FingerTemplate.from_iso), (_CARD, FingerTemplate.from_card)):
        try:
            template = read(mutated(octets, data))
        except RemoteError:
            continue
        assert template.minutiae <= 255
        assert np.isfinite(compare(template, template).value)
        assert ((template.angle >= 0) & (template.angle < 2 * np.pi)).all()


@pytest.mark.parametrize(
    ("place", "octets"),
    [
        (4, b" 30\x00"),  # version of 2011
        (4, b" 10\x00"),
        (0, b"FIR\x00"),
        (8, struct.pack(">I", 5)),  # shorter than it is
        (8, struct.pack(">I", 1 << 30)),
        (18, b"\x00\x00"),  # no resolution
        (22, b"\x00"),  # no view
        (22, b"\xff"),
        (HEADER_BYTES, b"\x0b"),  # an eleventh finger
        (HEADER_BYTES + 3, b"\xff"),  # more minutiae than follow
        (HEADER_BYTES + 3, b"\x00"),  # fewer
        (HEADER_BYTES + VIEW_HEADER_BYTES, b"\xff\xff"),  # a minutia of type 3
    ],
)
def test_a_record_with_a_forged_field_is_refused(place: int, octets: bytes) -> None:
    forged = _RECORD[:place] + octets + _RECORD[place + len(octets) :]
    with pytest.raises(RemoteError) as caught:
        FingerTemplate.from_iso(forged)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("card_format", list(CardFormat))
def test_card_bytes_of_a_wrong_length_are_refused(card_format: CardFormat) -> None:
    octets = extract(_PRINT).to_card(card_format)
    for wrong in (octets[:-1], octets + b"\x00", octets * 300):
        with pytest.raises(RemoteError):
            FingerTemplate.from_card(wrong, card_format)


def test_records_of_many_minutiae_are_compared_within_two_seconds() -> None:
    random = np.random.default_rng(9)
    minutiae = b"".join(
        struct.pack(">HHBB", 1 << 14 | int(x), int(y), int(a), 90) for x, y, a in random.integers(0, 250, (255, 3))
    )
    body = bytes((1, 0, 90, 255)) + minutiae + b"\x00\x00"
    head = b"FMR\x00 20\x00" + struct.pack(">IHHHHHBB", 24 + len(body), 0, 400, 400, 197, 197, 1, 0)
    template = FingerTemplate.from_iso(head + body)
    started = time.process_time()
    assert compare(template, template).value > 60.0
    assert time.process_time() - started < 2.0
    assert len(template.to_card()) <= 512
