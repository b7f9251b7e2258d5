"""Synthetic eyes part as real ones do: one eye's pictures agree through dilation, tilt and blur; other eyes' do not."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from contract.errors import RemoteError
from contract.sample import BOTH_EYES
from edge.matcher_lite.iris_compare import compare_iris
from edge.matcher_lite.iris_extract import extract_iris
from virtual.iris_protocol import load_eyes, part, synthetic_eyes
from virtual.people import person


def test_pictures_of_one_eye_agree_and_of_others_do_not() -> None:
    eyes = [[extract_iris(person(41, index).iris(eye, k)) for k in range(3)] for index in range(4) for eye in BOTH_EYES]
    mated = [compare_iris(a, b).value for eye in eyes for a, b in combinations(eye, 2)]
    non_mated = [compare_iris(a[0], b[0]).value for a, b in combinations(eyes, 2)]
    assert np.median(mated) > 100
    assert np.percentile(mated, 10) > np.max(non_mated)


def test_left_and_right_eye_of_a_person_are_two_eyes() -> None:
    right, left = (extract_iris(person(42, 0).iris(eye)) for eye in BOTH_EYES)
    mate = extract_iris(person(42, 0).iris(BOTH_EYES[0], 1))
    assert compare_iris(right, mate).value > compare_iris(right, left).value


def test_decidability_tells_eyes_that_part_from_eyes_that_do_not() -> None:
    scores = iter([100.0, 110.0, 90.0, 105.0, 4.0, 1.0, 1.0, 4.0, 1.0, 4.0])
    found = part("x", synthetic_eyes(43, 2, 2), lambda _image: None, lambda _a, _b: next(scores))
    assert (found.mated, found.non_mated) == (4, 6)
    assert found.decidability > 10
    assert found.highest_non_mated == 4.0


def test_a_folder_without_eyes_is_refused_with_advice(tmp_path) -> None:
    with pytest.raises(RemoteError) as told:
        load_eyes(tmp_path, 4)
    assert told.value.next_step
