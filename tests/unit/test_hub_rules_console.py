"""What the console keeps from whom: guessing pass phrases, other regions' records, and residents' data."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi.testclient import TestClient

from contract.packet import PortraitReview
from hub.console import sessions
from hub.console.application import create_application
from hub.console.sessions import FAILURES_MAX, LOCKED_MS, NotLoggedIn, Sessions
from hub.schema.tables import Operator
from tests.hub_world import (
    ADJUDICATORS,
    CONSOLE_SECRET,
    DESK,
    HEAD,
    OFFICERS,
    OPERATOR,
    SECRET,
    SITE_A,
    SITE_B,
    SITE_K,
    SetClock,
    World,
    biodata,
    build_world,
    enrolment,
    index_fingers,
)

ANA, BUDI = biodata(1), biodata(2, name="BUDI MISALNYA")


def refused(guard: Sessions, operator: Operator | None, secret: str, name: str) -> str:
    try:
        guard.check(operator, secret, name)
    except NotLoggedIn as error:
        return error.message
    return ""


def test_guesses_made_side_by_side_count_as_those_made_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    monkeypatch.setattr(sessions, "secret_matches", lambda secret, _stored: compared.append(secret) is not None)
    guard = Sessions(b"key", SetClock(), 1000)
    operator = Operator(id="op", console_secret=CONSOLE_SECRET, revoked=False)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: refused(guard, operator, f"guess {n}", "op"), range(40)))
    assert len(compared) == FAILURES_MAX


def test_an_unknown_name_costs_as_much_as_a_known_one_and_names_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    monkeypatch.setattr(sessions, "secret_matches", lambda _secret, stored: bool(compared.append(stored)))
    clock = SetClock()
    guard = Sessions(b"key", clock, 1000)
    for number in range(50):
        assert "wrong" in refused(guard, None, "guess", f"nobody-{number}")
    assert compared == [sessions.NOBODY] * 50
    clock.pass_ms(LOCKED_MS)
    refused(guard, None, "guess", "last")
    assert len(guard._attempts) == 1


class Scene:
    """A record of site A, another at site B, and a hand to ask as anybody."""

    def __init__(self, world: World) -> None:
        world.register(ANA, BUDI)
        with world.central.context.database.transaction() as session:
            session.get_one(Operator, HEAD).sites = SITE_B
            session.get_one(Operator, OPERATOR).sites = SITE_A
        self.failed = world.send(DESK, enrolment(ANA, index_fingers(1)).model_copy(update={"signoff": None}))
        review = PortraitReview(differs=("age",), reviewed_ms=1)
        self.asked = world.send(DESK, enrolment(BUDI, index_fingers(2), portrait_review=review))
        self.client = TestClient(create_application(world.central), follow_redirects=False)

    def log_in(self, operator: str) -> None:
        assert self.client.post("/api/login", json={"operator": operator, "secret": SECRET}).status_code == 200

    def post(self, path: str, **body: object) -> httpx.Response:
        return self.client.post(path, json=body)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    for world in build_world(tmp_path_factory.mktemp("rules"), "sqlite"):
        yield Scene(world)


def test_a_section_head_acts_in_their_own_region_only(scene: Scene) -> None:
    scene.log_in(HEAD)
    answer = scene.post(f"/api/records/{scene.failed}/reprocess")
    assert answer.status_code == 409
    assert "region" in answer.json()["message"]
    assert scene.post("/api/blanks", place=SITE_K, count=5, cause="delivery").status_code == 409
    assert scene.post("/api/blanks", place=SITE_B, count=5, cause="delivery").status_code == 200
    scene.log_in(OFFICERS[0])
    assert scene.post(f"/api/records/{scene.failed}/reprocess").status_code == 200


@pytest.mark.parametrize(("operator", "sees"), [(OFFICERS[0], True), (OPERATOR, True), (HEAD, False)])
def test_a_residents_data_are_shown_to_those_who_work_with_them(scene: Scene, operator: str, sees: bool) -> None:
    scene.log_in(operator)
    for path in (f"/records/{scene.failed}", f"/api/records/{scene.failed}"):
        page = scene.client.get(path).text
        assert (ANA.name in page, ANA.nik in page) == (sees, sees)
        assert "SIGNOFF_MISSING" in page


def test_an_adjudicator_knows_nobody_but_by_a_case(scene: Scene) -> None:
    scene.log_in(ADJUDICATORS[0])
    page = scene.client.get(f"/records/{scene.failed}").text
    assert ANA.name not in page
    assert ANA.nik not in page


@pytest.mark.parametrize(("operator", "sees"), [(OFFICERS[0], True), (HEAD, False), (ADJUDICATORS[0], False)])
def test_the_region_sees_the_portrait_that_it_is_asked_about_and_nobody_else_does(
    scene: Scene, operator: str, sees: bool
) -> None:
    scene.log_in(operator)
    page = scene.client.get(f"/records/{scene.asked}").text
    assert "unlike the biodata: age" in page
    assert ('src="data:image/jpeg;base64,' in page) == sees


def test_no_portrait_is_shown_where_nothing_is_asked(scene: Scene) -> None:
    scene.log_in(OFFICERS[0])
    assert "data:image/jpeg" not in scene.client.get(f"/records/{scene.failed}").text
