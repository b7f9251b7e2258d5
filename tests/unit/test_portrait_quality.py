"""A portrait's judgement must name the right fault to the person, guess nothing, and crop without inventing."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from contract.chip_layout import BUDGET, ChipFile
from contract.errors import RemoteError
from contract.image_formats import decode_image
from contract.sample_quality import LIMIT_VALUE, Advice, Verdict
from edge.matcher_lite.portrait_advice import (
    CUT_OFF,
    EVEN_LIGHT,
    EYES,
    FLAT_LIGHT,
    FURTHER,
    LESS_COMPRESSION,
    LESS_LIGHT,
    MIDDLE,
    MORE_FACES,
    MORE_LIGHT,
    NEARER,
    NO_COLOUR,
    NO_FACE,
    PLAIN,
    STILL,
    UPRIGHT,
    WHITE_BALANCE,
)
from edge.matcher_lite.portrait_crop import CARD_PHOTO_PX, card_photo, card_window, chip_photo, crop
from edge.matcher_lite.portrait_face import Face, find_faces
from edge.matcher_lite.portrait_quality import NEVER_JUDGED, as_picture, examine_portrait, judge_portrait
from virtual.camera_twin import empty_room
from virtual.people import person

Picture = NDArray[np.uint8]


def grey_of(picture: Picture) -> Picture:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


@pytest.fixture(scope="module")
def portrait() -> Picture:
    return person(1, 3).portrait(0)


def test_a_good_portrait_passes_and_says_what_was_not_judged(portrait: Picture) -> None:
    quality = judge_portrait(portrait)
    assert quality.value >= LIMIT_VALUE
    assert quality.advice == ()
    assert quality.not_judged == NEVER_JUDGED
    assert all(m.limit is not None for m in quality.measures if m.verdict is not Verdict.NOT_JUDGED)


def test_the_eyes_are_found_where_they_are(portrait: Picture) -> None:
    (face,) = find_faces(grey_of(portrait))
    assert face.eyes is not None
    assert 90 <= face.eye_distance_px <= 180
    (turned,) = find_faces(np.ascontiguousarray(grey_of(portrait)[:, ::-1]))
    assert turned.eyes is not None
    assert turned.eyes[0][0] == pytest.approx(portrait.shape[1] - face.eyes[1][0], abs=2)


@pytest.mark.parametrize("index", range(6))
def test_pupils_are_dark_and_where_the_eye_was_painted(index: int) -> None:
    picture = person(1, index).portrait(0)
    (face,) = find_faces(grey_of(picture))
    assert face.eyes is not None
    for x, y in face.eyes:
        around = grey_of(picture)[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4]
        assert around.mean() < 90
    assert face.eye_distance_px == pytest.approx(126, abs=7)  # as virtual.portrait_canvas lays it


def spoiled(portrait: Picture, fault: str) -> Picture:
    """The portrait with one fault."""
    height, width = portrait.shape[:2]
    if fault == "blurred":
        return np.asarray(cv2.GaussianBlur(portrait, (0, 0), 5), dtype=np.uint8)
    if fault == "bright":
        return np.clip(portrait.astype(np.int16) * 2, 0, 255).astype(np.uint8)
    if fault == "dark":
        return (portrait // 5).astype(np.uint8)
    if fault == "tilted":
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), 12, 1)
        return np.asarray(cv2.warpAffine(portrait, turn, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    if fault == "aside":
        return np.roll(portrait, 140, axis=1)
    if fault == "far":
        small = cv2.resize(portrait, None, fx=0.4, fy=0.4)
        y, x = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
        return np.asarray(cv2.copyMakeBorder(small, y, y, x, x, cv2.BORDER_REPLICATE), dtype=np.uint8)
    if fault == "two":
        return np.ascontiguousarray(np.hstack([portrait, portrait]))
    if fault == "side light":
        dark = portrait.copy()
        dark[:, : width // 2] //= 3
        return dark
    if fault == "wallpaper":
        papered = portrait.copy()
        stripes = (np.indices((height, width)).sum(axis=0) // 6 % 2 * 110).astype(np.uint8)
        outside = np.ones((height, width), dtype=bool)
        outside[:, width // 6 : width * 5 // 6] = False
        papered[outside] = (papered[outside] // 2) + stripes[outside][:, None]
        return papered
    if fault in COLOUR_FAULTS:
        return COLOUR_FAULTS[fault](portrait)
    if fault in FRAME_FAULTS:
        return FRAME_FAULTS[fault](portrait)
    return empty_room(height, width)


def jpeg(portrait: Picture, quality: int) -> Picture:
    file = io.BytesIO()
    Image.fromarray(portrait).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def covered(portrait: Picture, colour: int | None) -> Picture:
    """Eyes behind dark glass, or lids of skin drawn over them."""
    (face,) = find_faces(grey_of(portrait))
    assert face.eyes is not None
    drawn = portrait.copy()
    for x, y in face.eyes:
        skin = [int(value) for value in portrait[round(y) + 40, round(x)]]
        fill = skin if colour is None else [colour] * 3
        axes = (44, 30) if colour is None else (56, 44)
        cv2.ellipse(drawn, (round(x), round(y)), axes, 0, 0, 360, fill, -1, cv2.LINE_AA)
        if colour is None:
            cv2.ellipse(drawn, (round(x), round(y)), (30, 8), 0, 10, 170, (60, 40, 30), 2, cv2.LINE_AA)
    return drawn


COLOUR_FAULTS = {
    "grey": lambda portrait: np.repeat(grey_of(portrait)[:, :, None], 3, axis=2),
    "blue lamp": lambda portrait: (portrait * np.array([0.45, 0.75, 1.0])).astype(np.uint8),
    "compressed": lambda portrait: jpeg(portrait, 8),
    "hazy": lambda portrait: (portrait // 4 + 90).astype(np.uint8),
    "sunglasses": lambda portrait: covered(portrait, 12),
    "eyes closed": lambda portrait: covered(portrait, None),
}
FRAME_FAULTS = {
    "too near": lambda portrait: np.ascontiguousarray(portrait[215:600, 85:500]),
    "at the edge": lambda portrait: np.ascontiguousarray(portrait[:, 130:]),
}


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        ("blurred", STILL),
        ("bright", LESS_LIGHT),
        ("dark", MORE_LIGHT),
        ("tilted", UPRIGHT),
        ("aside", MIDDLE),
        ("far", NEARER),
        ("two", MORE_FACES),
        ("side light", EVEN_LIGHT),
        ("wallpaper", PLAIN),
        ("nobody", NO_FACE),
        ("grey", NO_COLOUR),
        ("blue lamp", WHITE_BALANCE),
        ("compressed", LESS_COMPRESSION),
        ("sunglasses", EYES),
        ("eyes closed", EYES),
    ],
)
def test_each_fault_of_a_portrait_is_named(portrait: Picture, fault: str, advice: Advice) -> None:
    quality = judge_portrait(spoiled(portrait, fault))
    assert quality.value < LIMIT_VALUE
    assert quality.advice[0] == advice
    assert advice.indonesian


def test_without_a_face_nothing_else_is_guessed() -> None:
    quality = judge_portrait(empty_room(800, 600))
    assert [m.name for m in quality.measures if m.verdict is not Verdict.NOT_JUDGED] == ["one face"]


@pytest.mark.parametrize(
    ("fault", "advice"),
    [("hazy", FLAT_LIGHT), ("too near", FURTHER), ("at the edge", CUT_OFF), ("at the edge", MIDDLE)],
)
def test_a_fault_that_comes_with_others_is_among_the_advice(portrait: Picture, fault: str, advice: Advice) -> None:
    quality = judge_portrait(spoiled(portrait, fault))
    assert quality.value < LIMIT_VALUE and advice in quality.advice


def printed_page() -> Picture:
    """Lines of text on paper."""
    page = np.full((1000, 700, 3), 245, np.uint8)
    for line in range(30):
        cv2.putText(page, "Perekaman KTP elektronik", (40, 40 + 32 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (20,) * 3, 2)
    return page


def cartoon() -> Picture:
    """A face as a child draws it."""
    sheet = np.full((600, 480, 3), 255, np.uint8)
    cv2.circle(sheet, (240, 300), 150, (255, 220, 60), -1)
    for x in (190, 290):
        cv2.circle(sheet, (x, 270), 14, (0, 0, 0), -1)
    cv2.ellipse(sheet, (240, 330), (70, 50), 0, 20, 160, (0, 0, 0), 6)
    return sheet


@pytest.mark.parametrize(
    "picture",
    [
        printed_page(),
        cartoon(),
        np.zeros((800, 600, 3), np.uint8),
        np.full((800, 600, 3), 255, np.uint8),
        np.random.default_rng(3).integers(0, 255, (800, 600, 3), dtype=np.uint8),
    ],
    ids=["printed page", "cartoon", "black frame", "white frame", "noise"],
)
def test_what_shows_nobody_is_a_low_value_with_advice(picture: Picture) -> None:
    quality = judge_portrait(picture)
    assert quality.value < LIMIT_VALUE and quality.advice
    assert NO_FACE in quality.advice or MORE_LIGHT in quality.advice or EYES in quality.advice


@given(
    st.integers(1, 90), st.integers(1, 90), st.sampled_from([None, 1, 2, 3, 4]),
    st.sampled_from(["bool", "uint8", "uint16", "int32", "float32", "float64"]), st.integers(0, 2**31),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_every_shape_and_type_is_a_value(height: int, width: int, channels: int | None, kind: str, seed: int) -> None:
    shape = (height, width) if channels is None else (height, width, channels)
    samples = np.random.default_rng(seed).random(shape) * (1 if kind in {"bool", "float32"} else 300)
    assert 0 <= judge_portrait(samples.astype(kind)).value <= 100


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0), (4,), (3, 3, 5), (2, 2, 3, 1), ()])
def test_what_is_no_picture_is_a_clear_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(RemoteError, match="is no picture"):
        judge_portrait(np.zeros(shape, np.uint8))
    with pytest.raises(RemoteError):
        judge_portrait(np.zeros((4, 4, 3), np.complex64))


def test_a_huge_picture_is_refused_and_a_sliver_is_not_searched() -> None:
    with pytest.raises(RemoteError, match="up to 25000000"):
        judge_portrait(np.broadcast_to(np.uint8(0), (6000, 6000, 3)))
    for shape in ((1, 20_000, 3), (20_000, 1, 3), (47, 47, 3)):
        assert judge_portrait(np.full(shape, 128, np.uint8)).value == 0


def test_the_same_portrait_in_other_sample_types_is_judged_alike(portrait: Picture) -> None:
    plain = judge_portrait(portrait)
    assert judge_portrait(portrait.astype(np.uint16) * 257) == plain
    alpha = np.full((*portrait.shape[:2], 1), 255, np.uint8)
    assert judge_portrait(np.concatenate([portrait, alpha], axis=2)) == plain
    assert as_picture(grey_of(portrait)).shape == portrait.shape


def test_the_crop_has_the_tokens_geometry_and_level_eyes(portrait: Picture) -> None:
    turn = cv2.getRotationMatrix2D((300, 380), 5, 1)
    tilted = np.asarray(cv2.warpAffine(portrait, turn, (600, 800), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    for picture in (portrait, tilted):
        photo = card_photo(picture)
        assert photo.shape == (CARD_PHOTO_PX[1], CARD_PHOTO_PX[0], 3)
        (face,) = find_faces(grey_of(photo))
        assert face.eyes is not None
        assert face.eye_middle[0] == pytest.approx(240, abs=4) and face.eye_middle[1] == pytest.approx(288, abs=5)
        assert face.eye_distance_px == pytest.approx(120, rel=0.12) and abs(face.roll_degrees) < 1.5


def test_a_crop_never_reaches_beyond_the_picture(portrait: Picture) -> None:
    marked = portrait.copy()
    for cut in (0, 60, 130, 200):
        part = np.ascontiguousarray(marked[:, cut:])
        report = examine_portrait(part)
        corners = np.asarray(report.window.corners)
        assert corners.min() >= -1 and corners[:, 0].max() <= part.shape[1] + 1 and corners[:, 1].max() <= 801
        assert crop(part, report.window, (90, 120)).shape == (120, 90, 3)


@given(
    st.floats(0, 900, allow_subnormal=False), st.floats(0, 900, allow_subnormal=False), st.floats(1, 400),
    st.floats(-1, 1, allow_subnormal=False), st.integers(4, 900), st.integers(4, 900),
)  # fmt: skip
@settings(max_examples=120, deadline=None)
def test_any_pair_of_eyes_gives_a_window_that_can_be_cropped(
    x: float, y: float, apart: float, slope: float, width: int, height: int
) -> None:
    face = Face(x, y, 3 * apart, ((x, y), (x + apart, y + slope * apart)))
    window = card_window(face, (height, width))
    assert 0 <= window.inside <= 1.001 and window.width > 0
    assert crop(np.zeros((height, width, 3), np.uint8), window, (18, 24)).shape == (24, 18, 3)


def test_the_chips_photo_keeps_its_budget_and_can_be_seen(portrait: Picture) -> None:
    photo = card_photo(portrait)
    for budget in (BUDGET[ChipFile.PHOTO], 1500):
        file = chip_photo(photo, budget)
        assert len(file) <= budget
        shown = decode_image(file, colour=True)
        assert shown.shape == (240, 180, 3)
        small = cv2.resize(photo, (180, 240), interpolation=cv2.INTER_AREA)
        assert np.abs(shown.astype(int) - small.astype(int)).mean() < 9
    noise = np.random.default_rng(5).integers(0, 255, photo.shape, dtype=np.uint8)
    assert len(chip_photo(noise)) <= BUDGET[ChipFile.PHOTO]
