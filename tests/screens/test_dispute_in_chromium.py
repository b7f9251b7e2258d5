"""A dispute at the handover desk in a real browser: what was signed stands beside the card, and the pen moves (M45).

The pages of `rekam-match replay` and `portrait` as well: the first plays with the same script.

Pictures are left in out/screens for people to look at.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from contract.signature_series import decode_series, encode_series, signature_of
from contract.signature_strokes import ink_of
from edge.config import UnitTable
from edge.desk import Desk, Reports
from edge.matcher_lite.portrait_quality import examine_portrait
from edge.matcher_lite.portrait_report import portrait_page
from edge.matcher_lite.signature_report import replay_page
from edge.screens.app import make_app
from tests.screens.conftest import PICTURES, SCREEN_PX, fits, served
from tests.screens.test_unit_pages import TOKEN, officers_of
from tests.unit.edge_fakes import NIK, FakeDesk, biodata, chip, consigned, make_bench
from virtual.people import person


def signed_record() -> bytes:
    """A virtual person's signature as a pad gives it."""
    written = person(1, 4).signature(0)
    moves = zip(written.time_ms, written.x_mm, written.y_mm, written.pressure, strict=True)
    points = [(round(x * 100), round(y * 100), int(t), round(p * 65535), bool(p > 0)) for t, x, y, p in moves]
    return encode_series(signature_of(points, units_per_mm=100.0))


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Stand:
    """A handover desk and the fake card on its reader."""

    address: str
    reader: FakeDesk


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    bench = make_bench(tmp_path)
    bench.register.take_card(consigned(old_card_due=False))
    card = replace(chip(), portrait=png(person(1, 4).portrait(0)), signature=png(person(1, 4).signature(0).render()))
    reader = FakeDesk(card, attested=biodata(), signature=signed_record())

    async def links() -> list[object]:
        return []

    desk = Desk(
        UnitTable.model_validate({"id": "desk-a1", "site": "9901-A", "role": "handover"}),
        bench.services,
        Reports(lambda: {"unit": "desk-a1"}, links, lambda _name: None, lambda: 0),
        chip_desk=reader,
        officers=officers_of(bench),
    )
    with served(make_app(desk, TOKEN)) as address:
        yield Stand(address, reader)
    bench.store.close()


def dispute(page: Page, address: str) -> None:
    """Walk to the opened attestation by touching the screen."""
    page.goto(f"{address}/handover")
    page.locator("#nik").fill(NIK)
    page.get_by_role("button", name="Mulai penyerahan").click()
    page.get_by_role("button", name="Tidak ada (kartu pertama)").click()
    page.get_by_role("button", name="Baca kartu").click()
    page.get_by_role("button", name="Data tidak benar").click()
    page.locator(".replay-sheet").wait_for()


def told(page: Page) -> str:
    return page.locator(".replay-line output").inner_text()


def inked(page: Page) -> int:
    """Dark pixels on the sheet that the pen writes on."""
    return int(
        page.evaluate(
            """() => { const sheet = document.querySelectorAll('.replay-sheet canvas')[1];
            const dots = sheet.getContext('2d').getImageData(0, 0, sheet.width, sheet.height).data;
            let count = 0; for (let i = 3; i < dots.length; i += 4) if (dots[i] > 128) count += 1; return count; }"""
        )
    )


def test_the_signature_is_played_in_its_own_time_and_can_be_held(stand: Stand, page: Page) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    dispute(page, stand.address)
    page.get_by_role("button", name="Jeda").click()
    held, ink = told(page), inked(page)
    page.wait_for_timeout(200)
    assert told(page) == held and inked(page) == ink
    page.get_by_role("button", name="Dari awal").click()
    page.get_by_role("button", name="2×").click()
    page.locator(".replay-tip").wait_for(state="visible")
    page.wait_for_timeout(500)
    page.screenshot(path=PICTURES / "handover-dispute-agrees.png")
    page.locator(".replay-tip").wait_for(state="hidden", timeout=20_000)
    assert inked(page) > ink
    assert fits(page)
    assert page.get_by_text("Data di kartu sama dengan yang ditandatangani").is_visible()
    page.get_by_text("Pernyataan yang ditandatangani").click()
    assert page.get_by_text("Saya, SARI CONTOH, NIK").is_visible()
    page.get_by_role("button", name="Sudah dibandingkan").click()
    page.get_by_role("button", name="Cocokkan jari").wait_for()


