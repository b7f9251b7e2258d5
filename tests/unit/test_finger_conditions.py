"""What a site with another scanner would miss: margins, frames and pale pictures change nothing of the finger."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from typer.testing import CliRunner

from contract.errors import RekamError
from edge.matcher_lite import FingerTemplate, compare, extract
from edge.matcher_lite.__main__ import app
from edge.matcher_lite.finger_input import unframe
from edge.matcher_lite.finger_stress import ALTERATIONS
from edge.matcher_lite.finger_warm import ridge_pattern

runner = CliRunner()
Picture = NDArray[np.uint8]


def cut_off() -> Picture:
    """Ridges that go on behind every edge of the picture."""
    return np.ascontiguousarray(ridge_pattern(5)[80:280, 70:230])


def shared(first: FingerTemplate, second: FingerTemplate, shift: tuple[float, float] = (0.0, 0.0)) -> float:
    """Share of the first's minutiae that the second has too, moved by `shift` px."""
    away = np.hypot(first.x[:, None] + shift[0] - second.x, first.y[:, None] + shift[1] - second.y)
    return float((away.min(1) < 3.0).mean())


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_margin_is_cut_off_and_positions_stay_those_of_the_whole_image(level: int) -> None:
    plain = extract(cut_off())
    wide = cv2.copyMakeBorder(cut_off(), 33, 0, 60, 12, cv2.BORDER_CONSTANT, value=(level,))
    framed = extract(wide)
    assert framed.width == pytest.approx(232, abs=1) and framed.height == pytest.approx(233, abs=1)
    assert shared(plain, framed, (60, 33)) > 0.85
    assert shared(framed, plain, (-60, -33)) > 0.85


def test_a_line_around_the_picture_is_no_ridge() -> None:
    lined = cv2.copyMakeBorder(cut_off(), 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(0,))
    lined = cv2.copyMakeBorder(lined, 20, 20, 20, 20, cv2.BORDER_CONSTANT, value=(255,))
    assert shared(extract(cut_off()), extract(lined), (22, 22)) > 0.85


def test_glass_around_a_finger_stays() -> None:
    image = ridge_pattern(3)
    window = unframe(image)
    assert window.grey is image
    assert (window.left, window.top) == (0, 0)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 130), width=st.integers(1, 130), seed=st.integers(0, 99),
    lines=st.lists(st.tuples(st.booleans(), st.integers(0, 129), st.integers(0, 255)), max_size=12),
)  # fmt: skip
def test_whatever_the_picture_its_window_lies_within(
    height: int, width: int, seed: int, lines: list[tuple[bool, int, int]]
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    for across, place, level in lines:
        if across:
            image[place:] = level
        else:
            image[:, :place] = level
    window = unframe(image)
    rows, columns = window.grey.shape
    assert min(rows, columns) >= min(height, width, 18)
    assert np.array_equal(window.grey, image[window.top : window.top + rows, window.left : window.left + columns])


@pytest.mark.parametrize("levels", [64, 24])
def test_a_pale_picture_shows_the_same_finger(levels: int) -> None:
    image = ridge_pattern(7)
    pale = (100 + image.astype(np.float64) * levels / 255).astype(np.uint8)
    assert shared(extract(image), extract(pale)) > 0.9


@pytest.mark.parametrize("name", list(ALTERATIONS))
def test_every_alteration_gives_a_picture_in_which_the_finger_is_known_again(name: str) -> None:
    image = ridge_pattern(4)
    altered, ppi = ALTERATIONS[name](image, 500, np.random.default_rng(1))
    assert altered.dtype == np.uint8
    assert compare(extract(image), extract(altered, ppi)).decide(1e-3) == "match"


def test_stress_shows_a_row_for_each_alteration_and_refuses_others(tmp_path: Path) -> None:
    for finger in (1, 2):
        for impression in (1, 2):
            cv2.imwrite(str(tmp_path / f"{finger}_{impression}.png"), np.roll(ridge_pattern(finger), 4 * impression, 0))
    result = runner.invoke(app, ["stress", str(tmp_path), "--only", "black margin", "--only", "gamma 2"])
    assert result.exit_code == 0, result.output
    assert "black margin" in result.output
    assert "gamma 2" in result.output
    refused = runner.invoke(app, ["stress", str(tmp_path), "--only", "moonlight"])
    assert isinstance(refused.exception, RekamError)
    assert "black margin" in refused.exception.next_step
