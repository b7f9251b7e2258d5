"""The console: who may log in, what each role may do, that decisions stay blind, and that every page opens."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.clock import SystemClock
from hub.console.application import create_application
from hub.console.sessions import FAILURES_MAX, NotLoggedIn, Sessions
from hub.schema.tables import Operator
from tests.hub_world import (
    ADJUDICATORS,
    DESK,
    KIOSK,
    OFFICERS,
    OPERATOR,
    SECRET,
    SITE_K,
    World,
    biodata,
    build_world,
    enrolment,
    index_fingers,
)

ANA, BUDI = biodata(1), biodata(2, name="BUDI MISALNYA")


class Scene:
    """A hub with an issued-to-be record, a duplicate's case, a failed capture and a quarantined packet."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.register(ANA, BUDI)
        self.first = world.send(DESK, enrolment(ANA, index_fingers(1)))
        self.second = world.send(KIOSK, enrolment(BUDI, index_fingers(1, 2)))
        self.failed = world.send(DESK, enrolment(biodata(2)).model_copy(update={"signoff": None}))
        world.arrive(b"rubbish", DESK)
        self.client = TestClient(create_application(world.central), follow_redirects=False)

    def log_in(self, operator: str, secret: str = SECRET) -> httpx.Response:
        return self.client.post("/api/login", json={"operator": operator, "secret": secret})

    def case_id(self) -> str:
        return next(case["id"] for case in self.client.get("/api/cases").json() if case["capture_id"] == self.second)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    for world in build_world(tmp_path_factory.mktemp("console"), "sqlite"):
        yield Scene(world)


def test_without_a_log_in_pages_lead_to_it_and_the_api_says_so(scene: Scene) -> None:
    scene.client.cookies.clear()
    page = scene.client.get("/")
    assert (page.status_code, page.headers["location"]) == (303, "/login")
    answer = scene.client.get("/api/state")
    assert answer.status_code == 401
    assert answer.json()["next_step"] == "Log in again."
    assert scene.client.post("/api/blanks", json={"place": SITE_K, "count": 1, "cause": "x"}).status_code == 401


@pytest.mark.parametrize("path", ["/", "/records", "/records?state=ADJUDICATE_RECORD", "/cases", "/actions", "/cards"])
def test_every_page_opens_with_strict_headers(scene: Scene, path: str) -> None:
    scene.log_in(OFFICERS[0])
    page = scene.client.get(path)
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert ANA.nik not in page.text


def test_a_records_page_shows_its_way_and_a_failed_one_what_to_do(scene: Scene) -> None:
    scene.log_in(OFFICERS[0])
    page = scene.client.get(f"/records/{scene.first}").text
    assert "print data sent" in page
    assert ANA.name in page
    failed = scene.client.get(f"/records/{scene.failed}").text
    assert "SIGNOFF_MISSING" in failed
    assert "Proses ulang" in failed


def test_a_case_is_closed_to_all_but_its_adjudicators_and_blind_between_them(scene: Scene) -> None:
    scene.log_in(OFFICERS[0])
    case_id = scene.case_id()
    assert "data:image" not in scene.client.get(f"/cases/{case_id}").text
    assert scene.client.post(f"/api/cases/{case_id}/claim").status_code == 409
    scene.log_in(ADJUDICATORS[0])
    assert "data:image" not in scene.client.get(f"/cases/{case_id}").text
    scene.client.post(f"/api/cases/{case_id}/claim")
    page = scene.client.get(f"/cases/{case_id}").text
    assert page.count("data:image") >= 4
    assert "minutiae berpasangan" in page
    candidate = scene.client.get(f"/api/cases/{case_id}").json()["candidates"][0]
    assert candidate["capture_id"] == scene.first
    decision = {"verdict": "same", "same_as": scene.first, "first": scene.first, "reason": "sidik jari sama"}
    assert scene.client.post(f"/api/cases/{case_id}/decisions", json=decision).status_code == 200
    scene.log_in(ADJUDICATORS[1])
    seen = scene.client.get(f"/api/cases/{case_id}").json()
    assert (seen["decided_by"], seen["decisions"]) == (1, [])
    assert "sidik jari sama" not in scene.client.get(f"/cases/{case_id}").text
    scene.client.post(f"/api/cases/{case_id}/claim")
    decided = scene.client.post(f"/api/cases/{case_id}/decisions", json=decision).json()
    assert (decided["verdict"], len(decided["decisions"])) == ("same", 2)
    assert scene.client.get(f"/api/records/{scene.second}").json()["state"] == "DUPLICATE_RECORD"