def test_a_stroke_at_a_time_and_back(stand: Stand, page: Page) -> None:
    dispute(page, stand.address)
    page.get_by_role("button", name="Jeda").click()
    page.locator(".replay-line input").fill("0")
    start = inked(page)
    page.get_by_role("button", name="Goresan berikut").click()
    after_one = inked(page)
    assert start < after_one and "goresan 1 dari" in told(page)
    page.get_by_role("button", name="Goresan berikut").click()
    assert after_one < inked(page) and "goresan 2 dari" in told(page)
    page.locator(".replay-line input").fill("0")
    assert inked(page) == start


def test_who_asks_for_less_motion_sees_it_whole_and_may_still_play(stand: Stand, browser: Browser) -> None:
    calm = browser.new_context(reduced_motion="reduce", viewport={"width": SCREEN_PX[0], "height": SCREEN_PX[1]})
    page = calm.new_page()
    dispute(page, stand.address)
    page.get_by_role("button", name="Putar").wait_for()
    whole, ink = told(page), inked(page)
    page.wait_for_timeout(200)
    assert told(page) == whole and ink > 0
    page.get_by_role("button", name="Putar").click()
    expect(page.locator(".replay-line output")).not_to_have_text(whole)
    calm.close()


def test_fields_that_differ_stand_out_and_end_in_gagal(stand: Stand, page: Page) -> None:
    stand.reader.attested = biodata(name="SARI CONTOH BINTI")
    dispute(page, stand.address)
    assert page.locator("tr.differs").count() == 1
    assert "SARI CONTOH BINTI" in page.locator("tr.differs").inner_text()
    page.screenshot(path=PICTURES / "handover-dispute-differs.png")
    expect(page.get_by_role("button", name="Sudah dibandingkan")).to_be_in_viewport(ratio=1)  # without scrolling
    page.get_by_role("button", name="Sudah dibandingkan").click()
    page.get_by_text("GAGAL").wait_for()


def test_a_record_that_cannot_be_replayed_is_said_and_the_verdict_still_stands(stand: Stand, page: Page) -> None:
    stand.reader.signature = b"no record"
    page.goto(f"{stand.address}/handover")
    page.locator("#nik").fill(NIK)
    page.get_by_role("button", name="Mulai penyerahan").click()
    page.get_by_role("button", name="Hilang").click()
    page.get_by_role("button", name="Baca kartu").click()
    page.get_by_role("button", name="Data tidak benar").click()
    page.locator(".player .note.problem").wait_for()
    page.get_by_role("button", name="Sudah dibandingkan").click()
    page.get_by_role("button", name="Cocokkan jari").wait_for()


def test_the_integrators_page_plays_the_same_signature(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "signature.html"
    file.write_text(replay_page(ink_of(decode_series(signed_record())), "signature.iso"), encoding="utf-8")
    page.goto(file.as_uri())
    page.get_by_role("button", name="Jeda").click()
    page.locator(".replay-line input").fill("0")
    start = inked(page)
    page.get_by_role("button", name="Putar").click()
    expect(page.locator(".replay-line output")).not_to_contain_text("0,0 dari")
    page.get_by_role("button", name="Jeda").click()
    assert inked(page) > start and fits(page)
    page.screenshot(path=PICTURES / "replay-page.png")


def test_the_portraits_page_lays_its_overlay_on_the_picture(page: Page, tmp_path: Path) -> None:
    picture = person(1, 4).portrait(0)
    report = examine_portrait(picture)
    file = tmp_path / "portrait.html"
    file.write_text(portrait_page(picture, report, "photo.png"), encoding="utf-8")
    page.goto(file.as_uri())
    shown, drawn = page.locator(".seen img").bounding_box(), page.locator(".seen circle").first.bounding_box()
    assert shown is not None and drawn is not None and report.face is not None and report.face.eyes is not None
    x = (drawn["x"] + drawn["width"] / 2 - shown["x"]) / shown["width"] * picture.shape[1]
    y = (drawn["y"] + drawn["height"] / 2 - shown["y"]) / shown["height"] * picture.shape[0]
    assert (x, y) == (pytest.approx(report.face.eyes[0][0], abs=2), pytest.approx(report.face.eyes[0][1], abs=2))
    assert fits(page)
    page.set_viewport_size({"width": 420, "height": 900})
    assert fits(page)
    page.screenshot(path=PICTURES / "portrait-page.png", full_page=True)
