"""A stolen unit and a dismissed operator lose what they had; leases go on; on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from contract import topics
from contract.dispatch import RegisterPage, Roster, SiteKey, decode
from contract.errors import RemoteError
from contract.lifecycle import IllegalTransition, UnitEvent
from contract.seal import load_opening_key, load_public_key, open_sealed, unlock
from hub import dispatches
from hub.context import HUB_KEY_ID
from hub.schema.tables import Outbox, Unit
from tests.hub_world import (
    DATABASES,
    DAY_MS,
    DESK,
    HANDOVER,
    HEAD,
    OFFICERS,
    OPERATOR,
    SITE_A,
    STATION,
    World,
    biodata,
    build_world,
    confirm_job,
    enrolment,
    index_fingers,
    job_of,
    private_key,
    private_pem,
    public_bytes,
    state_of,
)

ANA = biodata(1)


@pytest.fixture(params=DATABASES)
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    for built in build_world(tmp_path, request.param):
        built.register(ANA)
        yield built


def said(world: World, topic: topics.Topic, **names: str) -> bytes:
    """What the broker holds on a retained topic."""
    with world.central.context.database.reading() as session:
        return session.scalars(select(Outbox.payload).where(Outbox.topic == topic.at(**names))).one()


def opened(world: World, unit: str, topic: topics.Topic) -> bytes:
    hub = load_public_key(public_bytes("dispatch", Encoding.PEM), HUB_KEY_ID)
    key = load_opening_key(private_pem(private_key(unit)), unit)
    return open_sealed(said(world, topic, unit=unit), key, {HUB_KEY_ID: hub}.get).payload


def order(world: World, unit: str, event: UnitEvent, by: str = OFFICERS[0]) -> None:
    with world.central.context.database.transaction() as session:
        world.central.fleet.move_unit(session, unit, event, by, "stolen on the road")


def roster(world: World, unit: str) -> set[str]:
    return {entry.operator for entry in decode(Roster, opened(world, unit, topics.DN_ROSTER)).operators}


def test_a_stolen_units_site_goes_on_under_a_key_that_it_never_gets(world: World) -> None:
    with world.central.context.database.transaction() as session:
        dispatches.post_stale_pages(session, world.central.context)
    before = decode(SiteKey, opened(world, DESK, topics.DN_SITE_KEY))
    order(world, DESK, UnitEvent.SUSPENDED)
    assert said(world, topics.DN_SITE_KEY, unit=DESK) == said(world, topics.DN_ROSTER, unit=DESK) == b""
    after = decode(SiteKey, opened(world, HANDOVER, topics.DN_SITE_KEY))
    assert after.epoch == before.epoch + 1
    page = said(world, topics.SITE_REGISTER, site=SITE_A, page="p0000")
    assert int.from_bytes(page[:4]) == after.epoch
    name = topics.SITE_REGISTER.at(site=SITE_A, page="p0000").encode()
    assert decode(RegisterPage, unlock(page[4:], after.key, name)).entries[0].biodata == ANA
    with pytest.raises(RemoteError):
        unlock(page[4:], before.key, name)
    world.central.enrol_fleet(*_files(world))
    assert said(world, topics.DN_SITE_KEY, unit=DESK) == b""
    order(world, DESK, UnitEvent.RESUMED)
    assert decode(SiteKey, opened(world, DESK, topics.DN_SITE_KEY)) == after


def _files(world: World):
    from hub.fleet import Register
    from tests.hub_world import fleet

    return fleet(), Register(residents=())


def test_a_suspended_station_answers_nothing_and_its_job_waits(world: World) -> None:
    capture_id = world.send(DESK, enrolment(ANA, index_fingers(1)))
    job = job_of(world, capture_id)
    order(world, STATION, UnitEvent.SUSPENDED)
    assert said(world, topics.DN_JOB, unit=STATION) == b""
    with pytest.raises(RemoteError, match="suspended"):
        confirm_job(world, job)
    assert state_of(world, capture_id) == "SENT_FOR_CARD_PRINTING"
    order(world, STATION, UnitEvent.RESUMED)
    assert said(world, topics.DN_JOB, unit=STATION)
    confirm_job(world, job)
    assert state_of(world, capture_id) == "CARD_SHIPPED"


def test_a_retired_unit_stays_retired_and_only_a_dc_officer_retires_it(world: World) -> None:
    with pytest.raises(RemoteError, match="may not act"):
        order(world, DESK, UnitEvent.RETIRED, by=HEAD)
    order(world, DESK, UnitEvent.RETIRED)
    with pytest.raises(IllegalTransition):
        order(world, DESK, UnitEvent.RESUMED)
    with world.central.context.database.reading() as session:
        assert session.get_one(Unit, DESK).state == "retired"


def test_a_revoked_operator_leaves_every_roster_and_may_come_back(world: World) -> None:
    fleet, database = world.central.fleet, world.central.context.database
    assert OPERATOR in roster(world, DESK)
    with database.transaction() as session:
        fleet.set_revoked(session, OPERATOR, OFFICERS[0], "dismissed today", revoked=True)
        with pytest.raises(RemoteError, match="your own"):
            fleet.set_revoked(session, OFFICERS[0], OFFICERS[0], "by mistake", revoked=True)
    assert OPERATOR not in roster(world, DESK) | roster(world, HANDOVER) | roster(world, STATION)
    with database.transaction() as session:
        fleet.set_revoked(session, OPERATOR, OFFICERS[0], "reinstated", revoked=False)
    assert OPERATOR in roster(world, DESK)


def test_a_hub_that_runs_for_months_renews_every_lease_in_time(world: World) -> None:
    def renewed() -> int:
        with world.central.context.database.transaction() as session:
            return world.central.fleet.renew_leases(session)

    assert renewed() == 0
    order(world, DESK, UnitEvent.SUSPENDED)
    world.clock.pass_ms(DAY_MS)
    assert (renewed(), renewed()) == (3, 0)
    entry = decode(Roster, opened(world, HANDOVER, topics.DN_ROSTER)).operators[0]
    assert entry.lease_until_ms == world.clock.wall_ms() + 30 * DAY_MS
    assert said(world, topics.DN_ROSTER, unit=DESK) == b""
