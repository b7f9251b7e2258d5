"""Half-closed, small, oblique eyes under lashes are found where they are, enrolled, and still told apart."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from contract.comparison import threshold_at
from edge.matcher_lite import compare_iris, extract_iris
from virtual.hard_irises import HardEye, drawn_eyes, hard_eyes, main


@pytest.fixture(scope="module")
def eyes() -> list[HardEye]:
    return list(hard_eyes(drawn_eyes(11, 8, 3), seed=11))


def test_the_contours_of_hard_eyes_are_found(eyes: list[HardEye]) -> None:
    pupils, limbi = np.mean(np.array([eye.is_found() for eye in eyes]), axis=0)
    assert pupils >= 0.9
    assert limbi >= 0.85


def test_hard_eyes_enrol_and_are_told_apart(eyes: list[HardEye]) -> None:
    templates = [extract_iris(eye.pixels) for eye in eyes]
    assert all(template.usable for template in templates)
    mated, others = [], []
    for (first, a), (second, b) in combinations(zip(eyes, templates, strict=True), 2):
        same = (first.person, first.eye) == (second.person, second.eye)
        (mated if same else others).append(compare_iris(a, b).value)
    assert np.mean(np.array(mated) >= threshold_at(1e-3)) >= 0.8
    assert np.mean(np.array(others) >= threshold_at(1e-3)) <= 0.01


def test_the_same_seed_gives_the_same_pictures(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(main)
    for name in ("first", "again"):
        done = CliRunner().invoke(app, ["--out", str(tmp_path / name), "--people", "1", "--each", "2"])
        assert done.exit_code == 0, done.output
    pictures = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.png"))
    assert len(pictures) == 4
    for picture in pictures:
        assert (tmp_path / "first" / picture).read_bytes() == (tmp_path / "again" / picture).read_bytes()


def test_an_eye_that_enrols_is_worth_something(eyes: list[HardEye]) -> None:
    assert all(extract_iris(eye.pixels).quality > 0 for eye in eyes)
