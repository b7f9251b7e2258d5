"""Every page says that a technician tests the unit from afar, before a camera looks at whoever stands there."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from edge.screens.app import make_app
from tests.screens.conftest import PICTURES, fits, served
from tests.screens.test_unit_pages import TOKEN, make_desk
from tests.unit.edge_fakes import make_bench


@pytest.mark.parametrize(("role", "name"), [("kiosk", "kiosk"), ("desk", "desk")])
def test_the_page_warns_while_a_test_runs(tmp_path: Path, page: Page, role: str, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    bench = make_bench(tmp_path)
    desk = make_desk(bench, role=role)
    with served(make_app(desk, TOKEN)) as address:
        page.goto(f"{address}/{name}")
        bar = page.get_by_role("alert")
        expect(bar).to_be_hidden()
        desk.technician = "tek-andi"
        page.reload()
        expect(bar).to_contain_text("Teknisi sedang memeriksa perangkat ini dari jauh")
        expect(bar).to_contain_text("A technician (tek-andi) is testing this unit from afar")
        page.screenshot(path=PICTURES / f"technician-{name}.png")
        assert fits(page)
    bench.store.close()
