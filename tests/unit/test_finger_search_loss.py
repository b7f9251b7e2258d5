"""What a bench would hide: a mate that the first stage drops must count as lost, for one finger and for two."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from contract.sample import FingerPosition
from edge.matcher_lite import FingerGallery, FingerTemplate, compare
from edge.matcher_lite import finger_search_loss as loss
from edge.matcher_lite.finger_learn import random_minutiae, second_impression
from edge.matcher_lite.finger_template import build


def template(geometry: np.ndarray) -> FingerTemplate:
    count = geometry.shape[1]
    return build(
        geometry[0] + 400, 400 - geometry[1], np.arctan2(geometry[3], geometry[2]), np.ones(count, np.uint8),
        np.full(count, 60, np.uint8), size=(800, 800), position=FingerPosition.UNKNOWN, quality=50, advice=(),
        stamp=("test", 1),
    )  # fmt: skip


@pytest.fixture(scope="module")
def fingers() -> dict[str, list[FingerTemplate]]:
    random = np.random.default_rng(3)
    ideal = {f"{index:03}": random_minutiae(random) for index in range(30)}
    return {name: [template(each), template(second_impression(random, each)[0])] for name, each in ideal.items()}


def test_good_prints_lose_nothing(fingers: dict[str, list[FingerTemplate]]) -> None:
    heard: list[str] = []
    figures = loss.search_loss(fingers, heard.append)
    assert (figures["fingers"], figures["persons"]) == (30, 15)
    assert figures["two_fingers_rank1_exhaustive_percent"] == 100.0
    assert 0.0 <= figures["one_finger_loss_points"] <= 10.0
    assert heard


def test_a_first_stage_that_is_blind_loses_mates(
    fingers: dict[str, list[FingerTemplate]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blind(FingerGallery):
        def short_scores(self, probe: FingerTemplate) -> dict[str, float]:
            return {name: float(index) for index, name in enumerate(super().short_scores(probe))}

    monkeypatch.setattr(loss, "FingerGallery", Blind)
    figures = loss.search_loss(fingers, lambda _: None)
    assert figures["one_finger_loss_points"] > 80.0
    assert figures["two_fingers_loss_points"] > 80.0


def test_hopeless_pairs_are_turned_away_and_mates_never(fingers: dict[str, list[FingerTemplate]]) -> None:
    names = list(fingers)
    mated = [compare(*fingers[name]).value for name in names]
    others = [compare(fingers[a][0], fingers[b][1]).value for a, b in itertools.pairwise(names)]
    assert min(mated) > 0.0
    assert sum(value == 0.0 for value in others) >= len(others) / 3
