"""A scanner that types like a keyboard, in a real browser: wherever the focus is, its code is a scan and nothing else.

Pictures are left in out/screens for people to look at.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import CDPSession, Page

from contract.dispatch import RegisterEntry, RegisterPage
from contract.lifecycle import RecordState
from edge.screens.app import make_app
from tests.screens.conftest import PICTURES, fits, served
from tests.screens.test_unit_pages import TOKEN, make_desk
from tests.unit.edge_fakes import NIK, PAPERS, Bench, biodata, consigned, make_bench

KEY_S = 0.004
SISTER = "9901014107900002"
LETTER = f"SURAT PANGGILAN/470/21/2026 NIK {NIK}"
FAMILY_CARD = f"KK 9901011506120003;{NIK};{SISTER}"


class Unit:
    """A desk with two residents and one card, and a scanner that types."""

    def __init__(self, url: str, page: Page) -> None:
        self.url, self.page = url, page
        self.keys: CDPSession = page.context.new_cdp_session(page)

    def open(self, name: str) -> None:
        self.page.goto(f"{self.url}/{name}")
        self.page.locator("#signed-on .button").first.wait_for()

    def scan(self, text: str, end: str = "Enter") -> None:
        """Key presses 4 ms apart by their own time stamps, as a scanner in keyboard mode sends them."""
        moment_s = time.time()
        for character in text:
            moment_s += KEY_S
            key = {"key": character, "timestamp": moment_s}
            self.keys.send("Input.dispatchKeyEvent", {"type": "keyDown", "text": character, **key})
            self.keys.send("Input.dispatchKeyEvent", {"type": "keyUp", **key})
        code = {"Enter": 13, "Tab": 9}[end]
        press = {"key": end, "code": end, "windowsVirtualKeyCode": code, "timestamp": moment_s + KEY_S}
        self.keys.send("Input.dispatchKeyEvent", {"type": "keyDown", "text": "\r" if end == "Enter" else "", **press})
        self.keys.send("Input.dispatchKeyEvent", {"type": "keyUp", **press})

    def nik(self) -> str:
        return self.page.locator("#nik").input_value()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = make_bench(tmp_path)
    entries = tuple(
        RegisterEntry(
            biodata=biodata(nik, name), status=RecordState.UNREGISTERED, eligible=True, required_papers=PAPERS
        )
        for nik, name in ((NIK, "SARI CONTOH"), (SISTER, "DEWI CONTOH"))
    )
    made.register.take_page(RegisterPage(site="9901-A", page="p1", version=2, entries=entries))
    made.register.take_card(consigned())
    yield made
    made.store.close()


@pytest.fixture
def unit(bench: Bench, page: Page) -> Iterator[Unit]:
    with served(make_app(make_desk(bench), TOKEN)) as url:
        yield Unit(url, page)


@pytest.mark.parametrize("focus", ["body", "#nik", "#signed-on a", "#papers input", "button[type=submit]"])
@pytest.mark.parametrize("end", ["Enter", "Tab"])
def test_a_letter_is_scanned_wherever_the_focus_is(unit: Unit, focus: str, end: str) -> None:
    unit.open("desk")
    unit.page.locator("#nik").fill("12")
    operator = unit.page.locator("#operator").input_value()
    unit.page.locator(focus).first.focus()
    unit.scan(LETTER, end)
    unit.page.get_by_text("Terbaca: SARI CONTOH").wait_for()
    assert unit.nik() == NIK
    assert unit.page.locator("#operator").input_value() == operator
    assert unit.page.locator("#papers input:checked").count() == 0
    assert unit.page.locator("#stage").is_hidden()


def test_a_family_card_lets_one_of_its_members_be_chosen(unit: Unit) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    unit.open("kiosk")
    unit.scan(FAMILY_CARD)
    unit.page.get_by_role("button", name="DEWI CONTOH").wait_for()
    unit.page.screenshot(path=PICTURES / "kiosk-family-card.png")
    unit.page.get_by_role("button", name="DEWI CONTOH").click()
    assert unit.nik() == SISTER
    unit.page.screenshot(path=PICTURES / "kiosk-scanned.png")
    assert fits(unit.page)


def test_a_code_that_names_nobody_says_so_and_enters_nothing(unit: Unit) -> None:
    unit.open("desk")
    for text, words in (("9901015506120009", "kartu keluarga"), ("https://example.go.id/x", "tidak dikenal")):
        unit.scan(text)
        unit.page.locator("#start-notes").get_by_text(words).wait_for()
        assert unit.nik() == ""


def test_a_card_on_the_handover_desk_is_found_by_its_code(unit: Unit) -> None:
    unit.open("handover")
    unit.scan("RKTP1:C-1:0A1B2C")
    unit.page.get_by_text("Terbaca: SARI CONTOH").wait_for()
    assert unit.nik() == NIK


def test_a_person_who_types_is_no_scanner(unit: Unit) -> None:
    unit.open("desk")
    unit.page.locator("#nik").focus()
    unit.page.keyboard.type(NIK, delay=90)
    assert unit.nik() == NIK
    assert unit.page.locator("#start-notes *").count() == 0
    unit.page.keyboard.press("Enter")
    unit.page.locator("#start-notes .note").wait_for()  # the form was sent: papers are missing
    assert unit.nik() == NIK


def test_nothing_is_scanned_into_a_capture(unit: Unit, bench: Bench) -> None:
    unit.open("desk")
    unit.scan(NIK)
    unit.page.get_by_text("Terbaca").wait_for()
    for box in unit.page.locator("#papers input").all():
        box.check()
    unit.page.get_by_role("button", name="Mulai perekaman").click()
    unit.page.get_by_role("button", name="Ya, benar").wait_for()
    unit.page.get_by_role("button", name="Ya, benar").focus()
    unit.scan(LETTER)
    unit.page.wait_for_timeout(300)
    assert unit.page.get_by_role("button", name="Ya, benar").is_visible()
    assert bench.sensors.calls == []


def test_the_units_own_scanner_fills_the_form_too(bench: Bench, page: Page) -> None:
    bench.sensors.codes = ["the scanner", f"NIK {SISTER}"]
    with served(make_app(make_desk(bench), TOKEN)) as url:
        page.goto(f"{url}/desk")
        page.get_by_text("Terbaca: DEWI CONTOH").wait_for()
        assert page.locator("#nik").input_value() == SISTER
