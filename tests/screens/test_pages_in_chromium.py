"""The unit's pages in a real browser: a capture is walked by touching the screen; nothing overflows, targets are large.

Pictures of each step are left in out/screens for people to look at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Response

from edge.screens.app import make_app
from edge.screens.pictures import jpeg
from edge.sensors.interface import PenPoint
from tests.screens.conftest import PICTURES, fits, served
from tests.screens.test_unit_pages import TOKEN, make_desk
from tests.unit.edge_fakes import NIK, make_bench
from virtual.people import person

TOUCH_PX_MIN = 44


@pytest.fixture
def kiosk(tmp_path: Path) -> Iterator[str]:
    """A kiosk's pages on a port of their own, with fakes at every device."""
    bench = make_bench(tmp_path)
    bench.examiner.portrait = jpeg(person(1, 3).portrait(0))
    with served(make_app(make_desk(bench, role="kiosk"), TOKEN)) as address:
        yield address
    bench.store.close()


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
    for step, title in (
        ("photo", "Ambil foto"),
        ("photo_review", "Ya, orang ini dan cocok"),
        ("signature", "Mulai tanda tangan"),
    ):
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


def test_the_ink_of_a_pad_is_drawn_as_it_grows(tmp_path: Path, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """More points than one answer holds, fetched part by part."""
    bench = make_bench(tmp_path)
    points = [PenPoint(2 * n, 100 * (n % 9), 30_000, n, True) for n in range(2600)]
    asked: list[int] = []

    async def never() -> list[PenPoint]:
        return await asyncio.Event().wait() and []

    def so_far() -> list[PenPoint]:
        asked.append(len(points))
        return points[: 400 * len(asked)]

    monkeypatch.setattr(bench.sensors, "pen", never)
    monkeypatch.setattr(bench.sensors, "pen_preview", so_far)
    with served(make_app(make_desk(bench, role="kiosk"), TOKEN)) as url:
        page.goto(f"{url}/kiosk")
        answers: list[tuple[int, int]] = []
        page.on("response", lambda found: "/pen?" in found.url and answers.append(_part(found)))
        page.locator("#nik").fill(NIK)
        for box in page.locator("input[type=checkbox]").all():
            box.check()
        page.get_by_role("button", name="Mulai perekaman").click()
        for name in ("Ya, benar", "Ambil foto", "Ya, orang ini dan cocok", "Mulai tanda tangan"):
            page.get_by_role("button", name=name).first.click()
        while sum(length for _, length in answers) < len(points):
            page.wait_for_timeout(100)
        drawn = "(c) => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v, i) => i % 4 === 3 && v)"
        assert page.locator("canvas.pen").evaluate(drawn)
    firsts = [first for first, length in answers if length]
    assert firsts == sorted(set(firsts)), "a part was fetched twice"
    bench.store.close()


def _part(answer: Response) -> tuple[int, int]:
    found = answer.json()
    return found["first"], len(found["points"])
