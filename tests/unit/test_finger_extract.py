"""What a desk would miss if extraction went wrong: minutiae in their places, and a calm answer to any picture."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from contract.errors import RemoteError
from contract.finger_minutiae import MinutiaKind
from contract.sample import FingerPosition
from edge.matcher_lite import FingerAdvice, extract
from edge.matcher_lite.finger_minutiae import Residues
from edge.matcher_lite.finger_segment import Region
from edge.matcher_lite.finger_warm import ridge_pattern


def one_dislocation(x0: float, y0: float, sign: int, size: int = 300) -> NDArray[np.uint8]:
    """Level ridges of 9 px in which one ridge more starts at (x0, y0), to the right where sign is +1."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float64)
    phase = 2 * np.pi * y / 9.0 + sign * np.arctan2(y - y0, x - x0)
    return (128 + 90 * np.cos(phase)).astype(np.uint8)


@pytest.mark.parametrize(("x0", "y0", "sign"), [(150.3, 140.7, 1), (131.0, 170.0, -1), (170.5, 120.2, 1)])
def test_a_ridge_that_starts_is_found_within_two_pixels_and_points_along_itself(
    x0: float, y0: float, sign: int
) -> None:
    stages: dict[str, object] = {}
    extract(one_dislocation(x0, y0, sign), observe=stages.__setitem__)
    kept, region = stages["minutiae"], stages["crop"]
    assert isinstance(kept, Residues)
    assert isinstance(region, Region)
    x = (kept.x + region.left) * 1.5 + 0.25
    y = (kept.y + region.top) * 1.5 + 0.25
    nearest = int(np.argmin(np.hypot(x - x0, y - y0)))
    assert np.hypot(x[nearest] - x0, y[nearest] - y0) < 2.0
    assert np.sign(kept.dx[nearest]) == sign
    assert abs(kept.dy[nearest]) < 0.2


def test_an_inverted_image_gives_the_same_minutiae_with_endings_and_forks_exchanged() -> None:
    image = ridge_pattern()
    plain, inverted = extract(image), extract(255 - image)
    assert plain.usable
    pairs = [
        (i, int(np.argmin(np.hypot(inverted.x - plain.x[i], inverted.y - plain.y[i])))) for i in range(plain.minutiae)
    ]
    close = [(i, j) for i, j in pairs if np.hypot(inverted.x[j] - plain.x[i], inverted.y[j] - plain.y[i]) < 3.0]
    assert len(close) >= 0.9 * plain.minutiae
    assert sum(plain.kind[i] != inverted.kind[j] for i, j in close) >= 0.9 * len(close)
    assert set(plain.kind) <= {int(MinutiaKind.ENDING), int(MinutiaKind.BIFURCATION)}


def test_the_resolution_is_honoured() -> None:
    image = ridge_pattern()
    at_500 = extract(image, 500)
    at_1000 = extract(cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), 1000)
    met = [np.hypot(at_1000.x - x, at_1000.y - y).min() < 3.0 for x, y in zip(at_500.x, at_500.y, strict=True)]
    assert np.mean(met) > 0.9
    assert abs(at_1000.width - at_500.width) <= 1


def test_the_same_image_gives_the_same_template_to_the_bit() -> None:
    image = ridge_pattern(3)
    assert extract(image).to_bytes() == extract(image.copy()).to_bytes()


def test_other_sample_types_and_colour_are_read() -> None:
    image = ridge_pattern()
    expected = extract(image)
    for same in (image.astype(np.uint16) * 257, np.dstack([image] * 3), image[:, :, None], image.astype(np.int32)):
        made = extract(same, position=FingerPosition.LEFT_INDEX)
        assert made.minutiae == expected.minutiae
        assert made.position is FingerPosition.LEFT_INDEX
    assert extract(image / 255.0).minutiae >= expected.minutiae - 2
    assert extract(image > 128).usable


@pytest.mark.parametrize(
    "image",
    [
        np.full((300, 300), 255, np.uint8),
        np.zeros((300, 300), np.uint8),
        np.zeros((1, 1), np.uint8),
        np.zeros((1, 400), np.uint8),
        np.full((300, 300), np.nan),
        np.random.default_rng(1).integers(0, 256, (374, 388)).astype(np.uint8),
        np.random.default_rng(2).integers(0, 256, (7, 9)).astype(np.uint8),
        ((np.indices((300, 300)).sum(0) // 5 % 2) * 255).astype(np.uint8),
        cv2.GaussianBlur(np.random.default_rng(3).integers(0, 256, (374, 388)).astype(np.uint8), (0, 0), 1.0),
    ],
)  # fmt: skip
def test_a_picture_without_a_finger_says_so(image: NDArray[np.generic]) -> None:
    template = extract(image)
    assert not template.usable
    assert template.minutiae == template.quality == 0
    assert template.advice == (FingerAdvice.NO_FINGER,)


@pytest.mark.parametrize("ppi", [0, -1, 72, 100_000])
def test_an_impossible_resolution_is_refused_with_what_to_do(ppi: int) -> None:
    with pytest.raises(RemoteError, match="ppi") as caught:
        extract(ridge_pattern(), ppi)
    assert caught.value.next_step


@pytest.mark.parametrize("shape", [(0, 0), (5,), (2, 2, 2, 2), (40, 40, 7)])
def test_what_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RemoteError):
        extract(np.zeros(shape, np.uint8))


def test_twenty_megapixels_are_answered_within_two_seconds() -> None:
    extract(ridge_pattern())
    image = np.tile(ridge_pattern(), (13, 15))
    started = time.process_time()
    with pytest.raises(RemoteError, match="more than one finger"):
        extract(image)
    extract(image, 2000)
    assert time.process_time() - started < 2.0


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.float32, np.bool_]),
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=60),
    ),
    st.integers(-10, 5000),
)
def test_any_array_gives_a_template_or_a_refusal(image: NDArray[np.generic], ppi: int) -> None:
    try:
        template = extract(image, ppi)
    except RemoteError:
        return
    assert 0 <= template.quality <= 100


def test_advice_speaks_two_languages() -> None:
    for advice in FingerAdvice:
        assert advice.indonesian
        assert advice.english
