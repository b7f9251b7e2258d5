"""What a desk would miss: four fingers from one slap, each named and upright, and told when a hand is wrong."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from typer.testing import CliRunner

from contract.errors import RemoteError
from contract.finger_image import SlapPosition
from contract.sample import FingerPosition
from edge.matcher_lite import compare, extract
from edge.matcher_lite.__main__ import app
from edge.matcher_lite.finger_sequence import SequenceKind, check_sequence
from edge.matcher_lite.finger_template import FingerTemplate
from edge.matcher_lite.slap_segment import SlapAdvice, segment_slap
from virtual.finger_presets import GUIDED
from virtual.people import person

Grey = NDArray[np.uint8]
SOMEONE = person(61, 0)
TOPS_PX = {2: 240, 3: 130, 4: 180, 5: 380}  # where the tips of a right hand lie


@cache
def finger(position: int, impression: int) -> Grey:
    return SOMEONE.finger(FingerPosition(position), impression, preset=GUIDED)


@cache
def template(position: int, impression: int) -> FingerTemplate:
    return extract(finger(position, impression), 500, FingerPosition(position))


@cache
def right_slap(fingers: tuple[int, ...] = (2, 3, 4, 5), turned_deg: int = 0, pitch_px: int = 380) -> Grey:
    slap = np.full((1100, 1700), 255, np.uint8)
    for place, code in enumerate(fingers):
        touch = finger(code, 0)
        top, left = TOPS_PX.get(code, 300), 60 + place * pitch_px
        area = slap[top : top + touch.shape[0], left : left + touch.shape[1]]
        np.minimum(area, touch[: area.shape[0], : area.shape[1]], out=area)
    turn = cv2.getRotationMatrix2D((850, 500), turned_deg, 0.9)
    return cv2.warpAffine(slap, turn, (1700, 1100), borderValue=(255,)).astype(np.uint8) if turned_deg else slap


@pytest.mark.parametrize("turned_deg", [0, -25, 25])
def test_four_fingers_are_named_and_upright_however_the_hand_lies(turned_deg: int) -> None:
    ppi = 500 if turned_deg == 0 else 450
    slap = segment_slap(right_slap(turned_deg=turned_deg), ppi, SlapPosition.RIGHT_FOUR)
    assert slap.advice == ()
    assert [int(part.position) for part in slap.fingers] == [2, 3, 4, 5]
    for part in slap.fingers:
        assert np.degrees(part.angle) == pytest.approx(turned_deg, abs=15)
        assert part.corners.shape == (4, 2)
        assert compare(extract(part.image, ppi), template(int(part.position), 1)).value > 40


def test_fingers_that_touch_are_parted() -> None:
    slap = segment_slap(right_slap(pitch_px=240), 500, SlapPosition.RIGHT_FOUR)
    assert [int(part.position) for part in slap.fingers] == [2, 3, 4, 5]
    assert slap.advice == ()


def test_a_left_hand_is_named_from_the_little_finger() -> None:
    slap = segment_slap(np.ascontiguousarray(right_slap()[:, ::-1]), 500, SlapPosition.LEFT_FOUR)
    assert [int(part.position) for part in slap.fingers] == [10, 9, 8, 7]
    assert slap.advice == ()


def test_the_wrong_hand_is_noticed_by_its_shape() -> None:
    assert segment_slap(right_slap(), 500, SlapPosition.LEFT_FOUR).advice == (SlapAdvice.OTHER_HAND,)


def test_two_thumbs_are_left_and_right() -> None:
    slap = segment_slap(right_slap((6, 1))[:, :860], 500, SlapPosition.THUMBS)
    assert [part.position for part in slap.fingers] == [FingerPosition.LEFT_THUMB, FingerPosition.RIGHT_THUMB]


def test_nobody_guesses_names_when_a_finger_is_missing_or_too_many() -> None:
    few = segment_slap(right_slap((2, 3, 4)), 500, SlapPosition.RIGHT_FOUR)
    assert few.advice == (SlapAdvice.TOO_FEW_FINGERS,)
    many = segment_slap(right_slap((2, 3, 4)), 500, SlapPosition.THUMBS)
    assert many.advice == (SlapAdvice.TOO_MANY_FINGERS,)
    for slap in (few, many):
        assert [part.position for part in slap.fingers] == [FingerPosition.UNKNOWN] * 3
        assert all(advice.indonesian and advice.english for advice in slap.advice)


def test_a_finger_over_the_edge_is_told() -> None:
    slap = segment_slap(right_slap()[:, 190:], 500, SlapPosition.RIGHT_FOUR)
    assert SlapAdvice.CUT_OFF in slap.advice


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.sampled_from([150, 500, 1000]), st.integers(0, 2**32 - 1))
def test_any_picture_gives_fingers_or_a_refusal(height: int, width: int, ppi: int, seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    try:
        slap = segment_slap(noise, ppi, SlapPosition.RIGHT_FOUR)
    except RemoteError:
        assert min(height, width) == 0
    else:
        assert SlapAdvice.TOO_FEW_FINGERS in slap.advice


def test_a_picture_larger_than_any_platen_is_refused() -> None:
    with pytest.raises(RemoteError, match="platen"):
        segment_slap(np.zeros((3000, 3000), np.uint8), 150, SlapPosition.RIGHT_FOUR)


def test_the_same_finger_given_twice_is_found() -> None:
    names = {FingerPosition(code): template(code, 0) for code in (1, 2, 3, 4)}
    assert check_sequence(names) == ()
    (problem,) = check_sequence({**names, FingerPosition.LEFT_INDEX: template(3, 1)})
    assert (problem.kind, problem.first, problem.second) == (
        SequenceKind.GIVEN_TWICE, FingerPosition.RIGHT_MIDDLE, FingerPosition.LEFT_INDEX,
    )  # fmt: skip
    assert problem.kind.indonesian
    assert problem.kind.english


def test_swapped_hands_and_misnamed_fingers_are_found_against_known_ones() -> None:
    known = {FingerPosition(code): template(code, 1) for code in (2, 3, 7, 8)}
    assert check_sequence({FingerPosition(code): template(code, 0) for code in (2, 3, 7, 8)}, known) == ()
    swapped = {FingerPosition((code + 4) % 10 + 1): template(code, 0) for code in (2, 3, 7, 8)}
    (problem,) = check_sequence(swapped, known)
    assert problem.kind is SequenceKind.HANDS_SWAPPED
    (problem,) = check_sequence({FingerPosition.RIGHT_INDEX: template(3, 0)}, known)
    assert (problem.kind, problem.second) == (SequenceKind.OTHER_FINGER, FingerPosition.RIGHT_MIDDLE)


def test_an_unusable_finger_says_nothing() -> None:
    blank = extract(np.full((300, 300), 255, np.uint8), 500)
    assert check_sequence({FingerPosition.RIGHT_INDEX: blank, FingerPosition.LEFT_INDEX: blank}) == ()


def test_split_writes_a_file_a_finger_and_says_when_one_is_missing(tmp_path: Path) -> None:
    runner = CliRunner()
    cv2.imwrite(str(tmp_path / "slap.png"), right_slap())
    told = runner.invoke(app, ["split", str(tmp_path / "slap.png"), "--hand", "right", "--out", str(tmp_path / "four")])
    assert told.exit_code == 0, told.output
    assert sorted(path.stem for path in (tmp_path / "four").iterdir()) == [
        "right_index", "right_little", "right_middle", "right_ring",
    ]  # fmt: skip
    cv2.imwrite(str(tmp_path / "slap.png"), right_slap((2, 3, 4)))
    told = runner.invoke(app, ["split", str(tmp_path / "slap.png"), "--hand", "right", "--out", str(tmp_path / "few")])
    assert told.exit_code == 1
    assert "missing" in told.output
    assert len(list((tmp_path / "few").iterdir())) == 3
