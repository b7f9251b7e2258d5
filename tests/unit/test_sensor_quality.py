"""The quality gate must name the right fault to the person, and must not guess what it cannot see."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from contract.sample import FingerPosition, IrisPosition
from edge.matcher_lite import iris_quality
from edge.matcher_lite.finger_extract import extract
from edge.matcher_lite.iris_extract import extract_iris
from edge.sensors.interface import PenPoint
from edge.sensors.matcher_quality import IRIS_INDONESIAN, NO_EYE, judge_finger, judge_iris
from edge.sensors.portrait_quality import (
    EVEN_LIGHT,
    LESS_LIGHT,
    MIDDLE,
    MORE_FACES,
    MORE_LIGHT,
    NEARER,
    NEVER_JUDGED,
    NO_FACE,
    PLAIN,
    STILL,
    UPRIGHT,
    find_faces,
    judge_portrait,
)
from edge.sensors.quality import (
    DOT_ADVICE,
    LIMIT_VALUE,
    LONG_ADVICE,
    SHORT_ADVICE,
    SIGN_ADVICE,
    STRAY_ADVICE,
    Advice,
    Verdict,
    judge_signature,
    measure,
    sample_quality,
)
from virtual.camera_twin import empty_room
from virtual.people import person

Picture = NDArray[np.uint8]


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
    (face,) = find_faces(portrait)
    assert face.eyes is not None
    assert 90 <= face.eye_distance_px <= 180
    (turned,) = find_faces(np.ascontiguousarray(portrait[:, ::-1]))
    assert turned.eyes is not None
    assert turned.eyes[0][0] == pytest.approx(portrait.shape[1] - face.eyes[1][0], abs=14)


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
    return empty_room(height, width)


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


def pen(count: int, step: int, *, dt_ms: int = 8, jump: int = 0) -> list[PenPoint]:
    """A zigzag of `count` points, `step` hundredths of a millimetre apart."""
    return [
        PenPoint(1000 + i * step + (jump if i > count // 2 else 0), 1000 + (i % 2) * step, 30000, i * dt_ms, True)
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("points", "advice"),
    [
        ([], SIGN_ADVICE),
        ([PenPoint(5, 5, 0, i, False) for i in range(50)], SIGN_ADVICE),
        (pen(40, 1), DOT_ADVICE),
        (pen(25, 35), SHORT_ADVICE),
        (pen(200, 60, dt_ms=400), LONG_ADVICE),
        (pen(200, 60, jump=6000), STRAY_ADVICE),
    ],
)
def test_each_fault_of_a_signature_is_named(points: list[PenPoint], advice: Advice) -> None:
    quality = judge_signature(points)
    assert quality.value < LIMIT_VALUE
    assert advice in quality.advice


def test_peoples_signatures_pass() -> None:
    for index in range(5):
        written = person(1, index).signature(0)
        points = [
            PenPoint(round(x * 100), round(y * 100), round(p * 65535), int(t), bool(p > 0))
            for t, x, y, p in zip(written.time_ms, written.x_mm, written.y_mm, written.pressure, strict=True)
        ]
        assert judge_signature(points).value >= LIMIT_VALUE, judge_signature(points)


def test_the_worst_measure_decides_and_its_advice_comes_first() -> None:
    bad = measure("a", 0, worst=0, best=10, unit="", advice=DOT_ADVICE)
    poor = measure("b", 4, worst=0, best=10, unit="", advice=LONG_ADVICE)
    good = measure("c", 9, worst=0, best=10, unit="", advice=SIGN_ADVICE)
    quality = sample_quality((good, poor, bad))
    assert quality.value == 0
    assert quality.advice == (DOT_ADVICE, LONG_ADVICE)
    assert measure("d", float("nan"), worst=0, best=1, unit="", advice=DOT_ADVICE).value == 0
    assert sample_quality(()).value == 0


def test_an_eye_passes_and_a_closed_one_is_asked_to_open() -> None:
    seen = judge_iris(extract_iris(person(1, 3).iris(IrisPosition.RIGHT), IrisPosition.RIGHT))
    assert seen.value >= LIMIT_VALUE
    dark = judge_iris(extract_iris(np.full((280, 320), 90, np.uint8), IrisPosition.RIGHT))
    assert dark.value == 0
    assert dark.advice == (NO_EYE,)


def test_every_advice_of_the_iris_extractor_is_said_in_indonesian() -> None:
    spoken = {text for name, text in vars(iris_quality).items() if name.startswith("ADVICE_")}
    assert spoken == set(IRIS_INDONESIAN)


def test_a_finger_passes_and_an_empty_window_asks_for_one() -> None:
    good = judge_finger(extract(person(1, 3).finger(FingerPosition.RIGHT_INDEX), 500))
    assert good.value >= LIMIT_VALUE
    empty = judge_finger(extract(np.full((374, 388), 250, np.uint8), 500))
    assert empty.value == 0
    assert "Place the finger" in empty.advice[0].english
