"""The quality gate must name the right fault to the person, and must not guess what it cannot see."""

from __future__ import annotations

import math

import numpy as np
import pytest

from contract.errors import RekamError
from contract.sample import FingerPosition, IrisPosition
from contract.sample_quality import LIMIT_VALUE, Advice, measure, sample_quality
from edge.examination import examine_iris
from edge.matcher_lite import iris_quality
from edge.matcher_lite.finger_extract import extract
from edge.matcher_lite.iris_extract import extract_iris
from edge.matcher_lite.iris_side import which_eye
from edge.matcher_lite.iris_warm import drawn_eye
from edge.sensors.interface import PenPoint
from edge.sensors.matcher_quality import judge_finger, judge_iris
from edge.sensors.quality import (
    DOT_ADVICE,
    EDGE_ADVICE,
    LONG_ADVICE,
    SCRIBBLE_ADVICE,
    SHORT_ADVICE,
    SIGN_ADVICE,
    STRAY_ADVICE,
    judge_signature,
)
from virtual.people import person


def run_over(side: str) -> list[PenPoint]:
    """A broad signature whose pen leaves a field of 60 by 30 mm at one side; the pad reports the border meanwhile."""
    written = []
    for step in range(300):
        turn = step / 12
        x, y = 3000 + round(2400 * math.cos(turn / 5)), 1500 + round(1100 * math.sin(turn))
        x += {"right": 2500, "left": -2500}.get(side, 0)
        y += {"top": -900, "bottom": 900}.get(side, 0)
        written.append(PenPoint(min(6000, max(0, x)), min(3000, max(0, y)), 30000, 8 * step, True))
    return written


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_ink_that_runs_over_the_field_is_told_and_ink_inside_is_not(side: str) -> None:
    assert EDGE_ADVICE in judge_signature(run_over(side)).advice
    assert EDGE_ADVICE not in judge_signature(run_over("nowhere")).advice


def test_a_field_full_of_scribble_is_told() -> None:
    points = [PenPoint(7 * (n % 800), 3000 * (n % 2) + n % 13, 30000, 8 * n, True) for n in range(1500)]
    assert SCRIBBLE_ADVICE in judge_signature(points).advice


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
    assert [advice.english for advice in dark.advice] == [iris_quality.ADVICE_NO_EYE]


def test_the_unit_asks_for_an_eye_that_lids_cover_to_be_opened() -> None:
    eye = drawn_eye()
    assert examine_iris([eye], IrisPosition.LEFT).quality >= LIMIT_VALUE
    eye[:110] = 190  # a lid over the upper part, one over the lower part
    eye[165:] = 190
    half_closed = examine_iris([eye], IrisPosition.LEFT)
    assert half_closed.quality < LIMIT_VALUE
    assert half_closed.advice is not None and half_closed.advice.text_en == iris_quality.ADVICE_OPEN


def test_the_record_is_the_best_picture_of_a_burst_and_says_which_eye_it_seems_to_show() -> None:
    eye, dark = person(1, 3).iris(IrisPosition.RIGHT), np.full((280, 320), 90, np.uint8)
    found, alone = examine_iris([dark, eye, dark], IrisPosition.RIGHT), examine_iris([eye], IrisPosition.RIGHT)
    assert found.record == alone.record
    assert found.shows is which_eye(eye).position
    with pytest.raises(RekamError, match="no picture"):
        examine_iris([], IrisPosition.RIGHT)


def test_every_advice_of_the_iris_extractor_is_said_in_indonesian() -> None:
    spoken = {text for name, text in vars(iris_quality).items() if name.startswith("ADVICE_")}
    assert spoken == set(iris_quality.INDONESIAN)


def test_a_finger_passes_and_an_empty_window_asks_for_one() -> None:
    good = judge_finger(extract(person(1, 3).finger(FingerPosition.RIGHT_INDEX), 500))
    assert good.value >= LIMIT_VALUE
    empty = judge_finger(extract(np.full((374, 388), 250, np.uint8), 500))
    assert empty.value == 0
    assert "Place the finger" in empty.advice[0].english
