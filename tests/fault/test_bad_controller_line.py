"""A small run of the controller link's campaign (make link); the large one has the numbers of the README."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.link_campaign import LINES, board_run, codec_run


@pytest.mark.parametrize("name", LINES)
def test_the_codec_on_a_bad_line(name: str) -> None:
    outcome = codec_run(name, 10_000, seed=3)
    assert outcome.good, outcome
    assert outcome.counters["crc_errors"] > 100


@pytest.mark.parametrize("name", ["bit errors 1e-4", "lost bytes 1 %"])
def test_the_board_on_a_bad_cable(name: str, tmp_path: Path) -> None:
    outcome = board_run(name, 250, 3, tmp_path)
    assert outcome.good, outcome
    assert outcome.counters["crc_errors"] > 0
