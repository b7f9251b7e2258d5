"""What becomes of cards that were not handed over: back, destroyed, counted; and of a holder turned away for good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from contract.errors import RemoteError
from hub import ledger
from hub.adjudication import Opinion
from hub.console.application import create_application
from hub.ledger import card_known
from hub.schema.tables import Case, Record, Resident
from hub.verdicts import Verdict
from tests.hub_world import (
    ADJUDICATORS,
    DATABASES,
    DESK,
    HANDOVER,
    HEAD,
    OFFICERS,
    OPERATOR,
    SECRET,
    SITE_A,
    SITE_K,
    STATION,
    World,
    biodata,
    build_world,
    confirm_job,
    enrolment,
    handover,
    index_fingers,
    job_of,
    judge,
    make_card,
    open_case,
    personalisation,
    state_of,
)

ANA = biodata(1)
UIDS = ("04A1B2C3D4E5F6", "04A1B2C3D4E5F7", "04A1B2C3D4E5F8", "04A1B2C3D4E5F9")


@pytest.fixture(params=DATABASES)
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    for built in build_world(tmp_path, request.param):
        built.register(ANA)
        yield built


def captured(world: World) -> str:
    return world.send(DESK, enrolment(ANA, index_fingers(1)))


def turned_away(world: World, capture_id: str, uid: str) -> None:
    world.clock.pass_ms(1000)
    world.central.work_off()
    make_card(world, capture_id, uid)
    gagal = handover(uid, capture_id, ANA.nik, berhasil=False, verification=(), receipt_signature=b"")
    world.send(HANDOVER, gagal)


def card(world: World, uid: str) -> tuple[str, str]:
    with world.central.context.database.reading() as session:
        found = card_known(session, uid)
        return found.state, found.place


def sent_back(world: World, uid: str, by: str = OFFICERS[0]) -> None:
    with world.central.context.database.transaction() as session:
        world.central.returns.send_back(session, uid, by, "gagal, letter given back")


def destroyed(world: World, uid: str, by: str) -> None:
    with world.central.context.database.transaction() as session:
        world.central.returns.destroy(session, uid, by, "defaced and shredded")


def test_a_retained_card_goes_back_is_destroyed_by_somebody_else_and_the_holder_gets_another(world: World) -> None:
    capture_id = captured(world)
    turned_away(world, capture_id, UIDS[0])
    assert card(world, UIDS[0]) == ("retained", SITE_A)
    with pytest.raises(RemoteError):
        destroyed(world, UIDS[0], HEAD)
    sent_back(world, UIDS[0])
    assert card(world, UIDS[0]) == ("returned", SITE_K)
    with pytest.raises(RemoteError, match="second officer"):
        destroyed(world, UIDS[0], OFFICERS[0])
    with pytest.raises(RemoteError, match="may not act"):
        destroyed(world, UIDS[0], OPERATOR)
    destroyed(world, UIDS[0], HEAD)
    assert (card(world, UIDS[0])[0], state_of(world, capture_id)) == ("destroyed", "SENT_FOR_CARD_PRINTING")
    world.clock.pass_ms(1000)
    world.central.work_off()
    make_card(world, capture_id, UIDS[1])
    world.send(HANDOVER, handover(UIDS[1], capture_id, ANA.nik))
    assert state_of(world, capture_id) == "CARD_ISSUED"
    with world.central.context.database.reading() as session:
        balance = ledger.balance_of(session, SITE_K)
        assert (balance.left, balance.made, balance.balances) == (48, 2, True)


def test_a_spoiled_card_is_destroyed_by_another_than_its_maker_and_prints_nothing_anew(world: World) -> None:
    capture_id = captured(world)
    job = job_of(world, capture_id)
    confirm_job(world, job)
    world.send(STATION, personalisation(job, UIDS[0], outcome="spoiled", reason="ribbon tore", operator=HEAD))
    with pytest.raises(RemoteError, match="second officer"):
        destroyed(world, UIDS[0], HEAD)
    destroyed(world, UIDS[0], OFFICERS[0])
    assert (card(world, UIDS[0])[0], state_of(world, capture_id)) == ("destroyed", "CARD_SHIPPED")


def test_a_holder_turned_away_three_times_goes_before_adjudicators_and_keeps_the_capture(world: World) -> None:
    capture_id = captured(world)
    for uid in UIDS[:3]:
        turned_away(world, capture_id, uid)
        sent_back(world, uid)
        destroyed(world, uid, HEAD)
        world.central.work_off()
    case = open_case(world, capture_id)
    assert "turned away" in case.cause
    world.central.work_off()
    for adjudicator in ADJUDICATORS[:2]:
        judge(world, case.id, adjudicator, Opinion(Verdict.VALIDATION))
    assert state_of(world, capture_id) == "SENT_FOR_CARD_PRINTING"
    with world.central.context.database.reading() as session:
        assert session.scalars(select(Resident.standing)).one() == capture_id
        assert len(session.scalars(select(Record)).all()) == len(session.scalars(select(Case)).all()) == 1
    world.clock.pass_ms(1000)
    world.central.work_off()
    make_card(world, capture_id, UIDS[3])
    world.send(HANDOVER, handover(UIDS[3], capture_id, ANA.nik))
    assert state_of(world, capture_id) == "CARD_ISSUED"


def test_officers_do_all_this_at_the_console(world: World) -> None:
    capture_id = captured(world)
    turned_away(world, capture_id, UIDS[0])
    client = TestClient(create_application(world.central), follow_redirects=False)

    def log_in(operator: str) -> None:
        assert client.post("/api/login", json={"operator": operator, "secret": SECRET}).status_code == 200

    log_in(OFFICERS[0])
    assert UIDS[0] in client.get("/cards").text
    form = {"card_uid": UIDS[0], "reason": "gagal, letter given back"}
    assert client.post("/api/cards/return", json=form).json()["state"] == "returned"
    assert client.post("/api/cards/destroy", json=form).status_code == 409
    order = {"unit": DESK, "order": "suspend", "reason": "stolen on the road"}
    assert client.post("/api/units", json=order).json()["state"] == "suspended"
    dismissed = {"operator": OPERATOR, "revoked": True, "reason": "dismissed today"}
    assert client.post("/api/operators", json=dismissed).json()["revoked"] is True
    assert "/api/units" in client.get("/actions").text and "/api/operators" in client.get("/operators").text
    log_in(HEAD)
    assert "/api/cards/destroy" in client.get("/cards").text
    assert client.post("/api/cards/destroy", json=form).json()["state"] == "destroyed"
    assert client.post("/api/units", json=order).status_code == 409
