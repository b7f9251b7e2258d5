"""What a user of rekam-match would miss: figures of his own prints, decisions, candidates, help that teaches."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from contract.errors import RekamError
from edge.matcher_lite.__main__ import app, main
from edge.matcher_lite.finger_evaluation import equal_error_rate, evaluate, fnmr_at
from edge.matcher_lite.finger_warm import ridge_pattern

runner = CliRunner()


@pytest.fixture(scope="module")
def prints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prints")
    random = np.random.default_rng(4)
    for finger in range(1, 4):
        for impression in range(1, 3):
            image = ridge_pattern(finger).astype(np.float64) + random.normal(0, 15, (360, 300))
            shifted = np.roll(np.clip(image, 0, 255).astype(np.uint8), 5 * impression, axis=0)
            cv2.imwrite(str(folder / f"{finger}_{impression}.png"), shifted)
    cv2.imwrite(str(folder / "4_1.png"), np.full((300, 300), 250, np.uint8))
    return folder


def test_error_rates_are_those_of_the_definition() -> None:
    mated, non_mated = np.array([5.0, 6.0, 7.0, 1.0]), np.array([0.0, 2.0, 3.0, 4.0])
    assert equal_error_rate(mated, non_mated) == pytest.approx(0.25)
    assert fnmr_at(mated, non_mated, 0.0) == pytest.approx(0.25)
    assert fnmr_at(mated, non_mated, 0.5) == pytest.approx(0.25)
    assert equal_error_rate(np.array([2.0]), np.array([1.0])) == 0.0


def test_evaluation_counts_failures_to_enrol_and_writes_figures_and_page(prints: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "figures.json", tmp_path / "page.html"
    result = runner.invoke(app, ["evaluate", str(prints), "--json", str(out), "--html", str(page)])
    assert result.exit_code == 0, result.output
    figures = json.loads(out.read_text())
    assert (figures["images"], figures["fte"], figures["mated"], figures["non_mated_cross"]) == (7, 1, 3, 18)
    assert figures["eer_std"] == 0.0
    text = page.read_text()
    assert "<svg" in text
    assert "failed to enrol" in text


@pytest.mark.parametrize("held", ["iso", "card", "compact-card"])
def test_what_a_format_costs_is_measured(prints: Path, tmp_path: Path, held: str) -> None:
    out = tmp_path / "figures.json"
    assert runner.invoke(app, ["evaluate", str(prints), "--held", held, "--json", str(out)]).exit_code == 0
    assert json.loads(out.read_text())["eer_std"] == 0.0


def test_evaluation_of_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RekamError) as caught:
        evaluate(tmp_path)
    assert "FINGER_IMPRESSION" in caught.value.next_step


def test_compare_prints_score_and_decision(prints: Path) -> None:
    same = runner.invoke(app, ["compare", str(prints / "1_1.png"), str(prints / "1_2.png")])
    assert same.exit_code == 0
    assert "match" in same.output
    other = runner.invoke(app, ["compare", str(prints / "1_1.png"), str(prints / "4_1.png")])
    assert other.exit_code == 1
    assert "non-match" in other.output


def test_a_template_file_compares_like_its_image(prints: Path, tmp_path: Path) -> None:
    record = tmp_path / "one.fmr"
    made = runner.invoke(app, ["extract", str(prints / "1_1.png"), "--iso", str(record)])
    assert made.exit_code == 0
    assert record.read_bytes().startswith(b"FMR")
    assert runner.invoke(app, ["compare", str(record), str(prints / "1_2.png")]).exit_code == 0


def test_identify_goes_on_past_a_file_that_is_no_finger(prints: Path, tmp_path: Path) -> None:
    for name in ("2_1.png", "3_1.png"):
        (tmp_path / name).write_bytes((prints / name).read_bytes())
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "blank.png").write_bytes((prints / "4_1.png").read_bytes())
    result = runner.invoke(app, ["identify", str(prints / "2_2.png"), str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "broken.png is left out" in result.output
    assert "blank.png is left out: no usable finger" in result.output
    assert "2 references searched" in result.output
    assert "2_1.png" in result.output.split("searched")[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["identify", "{probe}", "{empty}"],
        ["identify", "{probe}", "{empty}/nowhere"],
        ["extract", "{probe}", "--iso", "{probe}/record.fmr"],
        ["trace", "{probe}", "--out", "{probe}"],
    ],
)
def test_a_path_that_cannot_serve_is_a_sentence_and_no_trace_of_calls(
    prints: Path, tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {"probe": str(prints / "1_1.png"), "empty": str(tmp_path)}
    monkeypatch.setattr("sys.argv", ["rekam-match", *(argument.format(**places) for argument in arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2


def test_a_record_is_written_into_a_new_folder(prints: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "one.fmr"
    assert runner.invoke(app, ["extract", str(prints / "1_1.png"), "--iso", str(target)]).exit_code == 0
    assert target.read_bytes().startswith(b"FMR")


def test_identify_names_the_mate_first(prints: Path) -> None:
    result = runner.invoke(app, ["identify", str(prints / "2_1.png"), str(prints), "--limit", "2"])
    assert result.exit_code == 0
    assert "2_1.png" in result.output
    assert "2_2.png" in result.output


def test_trace_shows_every_stage(prints: Path, tmp_path: Path) -> None:
    assert runner.invoke(app, ["trace", str(prints / "1_1.png"), "--out", str(tmp_path / "t")]).exit_code == 0
    page = (tmp_path / "t" / "index.html").read_text()
    for stage in ("normalised", "segment", "spectrum", "orientation", "ridges", "trust"):
        assert f"{stage}:" in page


def test_every_command_teaches_with_an_example() -> None:
    for name in ("evaluate", "extract", "compare", "identify", "trace", "split", "warm", "bench", "learn", "calibrate"):
        assert "Example" in runner.invoke(app, [name, "--help"]).output


def test_bench_measures_the_users_own_prints(prints: Path) -> None:
    result = runner.invoke(app, ["bench", str(prints), "--gallery", "200"])
    assert result.exit_code == 0, result.output
    for figure in ("searched_per_s", "first_stage_per_s", "resident_mb", "one_finger_loss", "two_fingers_loss"):
        assert figure in result.output