def test_nobody_confirms_their_own_proposal_and_no_operator_proposes(scene: Scene) -> None:
    proposal = {"action": "deletion", "subject": scene.failed, "reason": "cannot be repaired"}
    scene.log_in(OPERATOR)
    assert scene.client.post("/api/proposals", json=proposal).status_code == 409
    scene.log_in(OFFICERS[0])
    made = scene.client.post("/api/proposals", json=proposal).json()["id"]
    refused = scene.client.post(f"/api/proposals/{made}/decision", json={"confirm": True})
    assert refused.status_code == 409
    assert "second officer" in refused.json()["next_step"]
    assert "usulan Anda sendiri" in scene.client.get("/actions").text
    scene.log_in(OFFICERS[1])
    assert scene.client.post(f"/api/proposals/{made}/decision", json={"confirm": True}).json()["confirmed"] is True
    assert scene.client.get(f"/api/records/{scene.failed}").json()["state"] == "UNREGISTERED"


def test_blanks_are_entered_by_who_may_and_counted(scene: Scene) -> None:
    scene.log_in(ADJUDICATORS[0])
    form = {"place": SITE_K, "count": 25, "cause": "delivery"}
    assert scene.client.post("/api/blanks", json=form).status_code == 409
    scene.log_in(OFFICERS[0])
    before = {b["place"]: b["left"] for b in scene.client.get("/api/state").json()["blanks"]}
    after = {b["place"]: b["left"] for b in scene.client.post("/api/blanks", json=form).json()}
    assert after[SITE_K] == before[SITE_K] + 25


def test_programs_carry_the_token_in_a_header(scene: Scene) -> None:
    token = scene.log_in(OFFICERS[0]).json()["token"]
    scene.client.cookies.clear()
    assert scene.client.get("/api/state", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    forged = token[:-1] + ("0" if token[-1] != "0" else "1")
    assert scene.client.get("/api/state", headers={"Authorization": f"Bearer {forged}"}).status_code == 401


def test_guessing_is_slowed_down_and_a_log_in_ends(scene: Scene) -> None:
    sessions = Sessions(bytes(32), scene.world.clock, 1000)
    token = sessions.token("adj-1")
    assert sessions.operator_of(token) == "adj-1"
    scene.world.clock.pass_ms(1001)
    with pytest.raises(NotLoggedIn, match="ended"):
        sessions.operator_of(token)
    nobody: Operator | None = None
    for _ in range(FAILURES_MAX):
        with pytest.raises(NotLoggedIn, match="wrong"):
            sessions.check(nobody, "x", "adj-1")
    with pytest.raises(NotLoggedIn, match="Too many"):
        sessions.check(nobody, "x", "adj-1")


@given(st.text(max_size=200))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_is_taken_for_a_token(token: str) -> None:
    with pytest.raises(NotLoggedIn):
        Sessions(bytes(32), SystemClock(), 1000).operator_of(token)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/login", {"operator": "a b", "secret": "x"}),
        ("/api/proposals", {"action": "murder", "subject": "x", "reason": "y"}),
        ("/api/blanks", {"place": SITE_K, "count": "many", "cause": "x", "more": 1}),
        ("/api/cases/none/decisions", {"verdict": "perhaps", "reason": "x"}),
    ],
)
def test_a_wrong_form_is_told_which_field_is_wrong_without_its_content(scene: Scene, path: str, body: dict) -> None:
    scene.log_in(OFFICERS[0])
    answer = scene.client.post(path, json=body)
    assert answer.status_code == 422
    assert "murder" not in answer.text
    assert answer.json()["next_step"]


def test_an_oversized_body_is_refused_before_it_is_read(scene: Scene) -> None:
    scene.log_in(OFFICERS[0])
    assert scene.client.post("/api/blanks", content=b"x" * 100_000).status_code == 413


@pytest.mark.parametrize("path", ["/records/none", "/cases/none"])
def test_what_does_not_exist_says_so(scene: Scene, path: str) -> None:
    scene.log_in(OFFICERS[0])
    assert scene.client.get(path).status_code == 409
