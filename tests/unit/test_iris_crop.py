"""A cropped and masked iris record still shows the same eye."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.comparison import threshold_at
from contract.errors import RemoteError
from contract.iris_image import IrisImageFormat, IrisImageKind, IrisImageRecord, decode_record, encode_record
from contract.sample import IrisPosition
from edge.matcher_lite import compare_iris, extract_iris
from edge.matcher_lite.iris_crop import iris_image, iris_pixels
from edge.matcher_lite.iris_extract import extract_best_iris
from virtual.people import person

EYE = person(7, 0).iris(IrisPosition.LEFT)
SMALL = np.asarray(cv2.resize(EYE, (160, 140), interpolation=cv2.INTER_AREA), dtype=np.uint8)
RECORDS = {
    image_format: encode_record(IrisImageRecord((iris_image(SMALL, IrisPosition.LEFT, image_format=image_format),)))
    for image_format in IrisImageFormat
}
AGAIN = extract_iris(person(7, 0).iris(IrisPosition.LEFT, 1))


@pytest.mark.parametrize("kind", IrisImageKind)
@pytest.mark.parametrize("image_format", IrisImageFormat)
def test_every_kind_of_record_shows_the_same_eye(kind: IrisImageKind, image_format: IrisImageFormat) -> None:
    image = iris_image(EYE, IrisPosition.LEFT, kind, image_format, max_bytes=12_000)
    (read,) = decode_record(encode_record(IrisImageRecord((image,)))).images
    pixels = iris_pixels(read)
    assert pixels.shape == (read.height_px, read.width_px)
    assert compare_iris(extract_iris(pixels), AGAIN).value > threshold_at(1e-4)
    if image_format is IrisImageFormat.JPEG2000:
        assert len(image.image) <= 12_000


@given(st.sampled_from(sorted(IrisImageFormat)), st.integers(0, 4095), st.integers(0, 255), st.integers(0, 4095))
@settings(max_examples=80, deadline=None)
def test_a_damaged_record_is_an_image_or_refused(image_format: IrisImageFormat, at: int, octet: int, cut: int) -> None:
    whole = RECORDS[image_format]
    damaged = bytearray(whole if cut % 3 else whole[: len(whole) - cut % len(whole)])
    for place in (at % max(len(damaged), 1), 16 + at % 90):
        if place < len(damaged):
            damaged[place] = octet
    try:
        pixels = [iris_pixels(image) for image in decode_record(bytes(damaged)).images]
    except RemoteError:
        return
    for each in pixels:
        template = extract_iris(each)
        assert 0 <= template.quality <= 100


def test_a_crop_has_the_standard_margins_and_says_where_the_iris_is() -> None:
    image = iris_image(EYE, IrisPosition.LEFT, IrisImageKind.CROPPED)
    radius = image.circle.diameter_min / 2
    assert image.width_px <= 3.2 * radius + 4
    assert image.height_px <= 2.4 * radius + 4
    assert abs(image.circle.centre_x_min - image.width_px / 2) < 0.35 * radius
    assert iris_image(EYE, IrisPosition.LEFT, IrisImageKind.VGA).width_px == 640


def test_without_an_iris_there_is_nothing_to_crop_to() -> None:
    black = np.zeros((240, 320), np.uint8)
    with pytest.raises(RemoteError):
        iris_image(black, IrisPosition.LEFT, IrisImageKind.CROPPED)
    assert iris_image(black, IrisPosition.LEFT).circle.diameter_min == 0


def test_the_best_of_a_burst_is_taken() -> None:
    black = np.zeros((240, 320), np.uint8)
    found, of_image = extract_best_iris([black, EYE, black])
    assert found.usable and of_image == 1
    assert extract_best_iris([black, black])[0].advice
    assert not extract_best_iris([])[0].usable
