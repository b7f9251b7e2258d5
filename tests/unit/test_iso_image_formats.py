"""Images of every accepted format come in as pixels; everything else ends in a RemoteError."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from contract.errors import RekamError, RemoteError
from contract.image_formats import ImageFormat, decode_image, encode_image, image_format, wsq_size


def ridges(height: int = 96, width: int = 120) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    return (128 + 90 * np.sin((x + 0.4 * y) / 2.0)).astype(np.uint8)


GREY = ridges()
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=2)
FILES = {kind: encode_image(GREY, kind) for kind in ImageFormat}


@pytest.mark.parametrize("kind", ImageFormat)
def test_every_format_is_known_by_its_first_bytes_and_comes_back(kind: ImageFormat) -> None:
    assert image_format(FILES[kind]) is kind
    pixels = decode_image(FILES[kind])
    assert pixels.shape == GREY.shape
    assert np.abs(pixels.astype(int) - GREY).mean() < 8
    assert decode_image(FILES[kind], colour=True).shape == (*GREY.shape, 3)


@pytest.mark.parametrize("kind", [ImageFormat.PNG, ImageFormat.TIFF, ImageFormat.BMP, ImageFormat.JPEG2000])
def test_lossless_formats_lose_nothing(kind: ImageFormat) -> None:
    assert np.array_equal(decode_image(FILES[kind]), GREY)
    assert np.array_equal(decode_image(encode_image(COLOUR, kind), colour=True), COLOUR)


@pytest.mark.parametrize("kind", [ImageFormat.JPEG, ImageFormat.JPEG2000])
def test_a_byte_budget_is_kept_and_used(kind: ImageFormat) -> None:
    whole = len(encode_image(COLOUR, kind))
    octets = encode_image(COLOUR, kind, max_bytes=whole // 3)
    assert whole // 8 < len(octets) <= whole // 3
    assert decode_image(octets, colour=True).shape == COLOUR.shape
    assert len(encode_image(COLOUR, kind, max_bytes=whole)) == whole
    with pytest.raises(RekamError, match="fits into 20 bytes"):
        encode_image(COLOUR, kind, max_bytes=20)


@pytest.mark.parametrize("mode", ["1", "P", "RGBA", "LA", "CMYK", "I;16", "I", "F"])
def test_odd_pixel_modes_become_eight_bit_grey(mode: str) -> None:
    ramp = Image.fromarray(GREY)
    if mode == "I;16":
        image = Image.fromarray(GREY.astype(np.uint16) * 257)
    elif mode == "I":
        image = Image.fromarray(GREY.astype(np.int32) * 257)
    elif mode == "F":
        image = Image.fromarray(GREY.astype(np.float32) / 255)
    else:
        image = ramp.convert(mode)
    file = io.BytesIO()
    image.save(file, "TIFF")
    pixels = decode_image(file.getvalue())
    assert pixels.shape == GREY.shape
    if mode != "1":
        assert np.abs(pixels.astype(int) - GREY).mean() < 12


def test_what_is_transparent_is_white() -> None:
    file = io.BytesIO()
    Image.new("RGBA", (4, 3), (0, 0, 0, 0)).save(file, "PNG")
    assert decode_image(file.getvalue()).min() == 255


def test_a_bomb_is_refused_by_its_announced_size() -> None:
    file = io.BytesIO()
    Image.new("1", (7_000, 7_000)).save(file, "PNG")
    with pytest.raises(RemoteError, match="7000 by 7000"):
        decode_image(file.getvalue())
    with pytest.raises(RemoteError, match="120 by 96"):
        decode_image(FILES[ImageFormat.WSQ], max_pixels=10_000)


@pytest.mark.parametrize("octets", [b"", b"GIF89a", b"%PDF-1.4", b"\x00" * 100, b"\xff\xa0", b"BM", b"II*\x00"])
def test_what_is_no_image_is_refused(octets: bytes) -> None:
    with pytest.raises(RemoteError):
        decode_image(octets)


@given(st.sampled_from([kind for kind in ImageFormat if kind is not ImageFormat.WSQ]), st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_is_a_picture_or_a_remote_error(kind: ImageFormat, data: st.DataObject) -> None:
    octets = bytearray(FILES[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RemoteError):
        assert decode_image(bytes(octets[: data.draw(st.integers(1, len(octets)))]), max_pixels=100_000).ndim == 2


def test_a_damaged_wsq_file_takes_nothing_down() -> None:
    rng = np.random.default_rng(2)
    for _ in range(12):
        octets = bytearray(FILES[ImageFormat.WSQ])
        octets[int(rng.integers(100, len(octets)))] = int(rng.integers(256))
        with contextlib.suppress(RemoteError):
            assert decode_image(bytes(octets), max_pixels=100_000).ndim == 2


@given(st.binary(max_size=60))
def test_a_broken_wsq_header_is_a_remote_error(garbage: bytes) -> None:
    with contextlib.suppress(RemoteError):
        wsq_size(b"\xff\xa0" + garbage)


@pytest.mark.parametrize("shape", [(0, 4), (4,), (3, 3, 4), (2, 2, 2, 2)])
def test_what_is_no_picture_cannot_be_written(shape: tuple[int, ...]) -> None:
    with pytest.raises(RekamError):
        encode_image(np.zeros(shape, np.uint8), ImageFormat.PNG)
    with pytest.raises(RekamError):
        encode_image(np.zeros((2, 2, 3), np.uint8), ImageFormat.WSQ)
