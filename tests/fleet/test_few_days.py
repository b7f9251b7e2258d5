"""Three weeks and a half in four leaps of the wall clock; `make ninety-days` is the whole of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.fleet.fleet_world import make_fleet
from tests.fleet.ninety_days import ALWAYS, UNITS_OF_SETUP, NinetyDays


def test_everybody_renews_in_time_and_comes_back_on_the_new_certificate(tmp_path: Path) -> None:
    stage = make_fleet(tmp_path, UNITS_OF_SETUP, lambda _: None)
    ledger = asyncio.run(NinetyDays(stage, tmp_path, lambda _: None).run(24, step_days=6))
    assert not ledger.problems
    held = {name: count for name, count, _overlap in ledger.months.table()}
    assert all(held[name] == 2 for name in (*ALWAYS, "hub", "broker"))
    assert held["list"] >= 5
