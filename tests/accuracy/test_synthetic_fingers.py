"""Synthetic fingers part as real ones do: one finger's touches agree, others' do not, and the measure is honest."""

from __future__ import annotations

import numpy as np
import pytest

from contract.errors import RemoteError
from contract.sample import FingerPosition
from edge.matcher_lite import compare, extract
from virtual.evaluate_people import MatcherLite, ratios
from virtual.finger_presets import EVERYDAY, GUIDED
from virtual.finger_protocol import SetResult, equal_error_rate, fnmr_at, load_directory, run_protocol, synthetic_set
from virtual.people import duplicate, person


def test_touches_of_one_finger_agree_and_of_others_do_not() -> None:
    result = run_protocol(MatcherLite(), synthetic_set(31, 6, 3, GUIDED))
    assert (result.mated, result.standard, result.cross) == (18, 15, 135)
    assert result.eer_cross <= 6.0


def test_everyday_touches_are_harder_than_guided_ones_yet_mostly_agree() -> None:
    result = run_protocol(MatcherLite(), synthetic_set(32, 6, 4, EVERYDAY))
    assert result.eer_cross <= 12.0


def test_one_body_under_two_names_is_found() -> None:
    first = person(33, 1)
    again = duplicate(first)
    probe = extract(first.finger(FingerPosition.RIGHT_INDEX, 0, preset=GUIDED), 500)
    same = compare(probe, extract(again.finger(FingerPosition.RIGHT_INDEX, 1, preset=GUIDED), 500)).value
    other = compare(probe, extract(person(33, 2).finger(FingerPosition.RIGHT_INDEX, 1, preset=GUIDED), 500)).value
    assert same > other


def test_ten_fingers_of_a_person_are_ten_fingers() -> None:
    someone = person(34, 0)
    right = extract(someone.finger(FingerPosition.RIGHT_INDEX, 0, preset=GUIDED), 500)
    mate = extract(someone.finger(FingerPosition.RIGHT_INDEX, 1, preset=GUIDED), 500)
    left = extract(someone.finger(FingerPosition.LEFT_INDEX, 0, preset=GUIDED), 500)
    assert compare(right, mate).value > compare(right, left).value


def test_the_measure_counts_errors_as_the_protocol_does() -> None:
    mated, non_mated = np.array([5.0, 4.0, 3.0, 1.0]), np.array([0.0, 0.0, 2.0, 0.0])
    assert equal_error_rate(mated, non_mated) == pytest.approx(0.25)
    assert equal_error_rate(mated, np.zeros(4)) == pytest.approx(0.0)
    assert fnmr_at(mated, non_mated, 1e-3) == pytest.approx(0.25)


def test_ratios_compare_with_the_mean_of_the_real_sets() -> None:
    def result(data: str, eer: float) -> SetResult:
        return SetResult("judge", data, 1, 1, 1, eer, eer, 0.0, 0.0)

    assert ratios([result("synthetic x", 3.0), result("A", 1.0), result("B", 3.0)], "synthetic x") == {
        "judge": {"standard": 1.5, "cross": 1.5}
    }


def test_a_folder_without_prints_is_refused_with_advice(tmp_path) -> None:
    with pytest.raises(RemoteError) as told:
        load_directory(tmp_path, 500)
    assert "FINGER_IMPRESSION" in told.value.next_step
