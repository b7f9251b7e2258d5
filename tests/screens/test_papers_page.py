"""Papers on the desk's page, in a real browser: each ticked paper is scanned with one touch, and a jam is said."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from edge.screens.app import make_app
from edge.sensors.scanner_sane import JAMMED, PaperTrouble
from tests.screens.conftest import PICTURES, fits, served
from tests.screens.test_unit_pages import TOKEN, make_desk
from tests.unit.edge_fakes import NIK, make_bench
from tests.unit.test_paper_scans import page as sheet


def test_papers_are_scanned_from_the_desk(page: Page, tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    bench.sensors.pages = [sheet(1), sheet(2)]
    with served(make_app(make_desk(bench), TOKEN)) as address:
        page.goto(f"{address}/desk")
        page.locator("#nik").fill(NIK)
        for box in page.locator("#papers input").all()[:2]:
            box.check()
        page.get_by_role("button", name="Mulai perekaman").click()
        page.get_by_role("button", name="Pindai").first.click()
        page.get_by_text("2 halaman").wait_for()
        bench.sensors.faults = [PaperTrouble(JAMMED)]
        page.get_by_role("button", name="Pindai").first.click()
        page.get_by_text("Kertas macet").wait_for()
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / "desk-papers.png")
        assert fits(page)
        page.get_by_role("button", name="Hapus").click()
        page.get_by_text("2 halaman").wait_for(state="detached")
        page.get_by_role("button", name="Ya, benar").click()
        page.get_by_role("button", name="Ambil foto").wait_for()
        assert page.locator(".papers").count() == 0
    bench.store.close()
