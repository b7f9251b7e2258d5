"""The unit's pages and API: who may ask, what is answered, and that no request can do what the table does not say."""

from __future__ import annotations

import asyncio
import random
import stat
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge.config import UnitTable
from edge.desk import Desk, Reports
from edge.diary import Diary
from edge.officer_desk import OfficerDesk
from edge.screens.app import PAPERS, make_app
from edge.screens.guard import COOKIE, drop_token, make_token
from edge.screens.hands import hands
from edge.second_factor import FactorBook
from edge.sensors.interface import PenPoint
from edge.sign_on import Purpose
from tests.unit.edge_fakes import NIK, OPERATOR, Bench, FakeDesk, chip, consigned, make_bench
from tests.unit.edge_fakes import PAPERS as NEEDED

TOKEN = "t" * 43
HEADERS = {"X-Rekam-Token": TOKEN}
PRESSED = {"biodata": "confirm", "photo_review": "confirm", "attest": "agree"}  # elsewhere it is "capture"
SESSION = {"nik": NIK, "operator": OPERATOR, "papers": list(NEEDED)}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = make_bench(tmp_path)
    made.register.take_card(consigned())
    yield made
    made.store.close()


def officers_of(bench: Bench, on_duty: str = OPERATOR) -> OfficerDesk:
    """The officers' side of a unit, where one has signed on by finger already; nobody where the name is empty."""
    officers = OfficerDesk(bench.services, FactorBook(bench.store, bench.roster.time), None)
    person, bench.sensors.person = bench.sensors.person, on_duty
    devices = bench.services.sensors
    object.__setattr__(bench.services, "sensors", bench.sensors)  # a test may have put others in their place

    async def sign_on() -> None:
        procedure = await officers.identify(on_duty, Purpose.SIGN_ON)
        await procedure.start("capture", {})
        officers.closed(procedure)

    if on_duty:
        with ThreadPoolExecutor(1) as outside:  # the caller may have a loop of its own
            outside.submit(asyncio.run, sign_on()).result()
    object.__setattr__(bench.services, "sensors", devices)
    bench.sensors.person = person
    bench.sensors.calls.clear()
    return officers


def make_desk(bench: Bench, role: str = "desk", on_duty: str = OPERATOR) -> Desk:
    async def links() -> list[Any]:
        return []

    def status() -> Mapping[str, Any]:
        return {"unit": "desk-a1"}

    return Desk(
        UnitTable.model_validate({"id": "desk-a1", "site": "9901-A", "role": role}),
        bench.services,
        Reports(status, links, lambda _name: None, lambda: 2),
        chip_desk=FakeDesk(chip()),
        officers=officers_of(bench, on_duty),
    )


def client_of(desk: Desk, host: str = "127.0.0.1:8101") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(make_app(desk, TOKEN), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=f"http://{host}")


