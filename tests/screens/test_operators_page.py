"""The console's page of operators in a real browser: four eyes are seen, approved by touch, and revoked at once.

Pictures are left in out/screens for people to look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from contract.dispatch import encode
from contract.operators import SignOnCount, SignOns
from hub import rosters, sign_ons
from hub.console import operator_views
from hub.console.application import create_application
from tests.hub_world import DESK, HEAD, OFFICERS, OPERATOR, SECOND, SECRET, World, biodata, build_world
from tests.journey.test_hub_operators import NEW, approve, body, revoke
from tests.screens.conftest import PICTURES, fits, served


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    for built in build_world(tmp_path, "sqlite"):
        built.register(biodata(1))
        approve(built, built.send(DESK, body("op-tono", 9)), OFFICERS[0])
        built.send(DESK, body())
        built.send(DESK, body("op-lain", 9, roles=("front-desk-officer",)))
        revoke(built, SECOND)
        counts = (
            SignOnCount(operator=OPERATOR, last_ms=built.clock.wall_ms() - 5_000_000, signed_on=12, failed=2),
            SignOnCount(operator=HEAD, last_ms=built.clock.wall_ms() - 90_000_000, signed_on=3, failed=8, locked=True),
        )
        with built.central.context.database.transaction() as session:
            sign_ons.take(session, built.central.context, DESK, encode(SignOns(counts=counts)))
        yield built


def test_a_pin_is_reset_by_two(page: Page, world: World) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with served(create_application(world.central)) as address:
        page.request.post(f"{address}/api/login", data={"operator": HEAD, "secret": SECRET})
        page.goto(f"{address}/operators")
        row = page.locator("table.operators tr", has_text="op-tono")
        row.get_by_text("Atur ulang PIN").click()
        row.locator("details[open]").get_by_placeholder("Alasan").fill("lupa setelah cuti panjang")
        row.get_by_role("button", name="Minta").click()
        reset = page.locator(".reset", has_text="op-tono")
        expect(reset).to_contain_text("petugas lain yang memutuskan")
        assert reset.get_by_role("button").count() == 0
        page.request.post(f"{address}/api/login", data={"operator": OFFICERS[0], "secret": SECRET})
        page.goto(f"{address}/operators")
        page.screenshot(path=PICTURES / "operators-reset-asked.png", full_page=True)
        reset.get_by_role("button", name="Setujui").click()
        expect(page.locator(".reset")).to_have_count(0)
        expect(row).to_contain_text("menunggu PIN baru")
        expect(row).to_contain_text(DESK)  # where the old one works still
        page.screenshot(path=PICTURES / "operators-reset.png", full_page=True)
        for width, height in ((1024, 600), (800, 480)):
            page.set_viewport_size({"width": width, "height": height})
            page.screenshot(path=PICTURES / f"operators-reset-{width}.png", full_page=True)
            assert fits(page), width


def test_a_full_site_is_seen_before_somebody_is_approved(
    page: Page, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (rosters, operator_views):
        monkeypatch.setattr(module, "OPERATORS_MAX", 7)
    with served(create_application(world.central)) as address:
        page.request.post(f"{address}/api/login", data={"operator": OFFICERS[0], "secret": SECRET})
        page.goto(f"{address}/operators")
        expect(page.get_by_text("petugas tidak dimuat").first).to_be_visible()
        form = page.locator(".enrolment", has_text=NEW)
        expect(form.get_by_text("penuh").first).to_be_visible()
        form.get_by_role("button", name="Setujui").click()
        expect(form.get_by_text("sudah penuh")).to_be_visible()
        page.set_viewport_size({"width": 1024, "height": 600})
        page.screenshot(path=PICTURES / "operators-full.png")
        assert fits(page)


def test_who_waits_is_approved_by_another_and_who_must_go_goes_at_once(page: Page, world: World) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with served(create_application(world.central)) as address:
        page.request.post(f"{address}/api/login", data={"operator": HEAD, "secret": SECRET})
        page.goto(f"{address}/operators")
        expect(page.get_by_text("Anda yang mendaftarkan").first).to_be_visible()
        assert page.get_by_role("button", name="Setujui").count() == 0
        page.request.post(f"{address}/api/login", data={"operator": OFFICERS[0], "secret": SECRET})
        page.goto(f"{address}/operators")
        expect(page.locator(".enrolment", has_text="op-lain")).to_contain_text("op-tono")  # whose fingers these are
        expect(page.locator("tr", has_text=HEAD).first).to_contain_text("PIN terkunci")
        assert fits(page)
        page.screenshot(path=PICTURES / "operators.png", full_page=True)
        page.locator(".enrolment", has_text=NEW).get_by_role("button", name="Setujui").click()
        row = page.locator("table.operators tr", has_text=NEW)
        expect(row).to_contain_text("aktif")
        refused = page.locator(".enrolment", has_text="op-lain")
        refused.get_by_placeholder("Alasan menolak").fill("jari milik petugas lain")
        refused.get_by_role("button", name="Tolak").click()
        expect(page.locator(".enrolment")).to_have_count(0)
        row.get_by_text("Cabut", exact=True).click()
        row.locator("details[open]").get_by_placeholder("Alasan").fill("berhenti bekerja")
        row.get_by_role("button", name="Cabut sekarang").click()
        expect(row).to_contain_text("dicabut")
        expect(row).to_contain_text("belum terdengar")  # no unit has said that it holds the new roster
        page.screenshot(path=PICTURES / "operators-revoked.png", full_page=True)
        page.set_viewport_size({"width": 800, "height": 1000})
        assert fits(page)
