"""The selftest's page in a real browser: a file of its own that needs nothing else, on paper too."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from contract.sample import FingerPosition, IrisPosition
from edge.selftest_page import KINDS_ID, render_page
from edge.sensors.drivers import DRIVERS
from edge.sensors.selftest import Outcome, SelftestRow
from tests.screens.conftest import PICTURES, fits
from virtual.people import person

SOMEONE = person(1, 3)
ROWS = [
    SelftestRow(
        "camera",
        "snapshot",
        Outcome.OK,
        "network camera",
        time_ms=412,
        found="a picture of 600×800, mean 141",
        pictures=(SOMEONE.portrait(),),
    ),
    SelftestRow(
        "finger",
        "zfm",
        Outcome.OK,
        "ZFM-20",
        "0009",
        "3.2",
        310,
        "a picture of 256×288 at 500 ppi",
        pictures=(SOMEONE.finger(FingerPosition.RIGHT_INDEX, 1),),
    ),
    SelftestRow(
        "iris",
        "snapshot",
        Outcome.OK,
        "network camera",
        time_ms=388,
        found="320×280, mean 120; 320×280, mean 118",
        pictures=(SOMEONE.iris(IrisPosition.RIGHT, 1), SOMEONE.iris(IrisPosition.LEFT, 1)),
    ),
    SelftestRow("signature", "isdv4", Outcome.OK, "Wacom ISDV4", "", "1.05", 290, "answers"),
    SelftestRow(
        "ticket",
        "serial",
        Outcome.FAILED,
        time_ms=44,
        found="The printer says: paper-out.",
        next_step="Paper is out: put in a new roll, print again.",
    ),
    SelftestRow(
        "climate",
        "sht31",
        Outcome.FAILED,
        time_ms=3,
        found="The SHT31 does not answer at 0x44 on I2C bus 1.",
        next_step="Check the part's power, its SDA and SCL wires and its address straps.",
    ),
    SelftestRow(
        "printer",
        "ipp",
        Outcome.OK,
        "Virtual Card Printer",
        time_ms=61,
        found="idle, both sides; marker-supply-low",
        next_step="The ribbon is nearly used up.",
    ),
    SelftestRow("comparison", "worker process", Outcome.OK, "rekam-finger/2", time_ms=2711, found="kernels ready"),
    SelftestRow("scanner", "", Outcome.MISSING, next_step="Add [devices.scanner] to unit.toml if there is one."),
    SelftestRow("card", "", Outcome.MISSING, next_step="Add [devices.card] to unit.toml if there is one."),
]


def test_the_page_shows_faults_first_and_every_picture(page: Page, tmp_path: Path) -> None:
    text = render_page(ROWS, unit="desk-a1", site="9901-A", role="desk", at="25 November 2026 21.18 WIB")
    assert "http" not in text.replace('lang="', "")  # nothing is loaded from anywhere
    (tmp_path / "selftest.html").write_text(text)
    page.goto(f"file://{tmp_path}/selftest.html")
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / "selftest.png", full_page=True)
    assert fits(page)
    assert page.evaluate("[...document.images].filter(image => image.naturalWidth > 0).length") == 4
    faults = page.locator(".fault h3").all_inner_texts()
    assert [fault.split()[0] for fault in faults] == ["Pencetak", "Suhu"]
    first = page.locator("tr").nth(1).inner_text()
    assert "Gagal" in first
    page.set_viewport_size({"width": 390, "height": 800})
    page.screenshot(path=PICTURES / "selftest-phone.png")


def test_every_kind_of_device_has_an_indonesian_name() -> None:
    assert set(DRIVERS) <= set(KINDS_ID)


def test_what_a_device_says_of_itself_is_text_and_no_markup(page: Page, tmp_path: Path) -> None:
    evil = SelftestRow(
        "finger", "<b>zfm</b>", Outcome.OK, "<script>document.title='owned'</script>", found="<img src=x>"
    )
    (tmp_path / "selftest.html").write_text(render_page([evil], unit="u", site="s", role="desk", at="now"))
    page.goto(f"file://{tmp_path}/selftest.html")
    assert page.title() == "Uji mandiri · u"
    assert page.locator("img").count() == 0
