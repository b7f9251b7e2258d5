"""The officers' page in a real browser: sign on by finger and PIN, enrol an officer; and the page that waits for it.

Pictures are left in out/screens for people to look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from contract.pins import PinState
from contract.secret import hash_secret
from edge import sign_on
from edge.screens.app import make_app
from tests.screens.conftest import PICTURES, fits, served
from tests.screens.test_pages_in_chromium import small_targets
from tests.screens.test_unit_pages import TOKEN, make_desk
from tests.unit.edge_fakes import HEAD, OPERATOR, SECOND, Bench, make_bench, operator_entry, roster_of

PIN, NEW_PIN = "482913", "739105"
SCREENS_PX = ((1280, 800), (1024, 600), (800, 480))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(sign_on, "PIN_COST", 2)
    made = make_bench(tmp_path)
    record = hash_secret(PIN, bytes(16), 2)
    soon = made.clock.now_ms + 30 * 3_600_000
    reset = PinState(epoch=1, changed_ms=made.clock.now_ms - 1, set_by_ms=soon)
    made.roster.take(
        roster_of(
            operator_entry(OPERATOR, "operator", name="Siti Aminah"),
            operator_entry(SECOND, "front-desk-officer", "operator", name="Budi Santoso", pin=record),
            operator_entry(HEAD, "section-head", "operator", lease_until_ms=soon, pin=record, name="Dewi Kartika Sari"),
            operator_entry("op-late", "operator", lease_until_ms=1, name="Tono Wijaya"),
            operator_entry("op-new", "operator", name="Wati Kusuma", pin_state=reset),
            operator_entry("op-slow", "operator", name="Eko Prasetyo", pin_state=PinState(epoch=1, set_by_ms=1)),
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
    """On every screen that units have: nothing sideways, no small target, and one task in sight without scrolling."""
    before = page.viewport_size
    for width, height in SCREENS_PX:
        page.set_viewport_size({"width": width, "height": height})
        place = f"{name}-{width}"
        page.screenshot(path=PICTURES / f"officers-{place}.png")
        assert fits(page), place
        assert small_targets(page) == [], place
        assert out_of_sight(page) == [], place
    assert before is not None
    page.set_viewport_size(before)


def out_of_sight(page: Page) -> list[str]:
    """What of one task on the stage has to be scrolled to: prompt, advice, keys, buttons."""
    parts = page.locator(
        "#stage .prompt, #stage #notes .note, #stage .keypad button, #stage #actions button, "
        "#enrol-form button, #start-notes .note"
    )
    inner = page.viewport_size
    assert inner is not None
    return [
        part.inner_text()
        for part in parts.all()
        if part.is_visible()
        and (box := part.bounding_box()) is not None
        and (box["y"] < 0 or box["y"] + box["height"] > inner["height"])
    ]


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


def test_a_reset_pin_is_chosen_anew_and_one_that_lost_is_told(page: Page, bench: Bench, url: str) -> None:
    page.goto(f"{url}/officers")
    page.get_by_role("button", name="Eko Prasetyo").click()
    page.get_by_text("Waktu untuk memilih PIN baru sudah habis").wait_for()
    looks_well(page, "reset-ended")
    page.get_by_role("button", name="Wati Kusuma").click()
    page.get_by_text("PIN Anda diatur ulang").wait_for()
    looks_well(page, "reset-finger")
    bench.sensors.person = "op-new"
    page.get_by_role("button", name="Baca jari").click()
    page.get_by_text("Pilih PIN baru, enam angka").wait_for()
    looks_well(page, "reset-pin")
    enter(page, NEW_PIN)
    page.get_by_text("Sekali lagi").wait_for()
    enter(page, NEW_PIN)
    expect(page.locator("#on-duty")).to_contain_text("Wati Kusuma")
    elsewhere = PinState(epoch=1, changed_ms=bench.clock.now_ms + 1)
    record = hash_secret(PIN, bytes(16), 2)
    bench.roster.take(
        roster_of(operator_entry("op-new", "operator", name="Wati Kusuma", pin=record, pin_state=elsewhere), version=3)
    )
    page.reload()
    page.get_by_role("button", name="Wati Kusuma").click()
    page.get_by_role("button", name="Baca jari").click()
    page.get_by_text("diganti di tempat lain").wait_for()
    looks_well(page, "superseded")
    enter(page, NEW_PIN)
    page.get_by_text("PIN salah. Sisa 7 kali").wait_for()
    looks_well(page, "superseded-wrong")
    enter(page, PIN)
    expect(page.locator("#on-duty")).to_contain_text("Wati Kusuma")


def test_a_station_asks_for_a_pin_in_a_box_that_is_seen_whole(page: Page, bench: Bench) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with served(make_app(make_desk(bench, "station", on_duty=""), TOKEN)) as address:
        page.goto(f"{address}/station")
        page.evaluate("askPin('start', {})")  # as where a start was answered by PIN_ASKED
        for width, height in SCREENS_PX:
            page.set_viewport_size({"width": width, "height": height})
            page.screenshot(path=PICTURES / f"officers-station-pin-{width}.png")
            for button in page.locator("dialog button").all():
                expect(button).to_be_in_viewport(ratio=1)
            assert small_targets(page) == []
        enter(page, PIN)
        page.locator("dialog").wait_for(state="detached")


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