@pytest.fixture
async def client(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(make_desk(bench)) as made:
        made.headers.update(HEADERS)
        yield made


async def test_every_page_renders_in_indonesian_and_hands_out_the_cookie(bench: Bench) -> None:
    async with client_of(make_desk(bench)) as browser:
        for page in ("kiosk", "desk", "handover", "station", "officers", "status", "proof"):
            answer = await browser.get(f"/{page}")
            assert answer.status_code == 200 and '<html lang="id">' in answer.text
            cookie = answer.headers["set-cookie"]
            assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert (await browser.get("/api/operators")).status_code == 200  # by the cookie alone
        assert (await browser.get("/")).headers["location"] == "/desk"
        assert (await browser.get("/static/unit.css")).status_code == 200
        assert (await browser.get("/docs")).status_code in {404, 422}


async def test_without_the_token_nothing_is_told_or_done(bench: Bench) -> None:
    async with client_of(make_desk(bench)) as stranger:
        for headers in ({}, {"X-Rekam-Token": "wrong"}, {"Cookie": f"{COOKIE}=wrong"}):
            assert (await stranger.get("/api/residents", headers=headers)).status_code == 403
            assert (await stranger.post("/api/session", json=SESSION, headers=headers)).status_code == 403
    assert bench.sensors.calls == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "https://127.0.0.1:8101"},
        {"Host": "["},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
        {"Host": "evil.example:8101"},
    ],
)
async def test_another_sites_page_cannot_act_here(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await client.post("/api/session", json=SESSION, headers=headers)
    assert answer.status_code == 403
    assert (await client.get("/api/session")).status_code == 404


async def test_our_own_page_may_act(client: httpx.AsyncClient) -> None:
    headers = {"Origin": "http://127.0.0.1:8101", "Sec-Fetch-Site": "same-origin"}
    assert (await client.post("/api/session", json=SESSION, headers=headers)).status_code == 201


async def test_a_whole_capture_can_be_driven_by_a_program(client: httpx.AsyncClient, bench: Bench) -> None:
    found = (await client.post("/api/session", json=SESSION)).json()
    assert found["step"] == "biodata" and found["actions"] == ["confirm", "wrong", "cancel"]
    labels = []
    for _ in range(30):
        if found["state"] == "ended":
            break
        labels.append((found["ask"] or {}).get("label_id", found["step"]))
        bench.sensors.person = OPERATOR if found["step"] == "sign_off" else "sari"
        action = PRESSED.get(found["step"], "capture")
        before = found["revision"]
        found = (await client.post(f"/api/session/{action}?wait_s=5")).json()
        assert found["revision"] > before and found["problem"] is None
        assert found["prompt_id"] and found["prompt_en"] and "{" not in found["prompt_id"]
    assert found["result"]["outcome"] == "captured" and found["result"]["status"] == "BIO_CAPTURED"
    assert labels[:5] == ["biodata", "Foto", "photo_review", "Tanda tangan", "Ibu jari kanan"]
    assert found["progress"] == {"done": 9, "total": 9, "fingers": 0}
    assert (await client.post("/api/session/finish")).json()["step"] == "finished"
    assert (await client.get("/api/session")).json()["code"] == "NO_SESSION"


async def test_a_sample_can_be_seen_while_the_session_runs_and_never_after(client: httpx.AsyncClient) -> None:
    await client.post("/api/session", json=SESSION)
    for action in ("confirm", "capture", "confirm", "capture", "capture"):
        await client.post(f"/api/session/{action}?wait_s=5")
    assert (await client.get("/api/session/sample/finger/1.jpg")).content == b"jpeg"
    assert (await client.get("/api/session/sample/finger/2.jpg")).status_code == 404
    await client.post("/api/session/cancel")
    assert (await client.get("/api/session/sample/finger/1.jpg")).status_code == 404


async def test_waiting_for_a_revision_ends_at_once_when_it_is_there(client: httpx.AsyncClient) -> None:
    first = (await client.post("/api/session", json=SESSION)).json()
    assert (await client.get(f"/api/session?after={first['revision']}&wait_s=0.01")).json() == first
    assert (await client.get("/api/session?after=0&wait_s=30")).json() == first


async def test_one_person_at_a_time(client: httpx.AsyncClient) -> None:
    await client.post("/api/session", json=SESSION)
    for path, form in (("/api/session", SESSION), ("/api/handover", {"nik": NIK, "operator": OPERATOR})):
        answer = await client.post(path, json=form)
        assert answer.status_code == 409 and answer.json()["code"] == "BUSY"


async def test_a_handover_can_be_driven_by_a_program(client: httpx.AsyncClient) -> None:
    found = (await client.post("/api/handover", json={"nik": NIK, "operator": OPERATOR})).json()
    assert found["step"] == "old_card" and found["biodata"] is None
    for action, fields in (
        ("old_card", {"state": "surrendered"}), ("read", {}), ("confirm", {}), ("capture", {}), ("sign", {}),
    ):  # fmt: skip
        found = (await client.post(f"/api/handover/{action}?wait_s=5", json=fields)).json()
    assert found["step"] == "berhasil" and found["result"]["outcome"] == "berhasil"
    assert (await client.get("/api/consignments")).json() == []


async def test_the_diary_has_every_application_and_step_and_no_sample(bench: Bench) -> None:
    desk = make_desk(bench)
    desk.diary = Diary(bench.store, bench.clock)
    async with client_of(desk) as program:
        program.headers.update(HEADERS)
        await program.post("/api/session", json=SESSION | {"papers": []})
        await program.post("/api/session", json=SESSION)
        await program.post("/api/session/confirm?wait_s=5")
        await program.post("/api/session/cancel")
        await desk.leave()
        lines = (await program.get("/api/diary")).json()
    assert [line["step"] for line in reversed(lines)] == ["PAPERS_MISSING", "biodata", "photo", "cancelled"]
    assert {(line["nik"], line["operator"], line["work"]) for line in lines} == {(NIK, OPERATOR, "enrolment")}
    assert Diary(bench.store, bench.clock).latest(1)[0].step == "cancelled"


async def test_a_role_does_only_its_own_work(bench: Bench) -> None:
    async with client_of(make_desk(bench, "station")) as station:
        station.headers.update(HEADERS)
        for path, form in (("/api/session", SESSION), ("/api/handover", {"nik": NIK, "operator": OPERATOR})):
            answer = await station.post(path, json=form)
            assert answer.status_code == 404 and answer.json()["code"] == "NOT_THIS_ROLE"
        assert (await station.get("/api/station")).json()["code"] == "NOT_THIS_ROLE"


async def test_a_refusal_says_what_to_do_next_in_both_languages(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/eligibility", json={"nik": NIK, "papers": []})
    assert answer.json()["code"] == "PAPERS_MISSING" and answer.json()["message_id"]
    refused = await client.post("/api/session", json=SESSION | {"papers": []})
    assert refused.status_code == 409 and refused.json()["code"] == "PAPERS_MISSING" and refused.json()["next_step"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/session", b"{"),
        ("/api/session", b"[]"),
        ("/api/session", b'{"nik": "1", "operator": "op-siti"}'),
        ("/api/session", b'{"nik": "9901014107900001", "operator": "../x"}'),
        ("/api/session", b'{"nik": "9901014107900001", "operator": "op-siti", "more": 1}'),
        ("/api/session/capture", b'"x"'),
        ("/api/session/capture", b'{"a": {"b": 1}}'),
        ("/api/handover", b'{"operator": "op-siti"}'),
        ("/api/session/pen", b'{"stream": -1, "sequence": 0, "screen_px": 1280, "reports": []}'),
        ("/api/session/pen", b'{"stream": 1, "sequence": 0, "screen_px": 1e999, "reports": []}'),
        ("/api/session/pen", b'{"stream": 1, "sequence": 0, "screen_px": 1280, "reports": [{"x": 1}]}'),
        (
            "/api/handover/pen",
            b'{"stream": 1, "sequence": 0, "screen_px": 1280, "reports": [{"x": NaN, "y": 0, "p": 0, "t": 0, "s": 1}]}',
        ),
        ("/api/eligibility", b"\xff\xfe"),
    ],
)
async def test_a_wrong_form_is_refused_with_the_field_and_never_its_content(
    client: httpx.AsyncClient, path: str, body: bytes
) -> None:
    answer = await client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422 and answer.json()["code"] == "INVALID"
    assert NIK not in answer.text


async def test_points_of_a_signature_are_shown_in_parts(
    client: httpx.AsyncClient, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.post("/api/session", json=SESSION)
    for action in ("confirm", "capture", "confirm"):
        await client.post(f"/api/session/{action}?wait_s=5")
    points = [PenPoint(n, n, 9, n, True) for n in range(2300)]
    monkeypatch.setattr(bench.sensors, "pen_preview", lambda: points)
    seen: list[list[int]] = []
    for length in (1000, 1000, 300, 0):
        found = (await client.get(f"/api/session/pen?after={len(seen)}")).json()
        assert (found["first"], len(found["points"])) == (len(seen), length)
        seen += found["points"]
    assert [point[0] for point in seen] == list(range(2300))
    del points[5:]  # another signature was begun
    found = (await client.get("/api/session/pen?after=2300")).json()
    assert (found["first"], len(found["points"])) == (0, 5)
    assert (await client.get("/api/session/pen?after=-1")).status_code == 422


async def test_points_of_a_signature_are_taken_where_one_is_asked_for_and_nowhere_else(
    client: httpx.AsyncClient, bench: Bench
) -> None:
    report = {"x": 10.5, "y": 3, "p": 0.5, "t": 1200.25, "s": 1}
    points = {"stream": 7, "sequence": 0, "screen_px": 1280, "reports": [report]}
    assert (await client.post("/api/session/pen", json=points)).status_code == 404
    await client.post("/api/session", json=SESSION)
    assert (await client.post("/api/session/pen", json=points)).json()["code"] == "NOT_ALLOWED"
    for action in ("confirm", "capture", "confirm"):
        await client.post(f"/api/session/{action}?wait_s=5")
    assert (await client.post("/api/session/pen", json=points)).json() == {"taken": False}  # the pad is no screen
    too_many = points | {"reports": [report] * 201}
    assert (await client.post("/api/session/pen", json=too_many)).status_code == 422


async def test_a_huge_request_is_refused_before_it_is_read(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/session", content=b" " * 20_000)).status_code == 413


async def test_no_action_makes_the_unit_stumble(client: httpx.AsyncClient) -> None:
    await client.post("/api/session", json=SESSION)
    generator = random.Random(20_261_123)
    every = ["confirm", "capture", "force", "except", "x", "%00", "..%2f", "withdraw", "recapture", "agree", "retry"]
    for _ in range(120):
        action = generator.choice(every)
        names = generator.sample(["position", "reason", "operator", "state", "q"], generator.randrange(4))
        fields = {name: generator.choice(["", "11", "-1", 10**30, "\u0000", "x" * 200, "op-siti"]) for name in names}
        answer = await client.post(f"/api/session/{action}?wait_s=5", json=fields)
        assert answer.status_code < 500, (action, fields, answer.text)


def test_the_token_is_new_at_each_start_and_ours_alone(tmp_path: Path) -> None:
    first, second = make_token(tmp_path), make_token(tmp_path)
    assert first != second and (tmp_path / "screen.token").read_text() == second
    assert stat.S_IMODE((tmp_path / "screen.token").stat().st_mode) == 0o600
    drop_token(tmp_path)
    drop_token(tmp_path)
    assert not (tmp_path / "screen.token").exists()


def test_the_hands_show_every_finger_once() -> None:
    drawn = hands()
    assert all(drawn.count(f'data-finger="{position}"') == 1 for position in range(1, 11))
    assert set(NEEDED) <= set(PAPERS)
