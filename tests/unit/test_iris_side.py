"""Left and right are told where the image shows them, a mirror image is the other eye, and doubt is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from contract.errors import RemoteError
from contract.image_formats import ImageFormat, encode_image
from contract.sample import BOTH_EYES, IrisPosition, eyes_are_swapped
from edge.matcher_lite.__main__ import app
from edge.matcher_lite.iris_side import which_eye
from edge.matcher_lite.iris_warm import drawn_eye
from virtual.people import person

OTHER = {
    IrisPosition.LEFT: IrisPosition.RIGHT,
    IrisPosition.RIGHT: IrisPosition.LEFT,
    IrisPosition.UNKNOWN: IrisPosition.UNKNOWN,
}


def test_a_mirrored_picture_shows_the_other_eye() -> None:
    judged = 0
    for index in range(4):
        for eye in BOTH_EYES:
            pixels = person(12, index).iris(eye)
            seen, mirrored = which_eye(pixels), which_eye(np.ascontiguousarray(pixels[:, ::-1]))
            if abs(seen.lean) > 1.2:
                judged += 1
                assert mirrored.position is OTHER[seen.position]
    assert judged >= 2


def test_a_pupil_towards_the_nose_tells_the_eye() -> None:
    eye = drawn_eye()
    shifted = eye.copy()
    y, x = np.mgrid[: eye.shape[0], : eye.shape[1]]
    shifted[np.hypot(x - 155, y - 140) < 37] = 30  # covers the pupil of radius 36 at 160 and reaches further left
    seen = which_eye(shifted)
    assert seen.position is IrisPosition.LEFT
    assert 0.5 < seen.confidence <= 0.95
    assert which_eye(np.ascontiguousarray(shifted[:, ::-1])).position is IrisPosition.RIGHT


@pytest.mark.parametrize("pixels", [drawn_eye(), np.zeros((280, 320), np.uint8), np.zeros((20, 20), np.uint8)])
def test_what_does_not_show_it_is_not_judged(pixels: np.ndarray) -> None:
    assert which_eye(pixels).position is IrisPosition.UNKNOWN
    assert which_eye(pixels).confidence == 0.5


@pytest.mark.parametrize(
    "pixels",
    [np.zeros(9, np.uint8), np.zeros((99, 99, 3), np.uint8), np.full((99, 99), np.nan), np.ones((99, 99), bool)],
)
def test_what_is_no_grey_image_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(RemoteError, match="greyscale"):
        which_eye(pixels)


def test_eyes_are_swapped_only_where_both_say_so() -> None:
    left, right = IrisPosition.LEFT, IrisPosition.RIGHT
    assert eyes_are_swapped(left=right, right=left)
    assert not eyes_are_swapped(left=left, right=right)
    assert not eyes_are_swapped(left=right, right=right)
    assert not eyes_are_swapped(left=right, right=IrisPosition.UNKNOWN)


def test_the_command_says_what_it_sees(tmp_path: Path) -> None:
    picture = tmp_path / "eye.png"
    picture.write_bytes(encode_image(drawn_eye(), ImageFormat.PNG))
    done = CliRunner().invoke(app, ["which-eye", str(picture)])
    assert done.exit_code == 0
    assert "Not judged" in done.output
