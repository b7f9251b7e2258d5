"""The unit's pages in a real browser: a capture is walked by touching the screen; nothing overflows, targets are large.

Pictures of each step are left in out/screens for people to look at.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from edge.screens.app import make_app
from tests.screens.test_unit_pages import TOKEN, make_desk
from tests.unit.edge_fakes import NIK, make_bench

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), "")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
PICTURES = Path("out/screens")
TOUCH_PX_MIN = 44
KIOSK_PX = (1280, 800)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "install Chromium: apt install chromium"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def kiosk(tmp_path: Path) -> Iterator[str]:
    """A kiosk's pages on a port of their own, with fakes at every device."""
    bench = make_bench(tmp_path)
    app = make_app(make_desk(bench, role="kiosk"), TOKEN)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, http="h11", log_level="error"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)
    bench.store.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    made = browser.new_page(viewport={"width": KIOSK_PX[0], "height": KIOSK_PX[1]})
    errors: list[str] = []
    made.on("pageerror", lambda error: errors.append(str(error)))
    yield made
    made.close()
    assert errors == []


def fits(page: Page) -> bool:
    """Whether nothing has to be scrolled sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def small_targets(page: Page) -> list[str]:
    """Visible buttons that a finger would miss."""
    return [
        button.inner_text()
        for button in page.locator("main button:visible").all()
        if (box := button.bounding_box()) is not None and min(box["width"], box["height"]) < TOUCH_PX_MIN
    ]


def test_a_resident_walks_through_the_kiosk_by_touch(kiosk: str, page: Page) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.goto(f"{kiosk}/kiosk")
    for digit in NIK:
        page.get_by_role("button", name=digit, exact=True).click()
    for box in page.locator("input[type=checkbox]").all():
        box.check()
    page.screenshot(path=PICTURES / "kiosk-start.png")
    assert fits(page)
    assert small_targets(page) == []
    page.get_by_role("button", name="Mulai perekaman").click()
    page.get_by_role("button", name="Ya, benar").click()
    for step, title in (("photo", "Ambil foto"), ("signature", "Mulai tanda tangan")):
        button = page.get_by_role("button", name=title).first
        button.wait_for()
        page.screenshot(path=PICTURES / f"kiosk-{step}.png")
        assert fits(page), step
        assert small_targets(page) == [], step
        button.click()
    page.get_by_text("Letakkan").first.wait_for()  # the fingers are taken one after the other without a touch
    page.screenshot(path=PICTURES / "kiosk-fingers.png")
    assert fits(page)


@pytest.mark.parametrize("name", ["desk", "handover", "kiosk"])
def test_no_page_overflows_or_breaks(kiosk: str, page: Page, name: str) -> None:
    page.goto(f"{kiosk}/{name}")
    page.wait_for_load_state("domcontentloaded")
    assert fits(page)
    assert page.locator("html").get_attribute("lang") == "id"
