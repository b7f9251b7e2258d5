"""The comparator's promises on prints that are extracted like real ones: error rates, card loss, named thresholds."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from contract.comparison import threshold_at
from contract.finger_card import CardFormat
from edge.matcher_lite import FingerTemplate, compare, extract
from edge.matcher_lite.finger_evaluation import equal_error_rate
from virtual.finger_presets import EVERYDAY
from virtual.finger_protocol import FINGERS_USED
from virtual.people import person

FINGERS = 8
IMPRESSIONS = 3


@pytest.fixture(scope="module")
def templates() -> list[tuple[int, FingerTemplate]]:
    return [
        (index, extract(person(77, index).finger(FINGERS_USED[index % 5], impression, preset=EVERYDAY)))
        for index in range(FINGERS)
        for impression in range(IMPRESSIONS)
    ]


def scores(templates: list[tuple[int, FingerTemplate]]) -> tuple[np.ndarray, np.ndarray]:
    mated, other = [], []
    for (one, first), (two, second) in combinations(templates, 2):
        (mated if one == two else other).append(compare(first, second).value)
    return np.array(mated), np.array(other)


def test_mated_and_non_mated_prints_separate(templates: list[tuple[int, FingerTemplate]]) -> None:
    mated, other = scores(templates)
    assert equal_error_rate(mated, other) <= 0.06
    assert float(np.mean(mated >= threshold_at(1e-4))) >= 0.75


def test_a_named_threshold_lets_no_more_pass_than_it_says(templates: list[tuple[int, FingerTemplate]]) -> None:
    _, other = scores(templates)
    assert float(np.mean(other >= threshold_at(1e-2))) <= 0.04
    assert float(np.mean(other >= threshold_at(1e-4))) <= 0.004


@pytest.mark.parametrize("card_format", list(CardFormat))
def test_the_chips_format_costs_little(templates: list[tuple[int, FingerTemplate]], card_format: CardFormat) -> None:
    cards = [(index, FingerTemplate.from_card(each.to_card(card_format), card_format)) for index, each in templates]
    mated = [
        (compare(templates[i][1], templates[j][1]).value, compare(templates[i][1], cards[j][1]).value)
        for i, j in combinations(range(len(templates)), 2)
        if templates[i][0] == templates[j][0]
    ]
    full, short = np.array(mated).T
    assert float(np.mean(short >= threshold_at(1e-3))) >= float(np.mean(full >= threshold_at(1e-3))) - 0.1
