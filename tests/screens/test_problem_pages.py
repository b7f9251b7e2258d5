"""Every problem of the table on the box's own page in Chromium: Indonesian first, English beside it, nothing cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from playwright.sync_api import Page, expect

from contract.commissioning_problems import WORDING, Problem, Refusal
from edge.box_files import Phase
from edge.line_watch import words_of
from edge.screens.app import make_app
from edge.screens.commissioning import make_commissioning_app
from tests.screens.conftest import PICTURES, fits, served
from tests.screens.test_unit_pages import TOKEN, make_desk
from tests.unit.edge_fakes import make_bench

DETAILS = {
    Problem.CLOCK_WRONG: "It shows 2025-11-25 08:00 UTC. The broker's certificate is for 2026-10-26 to 2027-01-24.",
    Problem.CLAIM_EXPIRED: "It ended on 2026-11-25 08:00; the clock shows 2027-11-25 08:00.",
    Problem.SERIAL_TAKEN: "A second box knocks with it, claim c-0011223344556677.",
    Problem.NAME_DIFFERS: "It should be desk-b7.",
    Problem.CONFIGURATION_FOR_OTHER_UNIT: "It is for desk-z9.",
    Problem.BROKER_UNREACHABLE: "hub.contoh.go.id:8883: Connection refused.",
    Problem.BROKER_TLS_OLD: "(protocol version)",
    Problem.SELFTEST_FAILED: " ".join(f"{kind}: The device does not answer." for kind in ("camera", "finger", "iris")),
}


class Boxes:
    """What the page asks of a commissioner, with the problem that a test sets."""

    def __init__(self) -> None:
        self.problem: Refusal | None = None
        files = SimpleNamespace(identity=lambda: None)
        self.box = SimpleNamespace(
            phase=Phase.KNOCKING, is_approved=False, files=files, serial="S-100", code="7K3M-Q9TB-2XWE"
        )


def test_each_problem_says_what_to_do_and_fits_the_screen(page: Page) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    boxes = Boxes()
    with served(make_commissioning_app(boxes, "t" * 43)) as address:  # type: ignore[arg-type]
        for problem in Problem:
            boxes.problem = Refusal(problem, DETAILS.get(problem, ""))
            page.goto(address)
            note = page.locator(f"[data-problem={problem.value}]")
            words = WORDING[problem]
            for text in (words.what_id, words.do_id, words.what_en, words.do_en, DETAILS.get(problem, "")):
                expect(note).to_contain_text(text)
            shown = note.inner_text()
            assert shown.index(words.what_id) < shown.index(words.what_en)
            box, code = note.bounding_box(), page.locator(".box-code").bounding_box()
            assert box is not None and code is not None and fits(page)
            assert box["y"] >= 0 and code["y"] + code["height"] <= 800, problem
            page.screenshot(path=PICTURES / f"problem-{problem.value}.png")


def test_the_code_that_is_compared_is_whole_on_a_low_screen(page: Page) -> None:
    page.set_viewport_size({"width": 1024, "height": 600})
    boxes = Boxes()
    with served(make_commissioning_app(boxes, "t" * 43)) as address:  # type: ignore[arg-type]
        for problem in (Problem.NOT_APPROVED, Problem.SERIAL_TAKEN):
            boxes.problem = Refusal(problem, DETAILS.get(problem, ""))
            page.goto(address)
            steps, head, card = (page.locator(name).bounding_box() for name in (".progress", ".prompt", ".code-card"))
            assert steps is not None and head is not None and card is not None and fits(page)
            assert steps["y"] + steps["height"] <= head["y"] and card["y"] + card["height"] <= 600, problem


def test_the_status_page_of_a_unit_in_service_says_why_it_has_no_line(page: Page, tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    desk = make_desk(bench)
    found: dict[str, str] = {}
    uplink = {
        "mode": "PRODUCTION",
        "database": "CONNECTED",
        "correlation_id": "9901-A",
        "queue": "DISCONNECTED",
        "scheduler": "RUNNING",
        "records_sent_since_restart": 0,
        "pending": 2,
        "oldest_age_s": 7200,
        "held": 0,
    }
    status = {
        "unit": "desk-a1",
        "uplink": uplink,
        "waiting": [],
        "devices": [],
        "line": found,
        "software": {"version": "1"},
    }
    desk.reports = replace(desk.reports, status=lambda: status)
    with served(make_app(desk, TOKEN)) as address:
        for problem in (Problem.CERTIFICATE_REVOKED, Problem.CLOCK_WRONG):
            found |= words_of(Refusal(problem, DETAILS.get(problem, "(certificate revoked)")))
            page.goto(f"{address}/status")
            note = page.locator(f"[data-problem={problem.value}]")
            expect(note).to_contain_text(WORDING[problem].do_id)
            expect(note).to_contain_text(WORDING[problem].do_en)
            page.screenshot(path=PICTURES / f"status-{problem.value}.png")
            assert fits(page)
    bench.store.close()
