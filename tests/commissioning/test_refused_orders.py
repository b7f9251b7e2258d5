"""What the hub refused a technician is remembered: who asked for what, about which unit, and why not."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from contract.commissioning_problems import Problem
from contract.dispatch import decode, encode
from contract.identifiers import uuid7
from contract.technician import (
    AssignOrder,
    Order,
    RefusedOrder,
    RefusedResult,
    StatusOrder,
    UnitOrder,
    Verb,
    sign_order,
)
from hub import history
from hub.refused_orders import HOURLY_MAX
from hub.schema.commissioning_tables import TechnicianHistory
from provisioning.technician_identity import load_identity
from tests.commissioning.desk_world import DAY_MS, HOUR_MS, DeskWorld
from tests.commissioning.stage import LOCAL, TECHNICIAN, UNIT


@pytest.fixture(params=["sqlite", "postgresql"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> DeskWorld:
    return DeskWorld(tmp_path, request.param)


def refused(world: DeskWorld, technician: str = TECHNICIAN) -> RefusedResult:
    return decode(RefusedResult, world.order(Verb.REFUSED, RefusedOrder(), technician).body)


def revoke(reason: str = "not mine at all") -> UnitOrder:
    return UnitOrder(unit=UNIT, reason=reason)


def test_a_refused_order_is_in_the_book_with_who_what_and_why(world: DeskWorld) -> None:
    assert not world.order(Verb.REVOKE, revoke(), LOCAL).done
    assert not world.order(Verb.ASSIGN, AssignOrder(unit=UNIT, site="9999-Z")).done
    stale = Order(id=uuid7(world.clock), technician=TECHNICIAN, verb=Verb.STATUS, at_ms=0, body=encode(StatusOrder()))
    key = load_identity(world.folder / "technicians" / TECHNICIAN).order
    world.desks.technicians.on_order(TECHNICIAN, stale.id, sign_order(stale, key))  # who only reads leaves nothing
    sited, foreign = refused(world).rows
    assert (foreign.technician, foreign.verb, foreign.about) == (LOCAL, "revoke", UNIT)
    assert foreign.problem is Problem.NO_RIGHTS and "does not work at" in foreign.why
    assert (sited.technician, sited.problem) == (TECHNICIAN, Problem.SITE_UNKNOWN)
    with world.database.reading() as session:
        assert history.verify(session, TechnicianHistory) == 2
    for change in ("UPDATE technician_history SET actor = 'x'", "DELETE FROM technician_history"):
        with pytest.raises(DatabaseError), world.database.transaction() as session:
            session.execute(text(change))


def test_who_works_at_some_sites_sees_their_own_refusals_only(world: DeskWorld) -> None:
    world.order(Verb.REVOKE, revoke(), LOCAL)
    world.order(Verb.ASSIGN, AssignOrder(unit=UNIT, site="9999-Z"))
    assert [row.technician for row in refused(world, LOCAL).rows] == [LOCAL]


def test_an_order_said_again_and_again_is_written_down_once_and_a_late_yes_stays_a_yes(world: DeskWorld) -> None:
    identity = load_identity(world.folder / "technicians" / LOCAL)
    order = Order(
        id=uuid7(world.clock), technician=LOCAL, verb=Verb.REVOKE, at_ms=world.clock.wall_ms(), body=encode(revoke())
    )
    for _ in range(5):
        world.desks.technicians.on_order(LOCAL, order.id, sign_order(order, identity.order))
    assert len(refused(world).rows) == 1
    world.clock.now_ms += 2 * DAY_MS
    world.desks.technicians.on_order(LOCAL, order.id, sign_order(order, identity.order))
    assert len(refused(world).rows) == 1


def test_orders_without_end_fill_no_book_and_their_number_is_kept(world: DeskWorld) -> None:
    for _ in range(HOURLY_MAX + 20):
        world.order(Verb.REVOKE, revoke(), LOCAL)
    with world.database.reading() as session:
        assert history.verify(session, TechnicianHistory) == HOURLY_MAX
    world.clock.now_ms += HOUR_MS
    world.order(Verb.REVOKE, revoke(), LOCAL)
    assert refused(world).rows[0].left_out_before == 20 and refused(world).more


def test_a_refusal_with_the_longest_words_fits_its_page(world: DeskWorld) -> None:
    for number in range(60):
        reason = UnitOrder(unit="u" * 60 + f"{number:04d}", reason="語" * 200)
        world.order(Verb.REVOKE, reason, TECHNICIAN)
    found = refused(world)
    assert len(found.rows) == 50 and found.more and found.rows[0].about.endswith("0059")
