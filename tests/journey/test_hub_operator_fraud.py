"""Who tries to become two operators, to approve themselves, or to take over somebody who is not theirs to change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from contract.dispatch import encode
from contract.errors import RemoteError
from contract.operators import SignOnCount, SignOns
from hub import rosters, sign_ons
from hub.console import operator_views
from hub.console.sessions import Visitor
from hub.fleet import Fleet, FleetOperator, Register, Role
from hub.schema.operator_tables import OperatorEnrolment
from hub.schema.tables import Operator, Site
from tests.hub_world import (
    DAY_MS,
    DESK,
    OFFICERS,
    OPERATOR,
    SECOND,
    SITE_A,
    SITE_B,
    World,
    biodata,
    build_world,
    hub_statement,
)
from tests.journey.test_hub_operators import NEW, Follower, approve, body, events, fingers_of, quarantined, revoke

ELSEWHERE = "op-jauh"
OTHER_HEAD = "head-dua"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    for built in build_world(tmp_path, "sqlite"):
        built.register(biodata(1))
        yield built


def enter(world: World, name: str, roles: str, sites: str, index: int | None = None) -> None:
    """An operator as setup knows them, with the fingers of a synthetic person where an index is given."""
    vault = world.central.context.vault
    with world.central.context.database.transaction() as session:
        templates = fingers_of(index)[1] if index is not None else {}
        session.add(
            Operator(
                id=name, name=name, roles=roles, sites=sites, public_key=b"", lease_days=7, console_secret="",
                templates=vault.lock(cbor2.dumps(templates), "operator-templates", name),
                private_key=vault.lock(b"", "operator-key", name), revoked=False,
            )
        )  # fmt: skip


def other_region(world: World) -> None:
    with world.central.context.database.transaction() as session:
        session.get_one(Site, SITE_B).region = "far away"


def similar(world: World, enrolment_id: str) -> str:
    with world.central.context.database.reading() as session:
        return session.get_one(OperatorEnrolment, enrolment_id).similar


def page(world: World, who: str, *roles: str) -> dict[str, Any]:
    with world.central.context.database.reading() as session:
        return operator_views.operators(session, world.central, Visitor(who, who, frozenset(roles)))


def test_nobody_approves_a_second_account_of_their_own_fingers(world: World) -> None:
    enter(world, OTHER_HEAD, "section-head", SITE_A, index=9)
    enrolled = world.send(DESK, body(NEW, 9))
    with pytest.raises(RemoteError, match="themselves"):
        approve(world, enrolled, OTHER_HEAD)
    approve(world, enrolled, OFFICERS[0])


def test_the_same_fingers_under_two_names_are_seen_before_either_is_approved(world: World) -> None:
    world.send(DESK, body(NEW, 9))
    assert similar(world, world.send(DESK, body("op-dua", 9))) == NEW


def test_other_fingers_for_a_known_name_are_seen_however_often_they_are_sent(world: World) -> None:
    approve(world, world.send(DESK, body(NEW, 7)), OFFICERS[0])
    for _ in range(2):
        world.send(DESK, body(NEW, 9))
    shown = page(world, OFFICERS[0], "dc-officer")["pending"]
    assert [item["other_fingers"] for item in shown] == [True, True]


def test_nobody_is_called_as_a_machine_is_and_no_machine_is_shut_out_as_a_person(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (DESK, "hub"):
        world.send(DESK, body(name, 9))
    assert len(quarantined(world)) == 2 and page(world, OFFICERS[0], "dc-officer")["pending"] == []
    enter(world, DESK, "operator", SITE_A)  # a fleet file that names both alike
    barred: list[str] = []
    monkeypatch.setattr(world.central.fleet, "bar", lambda _session, holder, _reason: barred.append(holder))
    revoke(world, DESK)
    revoke(world, SECOND)
    assert barred == [SECOND]


def test_who_was_revoked_elsewhere_is_recognised_under_another_name(world: World) -> None:
    other_region(world)
    enter(world, ELSEWHERE, "operator", SITE_B, index=9)
    revoke(world, ELSEWHERE)
    assert similar(world, world.send(DESK, body(NEW, 9))) == ELSEWHERE


@pytest.mark.parametrize(
    ("roles", "sites"), [("dc-officer", "*"), ("operator", SITE_B), ("operator,technician", SITE_A)]
)
def test_a_section_head_takes_over_nobody_whose_rights_are_not_theirs_to_give(
    world: World, roles: str, sites: str
) -> None:
    other_region(world)
    enter(world, OTHER_HEAD, "section-head", SITE_A)
    enter(world, ELSEWHERE, roles, sites)
    with pytest.raises(RemoteError):
        approve(world, world.send(DESK, body(ELSEWHERE, 9)), OTHER_HEAD)
    with world.central.context.database.reading() as session:
        found = session.get_one(Operator, ELSEWHERE)
        assert (found.roles, found.sites, found.approved_ms) == (roles, sites, None)


def test_an_operator_of_the_console_alone_can_work_at_units_once_approved(world: World) -> None:
    enter(world, ELSEWHERE, "operator", SITE_A)
    approve(world, world.send(DESK, body(ELSEWHERE, 9)), OFFICERS[0])
    assert ELSEWHERE in Follower(world, DESK).listen().names


def test_an_operator_too_many_for_a_units_roster_is_refused_with_a_reason(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrolled = world.send(DESK, body())
    names = Follower(world, DESK).listen().names
    monkeypatch.setattr(rosters, "OPERATORS_MAX", len(names))
    monkeypatch.setattr(operator_views, "OPERATORS_MAX", len(names))
    assert {site["code"]: site["full"] for site in page(world, OFFICERS[0], "dc-officer")["sites"]}[SITE_A]
    with pytest.raises(RemoteError, match="sudah penuh") as caught:
        approve(world, enrolled, OFFICERS[0])
    assert "Cabut" in caught.value.next_step
    with world.central.context.database.reading() as session:
        assert session.get_one(OperatorEnrolment, enrolled).state == "pending" and session.get(Operator, NEW) is None
    approve(world, world.send(DESK, body(OPERATOR)), OFFICERS[0], sites=(SITE_A,))  # taken anew: one as before
    revoke(world, SECOND)
    approve(world, enrolled, OFFICERS[0])  # there is room again …
    central = world.central
    with central.context.database.transaction() as session:
        made = central.proposals.propose(session, "reinstatement", SECOND, "was a mistake", OFFICERS[0])
    with central.context.database.transaction() as session, pytest.raises(RemoteError, match="sudah penuh"):
        central.proposals.decide(session, made.id, OFFICERS[1], confirm=True)  # … and none for who comes back


def test_a_fleet_file_with_too_many_operators_stops_nobody_and_is_seen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Follower(world, DESK).listen().names
    monkeypatch.setattr(rosters, "OPERATORS_MAX", len(before))
    operators = tuple(operator_of(world, name) for name in ("aa-first", "zz-last"))
    with capture_logs() as said:
        world.central.enrol_fleet(Fleet(sites=(), units=(), operators=operators), Register(residents=()))
    (alarm,) = [line for line in said if line["event"] == "alarm" and SITE_A in line["message"]]
    assert alarm["operators"] == ["aa-first", "zz-last"] and "Revoke" in alarm["next_step"]
    unit = Follower(world, DESK).listen()
    assert unit.names == before  # whoever was there stays, whatever they are called
    shown = page(world, OFFICERS[0], "dc-officer")
    assert shown["left_out_of"][SITE_A] == ["aa-first", "zz-last"]
    revoke(world, SECOND)
    assert unit.hear_delta().names == before - {SECOND} | {"aa-first"}
    assert page(world, OFFICERS[0], "dc-officer")["left_out_of"][SITE_A] == ["zz-last"]


def operator_of(world: World, name: str) -> FleetOperator:
    """Another operator of setup's file, at all sites, with somebody's key."""
    with world.central.context.database.reading() as session:
        known = session.get_one(Operator, OPERATOR)
        private = world.central.context.vault.unlock(known.private_key, "operator-key", OPERATOR)
        return FleetOperator(
            id=name, name=name, roles=(Role.OPERATOR,), sites=("*",), public_key=known.public_key, private_key=private
        )


def test_an_enrolment_waits_in_sight_however_many_come_after_it_elsewhere(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_region(world)
    enter(world, OTHER_HEAD, "section-head", SITE_A)
    world.send(DESK, body())
    monkeypatch.setattr(operator_views, "SHOWN_MAX", 2)
    for number in range(3):
        world.clock.now_ms += 1000
        world.send(DESK, body(f"op-{number}", 9))
    with world.central.context.database.transaction() as session:
        for row in session.scalars(select(OperatorEnrolment).where(OperatorEnrolment.operator != NEW)):
            row.site = SITE_B
    shown = page(world, OTHER_HEAD, "section-head")
    assert [item["operator"] for item in shown["pending"]] == [NEW]


def test_what_officers_did_stays_in_sight_whatever_leases_are_signed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoke(world, SECOND)
    monkeypatch.setattr(operator_views, "HISTORY_MAX", 3)
    monkeypatch.setattr(operator_views, "SHOWN_MAX", 3)
    for _ in range(3):
        world.clock.now_ms += 2 * DAY_MS
        with world.central.context.database.transaction() as session:
            assert world.central.operators.renew(session)
    shown = page(world, OFFICERS[0], "dc-officer")
    assert (SECOND, "revoked") in [(line["operator"], line["event"]) for line in shown["history"]]


def test_what_a_hub_clock_ahead_has_signed_is_signed_anew(world: World) -> None:
    right_ms = world.clock.now_ms
    for at_ms in (right_ms + 365 * DAY_MS, right_ms):
        world.clock.now_ms = at_ms
        with world.central.context.database.transaction() as session:
            world.central.operators.renew(session)
    lease = Follower(world, DESK).listen().entry(OPERATOR).rights(hub_statement(), SITE_A)
    assert right_ms < lease.until_ms <= right_ms + 30 * DAY_MS


def test_a_unit_counts_sign_ons_of_nobody_who_does_not_work_there(world: World) -> None:
    enter(world, ELSEWHERE, "operator", SITE_B)
    counts = tuple(
        SignOnCount(operator=name, last_ms=world.clock.wall_ms(), signed_on=0, failed=9, locked=True)
        for name in sorted((ELSEWHERE, OPERATOR))
    )
    with world.central.context.database.transaction() as session:
        sign_ons.take(session, world.central.context, DESK, encode(SignOns(counts=counts)))
    assert events(world, ELSEWHERE) == []
    assert [event for event, _ in events(world, OPERATOR)][-2:] == ["sign-on failed", "PIN locked"]
