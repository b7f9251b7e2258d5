"""The officers' page in a real browser: sign on by finger and PIN, enrol an officer; and the page that waits for it.

Pictures are left in out/screens for people to look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from contract.secret import hash_secret
from edge import sign_on
from edge.screens.app import make_app
from tests.screens.conftest import PICTURES, fits, served
from tests.screens.test_pages_in_chromium import small_targets
from tests.screens.test_unit_pages import TOKEN, make_desk
from tests.unit.edge_fakes import HEAD, OPERATOR, SECOND, Bench, make_bench, operator_entry, roster_of

PIN = "482913"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(sign_on, "PIN_COST", 2)
    made = make_bench(tmp_path)
    record = hash_secret(PIN, bytes(16), 2)
    soon = made.clock.now_ms + 30 * 3_600_000
    made.roster.take(
        roster_of(
            operator_entry(OPERATOR, "operator", name="Siti Aminah"),
            operator_entry(SECOND, "front-desk-officer", "operator", name="Budi Santoso", pin=record),
            operator_entry(HEAD, "section-head", "operator", lease_until_ms=soon, pin=record, name="Dewi Kartika Sari"),
            operator_entry("op-late", "operator", lease_until_ms=1, name="Tono Wijaya"),
            version=2,
        )
    )
    yield made
    made.store.close()


@pytest.fixture
def url(bench: Bench) -> Iterator[str]:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with served(make_app(make_desk(bench, on_duty=""), TOKEN)) as address:
        yield address


def looks_well(page: Page, name: str) -> None:
    page.screenshot(path=PICTURES / f"officers-{name}.png")
    assert fits(page), name
    assert small_targets(page) == [], name


def enter(page: Page, pin: str) -> None:
    for digit in pin:
        page.get_by_role("button", name=digit, exact=True).click()


def sign_on_as_head(page: Page, bench: Bench) -> None:
    page.get_by_role("button", name="Dewi Kartika Sari").click()
    bench.sensors.person = HEAD
    page.get_by_role("button", name="Baca jari").click()
    page.get_by_text("Masukkan PIN Anda").wait_for()
    enter(page, PIN)


def test_a_page_that_nobody_is_signed_on_for_leads_there_and_back(page: Page, bench: Bench, url: str) -> None:
    page.goto(f"{url}/desk")
    page.get_by_role("link", name="Masuk").wait_for()
    assert page.get_by_role("button", name="Mulai perekaman").is_disabled()
    looks_well(page, "desk-nobody")
    page.get_by_role("link", name="Masuk").click()
    page.get_by_role("button", name="Tono Wijaya").click()
    page.get_by_text("Wewenang operator sudah berakhir").wait_for()
    looks_well(page, "lease-ended")
    page.get_by_role("button", name="Siti Aminah").click()
    bench.sensors.person = "sari"
    page.get_by_role("button", name="Baca jari").click()
    page.get_by_text("Sidik jari petugas tidak cocok").wait_for()
    looks_well(page, "finger")
    bench.sensors.person = OPERATOR
    page.get_by_role("button", name="Coba lagi").click()
    page.wait_for_url("**/desk")
    expect(page.locator("#signed-on")).to_contain_text("Siti Aminah")
    assert page.get_by_role("button", name="Mulai perekaman").is_enabled()
    looks_well(page, "desk-somebody")


def test_a_pin_is_entered_on_large_keys_and_a_wrong_one_says_what_is_left(page: Page, bench: Bench, url: str) -> None:
    page.goto(f"{url}/officers")
    sign_on_as_head(page, bench)
    page.get_by_text("Belum ada petugas yang masuk").wait_for(state="hidden")
    expect(page.locator("#on-duty")).to_contain_text("Dewi Kartika Sari")
    expect(page.locator("#on-duty")).to_contain_text("sambungkan ke pusat")  # the lease ends within two days
    looks_well(page, "on-duty")
    page.get_by_role("button", name="Budi Santoso").click()
    bench.sensors.person = SECOND
    page.get_by_role("button", name="Baca jari").click()
    page.get_by_text("Masukkan PIN Anda").wait_for()
    enter(page, "111222")
    page.get_by_text("PIN salah. Sisa 7 kali").wait_for()
    looks_well(page, "pin")
    page.get_by_role("button", name="Batal").click()


def test_a_head_enrols_an_officer_who_chooses_a_pin(page: Page, bench: Bench, url: str) -> None:
    page.goto(f"{url}/officers")
    sign_on_as_head(page, bench)
    page.get_by_role("button", name="Daftarkan petugas").click()
    page.locator("#new-name").fill("Rina Contoh")
    page.locator("#new-id").fill("op-rina")
    looks_well(page, "enrol-form")
    expect(page.get_by_role("button", name="Mulai pendaftaran")).to_be_in_viewport(ratio=1)  # without scrolling
    page.set_viewport_size({"width": 800, "height": 1280})  # a screen that stands upright
    looks_well(page, "enrol-form-upright")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.get_by_role("button", name="Mulai pendaftaran").click()
    bench.sensors.person = "rina"
    page.get_by_text("letakkan telunjuk kanan").wait_for()
    page.get_by_role("button", name="Baca jari").click()
    page.get_by_text("letakkan telunjuk kiri").wait_for()
    looks_well(page, "enrol-fingers")
    page.get_by_role("button", name="Baca jari").click()
    page.get_by_role("button", name="PIN", exact=False).first.wait_for()
    looks_well(page, "enrol-factor")
    page.get_by_role("button", name="PIN", exact=False).first.click()
    page.get_by_text("memilih PIN sendiri").wait_for()
    enter(page, "739105")
    page.get_by_text("Sekali lagi").wait_for()
    looks_well(page, "enrol-pin")
    enter(page, "739105")
    page.get_by_text("mengesahkan").wait_for()
    bench.sensors.person = HEAD
    page.get_by_role("button", name="Baca jari").click()
    page.get_by_text("setelah petugas kedua menyetujui").wait_for()
    looks_well(page, "enrolled")
