"""A stolen unit and a dismissed operator lose what they had; leases go on; on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract import topics
from contract.dispatch import RegisterPage, SiteKey, decode
from contract.errors import RemoteError
from contract.lifecycle import IllegalTransition, UnitEvent
from contract.seal import unlock
from hub import dispatches
from hub.schema.tables import Unit
from tests.hub_world import (
    DATABASES,
    DESK,
    HANDOVER,
    HEAD,
    OFFICERS,
    SITE_A,
    STATION,
    World,
    biodata,
    build_world,
    confirm_job,
    enrolment,
    index_fingers,
    job_of,
    opened,
    said,
    state_of,
)

ANA = biodata(1)


@pytest.fixture(params=DATABASES)
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    for built in build_world(tmp_path, request.param):
        built.register(ANA)
        yield built


def order(world: World, unit: str, event: UnitEvent, by: str = OFFICERS[0]) -> None:
    with world.central.context.database.transaction() as session:
        world.central.fleet.move_unit(session, unit, event, by, "stolen on the road")


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
