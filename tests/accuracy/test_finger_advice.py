"""Each fault of a capture is answered by its own advice, a clean print seldom by any; quality falls with the fault."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from contract.sample import FingerPosition
from edge.matcher_lite import FingerAdvice, extract
from virtual.evaluate_advice import MEANT, Row, confusion, meaning
from virtual.finger_degradations import Degradation, degraded
from virtual.people import person

FINGERS = 12
OWN_ADVICE_MIN = 0.4


@pytest.fixture(scope="module")
def rows() -> Mapping[Degradation, Row]:
    return confusion(20265, FINGERS, (0.9, 1.0))


@pytest.mark.parametrize("kind", list(MEANT))
def test_a_fault_is_answered_by_its_own_advice(rows: Mapping[Degradation, Row], kind: Degradation) -> None:
    given = rows[kind].given
    assert given[MEANT[kind]] >= OWN_ADVICE_MIN
    assert given[MEANT[kind]] == max(given.values())


def test_clean_prints_are_seldom_given_any(rows: Mapping[Degradation, Row]) -> None:
    assert rows[Degradation.NONE].silent >= 0.75
    assert rows[Degradation.NONE].quality > max(row.quality for kind, row in rows.items() if kind in MEANT)


def test_the_same_numbers_spoil_the_same_way_and_no_severity_spoils_nothing() -> None:
    someone, finger = person(20265, 1), FingerPosition.RIGHT_INDEX
    clean = someone.finger(finger, 3)
    for kind in Degradation:
        once, twice = (degraded(someone, finger, 3, kind, 0.8) for _ in range(2))
        assert np.array_equal(once, twice)
        assert (kind is Degradation.NONE) == np.array_equal(once, clean)
        if kind not in {Degradation.NOISY, Degradation.MOVED}:
            assert np.array_equal(degraded(someone, finger, 3, kind, 0.0), clean)


def test_a_heavier_fault_is_graded_lower() -> None:
    someone, finger = person(20265, 2), FingerPosition.RIGHT_INDEX
    for kind in (Degradation.WET, Degradation.PARTIAL, Degradation.MOVED):
        light, heavy = (extract(degraded(someone, finger, 1, kind, severity)) for severity in (0.2, 1.0))
        assert light.quality > heavy.quality
        assert FingerAdvice.NO_FINGER not in light.advice


def test_a_grade_keeps_its_promise() -> None:
    grades = meaning(20267, 4)
    assert sum(grade.prints for grade in grades) >= 40
    assert [grade.value for grade in grades] == sorted(grade.value for grade in grades)
    many = [grade for grade in grades if grade.prints >= 10]
    assert many
    assert all(abs(grade.promised - grade.value) < 20 for grade in many)
