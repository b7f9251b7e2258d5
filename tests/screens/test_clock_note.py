"""The status page says that the machine's clock is not followed, and what to do; a clock that is right is no news."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from edge.bounded_clock import DAY_MS, BoundedClock
from edge.screens.app import make_app
from tests.screens.conftest import PICTURES, fits, served
from tests.screens.test_unit_pages import TOKEN, make_desk
from tests.unit.edge_fakes import SetClock, make_bench

UPLINK = {
    "mode": "PRODUCTION", "database": "CONNECTED", "correlation_id": "9901-A", "queue": "CONNECTED",
    "scheduler": "RUNNING", "records_sent_since_restart": 3, "pending": 0, "held": 0, "oldest_age_s": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("moved_ms", "words"),
    [(0, ""), (400 * DAY_MS, "terlalu maju"), (-400 * DAY_MS, "tertinggal")],
    ids=["right", "ahead", "behind"],
)
def test_a_clock_that_is_not_followed_is_named(tmp_path: Path, page: Page, moved_ms: int, words: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    bench, machine = make_bench(tmp_path), SetClock()
    BoundedClock(machine, tmp_path).keep()
    machine.now_ms += moved_ms
    clock = BoundedClock(machine, tmp_path)
    found = {
        "uplink": UPLINK, "waiting": [], "devices": [], "clock": dict(clock.status()),
        "software": {"version": "0.1.0", "slot": "a", "state": ""},
    }  # fmt: skip

    def answer(route: Route) -> None:
        route.fulfill(status=200, content_type="application/json", body=json.dumps(found))

    page.route("**/api/status", answer)
    with served(make_app(make_desk(bench), TOKEN)) as address:
        page.goto(f"{address}/status")
        expect(page.locator("#sent")).to_have_text("3")
        expect(page.locator("#clock")).to_contain_text(words)
        if words:
            expect(page.locator("#clock .note")).to_be_visible()
            page.screenshot(path=PICTURES / "clock.png")
        else:
            expect(page.locator("#clock")).to_be_empty()
        assert fits(page)
    bench.store.close()
