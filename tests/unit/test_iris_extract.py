"""An image of an eye becomes a template; anything else becomes advice, in bounded time."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contract.comparison import threshold_at
from contract.errors import RemoteError
from contract.sample import IrisPosition
from edge.matcher_lite import compare_iris, extract_iris
from edge.matcher_lite.iris_quality import ADVICE_LIGHT
from edge.matcher_lite.iris_segment import segment


def eye(
    seed: int, *, size: tuple[int, int] = (280, 320), centre: tuple[float, float] = (162.0, 141.0), lid: float = 0.0
) -> NDArray[np.uint8]:
    """A drawn eye: dark pupil, textured iris of radius 100, bright sclera and glints, an upper lid of `lid` radii."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    dx, dy = x - centre[0], y - centre[1]
    r, theta = np.hypot(dx, dy), np.arctan2(dy, dx)
    field = cv2.GaussianBlur(rng.normal(0.0, 1.0, (64, 512)).astype(np.float32), (0, 0), sigmaX=5.0, sigmaY=4.0)
    field *= 18.0 / field.std()
    rows = np.clip((r - 40.0) / 60.0 * 63.0, 0, 63).astype(np.float32)
    columns = np.mod(theta / (2 * np.pi) * 512.0, 511.0).astype(np.float32)
    texture = cv2.remap(field, columns, rows, cv2.INTER_LINEAR)
    picture = np.where(r < 40.0, 30.0, np.where(r < 100.0, 115.0 + texture, 165.0))
    if lid:
        picture = np.where(dy < -100.0 + lid * 100.0 + dx**2 / 400.0, 205.0, picture)
    picture = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.2)
    picture[np.hypot(dx - 10, dy + 8) < 4.0] = 255.0
    noise = np.random.default_rng(seed + 1000 + int(centre[0])).normal(0.0, 2.0, size)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def test_the_contours_are_where_they_were_drawn() -> None:
    found = segment(eye(1))
    assert found is not None
    assert found.pupil.x == pytest.approx(162.0, abs=0.7)
    assert found.pupil.y == pytest.approx(141.0, abs=0.7)
    assert found.pupil.radius == pytest.approx(40.0, abs=0.7)
    assert found.limbus.radius == pytest.approx(100.0, abs=1.5)


def test_one_eye_twice_matches_and_two_eyes_do_not() -> None:
    first = extract_iris(eye(1), IrisPosition.LEFT)
    again = extract_iris(eye(1, centre=(150.0, 138.0), lid=0.3))
    other = extract_iris(eye(2))
    assert first.usable
    assert first.position is IrisPosition.LEFT
    assert compare_iris(first, again).value > threshold_at(1e-6)
    assert compare_iris(first, other).value < threshold_at(1e-4)


def test_a_larger_picture_of_the_same_eye_matches() -> None:
    large = cv2.resize(eye(3), None, fx=3.0, fy=3.0, interpolation=cv2.INTER_CUBIC)
    assert compare_iris(extract_iris(np.asarray(large, dtype=np.uint8)), extract_iris(eye(3))).value > 100


def test_a_covered_eye_loses_area_and_is_told_to_open() -> None:
    whole, half = extract_iris(eye(4)), extract_iris(eye(4, lid=0.75))
    assert half.trusted_bits < whole.trusted_bits
    assert half.quality < whole.quality


def test_a_lamp_mirrored_in_the_iris_is_named() -> None:
    image = eye(6)
    for angle in np.linspace(0.0, 2.0 * np.pi, 14, endpoint=False):
        cv2.circle(image, (int(162 + 70 * np.cos(angle)), int(141 + 70 * np.sin(angle))), 6, 255, -1)
    template = extract_iris(image)
    assert template.advice == ADVICE_LIGHT
    assert compare_iris(template, extract_iris(eye(6))).value > threshold_at(1e-6)


def strange_images() -> dict[str, NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    page = np.full((480, 640), 240, np.uint8)
    for line in range(20, 470, 18):
        cv2.putText(page, "PROVINSI NUSANTARA NIK", (10, line), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 10, 1)
    skin = cv2.GaussianBlur(rng.normal(150.0, 60.0, (240, 320)).astype(np.float32), (0, 0), 9.0)
    closed = np.clip(skin, 0, 255).astype(np.uint8)
    for root in range(30, 290, 5):  # a lid's edge and its lashes, no eye between
        cv2.line(closed, (root, 150), (root + (root - 160) // 8, 180), 40, 1, cv2.LINE_AA)
    glasses = np.clip(skin, 0, 255).astype(np.uint8)
    cv2.ellipse(glasses, (160, 120), (120, 80), 0, 0, 360, 25, -1)
    return {
        "closed eye": closed,
        "sunglasses": glasses,
        "skin": np.clip(skin, 0, 255).astype(np.uint8),
        "tall": rng.integers(0, 256, (9000, 64), dtype=np.uint8),
        "every other column": np.ascontiguousarray(eye(1)[:, ::-1])[:, ::2],
        "black": np.zeros((280, 320), np.uint8),
        "white": np.full((280, 320), 255, np.uint8),
        "noise": rng.integers(0, 256, (480, 640), dtype=np.uint8),
        "page": page,
        "ramp": np.tile(np.arange(256, dtype=np.uint8), (200, 1)),
        "narrow": np.zeros((64, 4000), np.uint8),
        "tiny": np.full((3, 5), 77, np.uint8),
        "one pixel": np.zeros((1, 1), np.uint8),
        "two eyes": np.hstack([eye(1), eye(2)]),
        "large": rng.integers(0, 256, (3000, 4000), dtype=np.uint8),
    }


@pytest.mark.parametrize("name", sorted(strange_images()))
def test_what_is_no_eye_is_advice_in_bounded_time(name: str) -> None:
    extract_iris(eye(0))
    image = strange_images()[name]
    started = time.process_time()
    template = extract_iris(image)
    assert time.process_time() - started < 2.0
    if name not in {"two eyes"}:
        assert not template.usable or compare_iris(template, extract_iris(eye(1))).value < threshold_at(1e-4)
    if not template.usable:
        assert template.advice


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 10), np.uint8),
        np.zeros((10, 10, 3), np.uint8),
        np.zeros((10, 10), np.float32),
        np.zeros(5, np.uint8),
    ],
)
def test_what_is_no_greyscale_image_is_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(RemoteError):
        extract_iris(image)


@given(st.integers(64, 400), st.integers(64, 400), st.integers(0, 2**32 - 1), st.integers(0, 8))
@settings(max_examples=40, deadline=None)
def test_any_picture_gives_a_template(height: int, width: int, seed: int, blur: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.5 + blur), dtype=np.uint8)
    image = np.asarray(cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX), dtype=np.uint8)
    template = extract_iris(image)
    assert 0 <= template.quality <= 100
