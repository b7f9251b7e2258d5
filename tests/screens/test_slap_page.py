"""Fingers in slaps, in a real browser: the hand that is asked for lights up, and a missing finger is named by touch."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from contract.sample import FingerPosition
from edge.screens.app import make_app
from tests.screens.conftest import PICTURES, fits, served
from tests.screens.test_iris_review_page import HEADERS, act
from tests.screens.test_pages_in_chromium import small_targets
from tests.screens.test_unit_pages import TOKEN, make_desk
from tests.unit.edge_fakes import NIK, OPERATOR, PAPERS, make_bench


def test_a_hand_is_asked_for_as_a_whole_and_a_missing_finger_is_named(tmp_path: Path, page: Page) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    bench = make_bench(tmp_path)
    bench.sensors.slaps = True
    bench.sensors.finger_quality = {FingerPosition.RIGHT_RING: 5, FingerPosition.RIGHT_LITTLE: 5}
    with served(make_app(make_desk(bench, role="kiosk"), TOKEN)) as url:
        page.goto(f"{url}/kiosk")
        form = {"nik": NIK, "operator": OPERATOR, "papers": list(PAPERS)}
        assert page.request.post(f"{url}/api/session", data=form, headers=HEADERS).ok
        for action in ("confirm", "capture", "confirm", "capture"):
            act(page, url, action)
        page.get_by_text("Letakkan empat jari kanan").wait_for()
        lit = page.locator("#visual .finger.asked").evaluate_all("found => found.map((f) => Number(f.dataset.finger))")
        assert sorted(lit) == [2, 3, 4, 5]
        page.screenshot(path=PICTURES / "kiosk-slap.png")
        assert fits(page)
        assert small_targets(page) == []
        page.get_by_role("button", name="Rekam jari bersamaan").click()
        page.get_by_text("Belum cukup jelas: jari manis kanan, kelingking kanan").wait_for()
        page.screenshot(path=PICTURES / "kiosk-slap-advice.png")
        act(page, url, "capture")
        page.get_by_role("button", name="Satu per satu").wait_for()
        act(page, url, "capture")
        page.get_by_text("Letakkan empat jari kiri").wait_for()
        before = len(bench.sensors.calls)
        page.wait_for_timeout(1500)  # longer than a single finger waits before it is taken without a touch
        assert len(bench.sensors.calls) == before, "the other hand was not given the time to come"
        page.get_by_role("button", name="Tidak bisa").click()
        page.screenshot(path=PICTURES / "kiosk-slap-exception.png")
        page.get_by_role("button", name="Jari manis kiri").click()
        page.get_by_role("button", name="Tidak ada (amputasi)").click()
        page.get_by_text("memotret").first.wait_for()
        pending = bench.sensors.calls.count("photo")
        page.get_by_role("button", name="Ambil foto").click()
        page.get_by_text("Petugas kedua membenarkan").wait_for()
        assert bench.sensors.calls.count("photo") == pending + 1
    bench.store.close()
