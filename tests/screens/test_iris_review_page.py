"""Eyes that look swapped, in a real browser: both pictures with their names, and the officer's two answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from contract.packet import EnrolmentBody
from contract.sample import IrisPosition
from edge.screens.app import make_app
from edge.screens.pictures import jpeg
from tests.screens.conftest import PICTURES, fits, served
from tests.screens.test_pages_in_chromium import small_targets
from tests.screens.test_unit_pages import TOKEN, make_desk
from tests.unit.edge_fakes import NIK, OPERATOR, PAPERS, Bench, make_bench
from virtual.people import person

HEADERS = {"X-Rekam-Token": TOKEN}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = make_bench(tmp_path)
    made.examiner.eye_picture = jpeg(person(1, 3).iris(IrisPosition.RIGHT))
    made.sensors.swapped = True
    yield made
    made.store.close()


def act(page: Page, url: str, action: str) -> str:
    """One action by the API, as a program does it; the step that follows."""
    answer = page.request.post(f"{url}/api/session/{action}?wait_s=20", data={}, headers=HEADERS)
    assert answer.ok, answer.text()
    return str(answer.json()["step"])


@pytest.mark.parametrize("role", ["kiosk", "desk"])
def test_the_officer_sees_both_eyes_and_may_go_on_or_take_them_again(bench: Bench, page: Page, role: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with served(make_app(make_desk(bench, role=role), TOKEN)) as url:
        page.goto(f"{url}/{role}")
        form = {"nik": NIK, "operator": OPERATOR, "papers": list(PAPERS)}
        assert page.request.post(f"{url}/api/session", data=form, headers=HEADERS).ok
        step = "biodata"
        while step != "iris_review":
            step = act(page, url, "confirm" if step in {"biodata", "photo_review"} else "capture")
        page.get_by_text("tampak tertukar").wait_for()
        assert page.get_by_text("look swapped").is_visible()
        assert page.locator(".eye-review img").count() == 2
        page.wait_for_function("[...document.querySelectorAll('.eye-review img')].every((i) => i.naturalWidth > 0)")
        page.screenshot(path=PICTURES / f"{role}-iris-review.png")
        assert fits(page)
        note, buttons = (page.locator(place).bounding_box() for place in (".eye-review", "#actions"))
        assert note is not None and buttons is not None and note["y"] + note["height"] <= buttons["y"]
        assert small_targets(page) == []
        page.get_by_role("button", name="Tertukar, rekam ulang").click()
        page.get_by_role("button", name="Rekam mata").click()
        page.get_by_role("button", name="Tidak tertukar, lanjutkan").click()
        page.get_by_text("Sekali lagi").wait_for()
        for action in ("capture", "capture", "agree"):
            act(page, url, action)
        bench.sensors.person = OPERATOR
        assert act(page, url, "capture") == "saved"
    body = bench.keeper.kept[0][2]
    assert isinstance(body, EnrolmentBody) and body.eyes_confirmed_ms is not None
