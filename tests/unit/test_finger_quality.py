"""What an operator or an integrator would miss: a quality that predicts, advice that fits, a desk that goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edge.matcher_lite import FingerAdvice, extract, finger_quality_model
from edge.matcher_lite.__main__ import app
from edge.matcher_lite.finger_quality import FingerQuality
from edge.matcher_lite.finger_quality_evaluation import fnmr_rejecting, mean_fnmr
from edge.matcher_lite.finger_quality_evidence import MEASURES, Stages, evidence
from edge.matcher_lite.finger_quality_model import FAULTS, MODEL_FILE, graded, shipped_model
from edge.matcher_lite.finger_warm import ridge_pattern

runner = CliRunner()


@pytest.fixture
def other_runtimes(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    shipped_model.cache_clear()
    yield monkeypatch
    shipped_model.cache_clear()


def test_the_curve_is_that_of_its_definition() -> None:
    missed = np.array([True, True, False, False, False, False, False, False, False, False])
    knowing = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0])
    assert fnmr_rejecting(missed, knowing, 0.0) == pytest.approx(0.2)
    assert fnmr_rejecting(missed, knowing, 0.1) == pytest.approx(1 / 9)
    assert fnmr_rejecting(missed, knowing, 0.2) == 0.0
    assert fnmr_rejecting(missed, -knowing, 0.2) == pytest.approx(0.25)


def test_a_score_that_tells_nothing_apart_rejects_at_random() -> None:
    missed = np.array([True, False, False, False])
    for share in (0.0, 0.25, 0.5):
        assert fnmr_rejecting(missed, np.ones(4), share) == pytest.approx(0.25)
    assert mean_fnmr(missed, np.ones(4)) == pytest.approx(0.25)


def test_the_model_that_ships_reads_the_measures_and_believes_in_the_faults() -> None:
    model = shipped_model()
    assert model is not None
    outputs = model(np.full(len(MEASURES), 0.5, np.float32))
    assert outputs.shape == (1 + len(FAULTS),)
    assert ((outputs >= 0.0) & (outputs <= 1.0)).all()
    assert np.array_equal(outputs, model(np.full(len(MEASURES), 0.5, np.float32)))
    assert MODEL_FILE.stat().st_size < 300_000


def test_what_a_template_carries_is_what_the_model_says() -> None:
    stages: dict[str, object] = {}
    template = extract(ridge_pattern(2), observe=stages.__setitem__)
    known, model = stages["stages"], shipped_model()
    assert isinstance(known, Stages)
    assert model is not None
    measures = evidence(known)
    assert ((measures >= 0.0) & (measures <= 1.0)).all()
    assert template.quality == graded(model(measures)).value > 0
    assert template.advice == graded(model(measures)).advice


def test_nothing_usable_is_graded_nothing() -> None:
    template = extract(np.full((300, 300), 250, np.uint8))
    assert (template.quality, template.advice) == (0, (FingerAdvice.NO_FINGER,))


def outputs(expected: float, **beliefs: float) -> np.ndarray:
    """The model's outputs: expected comparison, and beliefs by advice; the last of two UNCLEAR is `grease`."""
    names = [str(fault) for fault in FAULTS[:-1]] + ["grease"]
    return np.array([expected, *(beliefs.get(name, 0.0) for name in names)], np.float32)


def test_the_surest_fault_is_told_first_and_none_twice() -> None:
    found = graded(outputs(0.3, too_dry=0.6, smeared=0.9, unclear=0.5, grease=0.55))
    assert found == FingerQuality(30, (FingerAdvice.SMEARED, FingerAdvice.TOO_DRY, FingerAdvice.UNCLEAR))


def test_a_good_print_needs_no_advice_and_a_bad_one_is_never_left_without() -> None:
    assert graded(outputs(0.95, too_wet=0.9)).advice == ()
    assert graded(outputs(0.2)).advice == (FingerAdvice.UNCLEAR,)
    assert graded(outputs(0.0)).value == 1


def test_the_older_runtime_serves_where_only_that_is_installed(other_runtimes: pytest.MonkeyPatch) -> None:
    expected = extract(ridge_pattern()).quality
    shipped_model.cache_clear()
    other_runtimes.setattr(finger_quality_model, "RUNTIMES", ("not_installed_here", "ai_edge_litert.interpreter"))
    assert extract(ridge_pattern()).quality == expected


def test_without_any_runtime_a_desk_goes_on_by_the_classical_features(other_runtimes: pytest.MonkeyPatch) -> None:
    other_runtimes.setattr(finger_quality_model, "RUNTIMES", ("not_installed_here",))
    stages: dict[str, object] = {}
    with pytest.warns(RuntimeWarning, match="ai-edge-litert"):
        template = extract(ridge_pattern(), observe=stages.__setitem__)
    assert stages["classical"] == FingerQuality(template.quality, template.advice)
    assert template.usable


def test_users_see_the_curve_of_their_own_prints(tmp_path: Path) -> None:
    prints = tmp_path / "prints"
    prints.mkdir()
    random = np.random.default_rng(4)
    for finger in (1, 2):
        for impression, noise in ((1, 5), (2, 30), (3, 60)):
            image = ridge_pattern(finger) + random.normal(0, noise, (360, 300))
            cv2.imwrite(str(prints / f"{finger}_{impression}.png"), np.clip(image, 0, 255).astype(np.uint8))
    cv2.imwrite(str(prints / "1_4.png"), np.full((300, 300), 250, np.uint8))
    figures, page = tmp_path / "out" / "q.json", tmp_path / "out" / "q.html"
    result = runner.invoke(app, ["evaluate-quality", str(prints), "--json", str(figures), "--html", str(page)])
    assert result.exit_code == 0, result.output
    told = json.loads(figures.read_text())
    assert told["mated"] == 9
    assert told["learnt_fnmr_0_rejected"] == told["classical_fnmr_0_rejected"]
    assert told["learnt_fnmr_0_rejected"] > 100 * 3 / 9 - 1e-9
    assert told["learnt_fnmr_30_rejected"] < told["learnt_fnmr_0_rejected"]
    assert told["ideal_mean_fnmr"] <= told["learnt_mean_fnmr"]
    assert "<svg" in page.read_text()
    alone = runner.invoke(app, ["evaluate-quality", str(tmp_path)])
    assert alone.exit_code == 1
