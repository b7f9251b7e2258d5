"""The centre notices by itself which unit to visit: stuck data by its age, silence, certificates, broken links."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import cbor2
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from structlog.testing import capture_logs

from contract.dispatch import decode, encode
from contract.errors import RemoteError
from contract.lifecycle import UnitState as UnitLife
from contract.technician import StatusResult, UnitRow
from contract.transfer import MESSAGE_BYTES_MAX, LinkCheck, LinkHop, UnitState, UplinkStatus
from contract.unit_alerts import ALERT_WORDS, UnitAlert
from hub import fleet_watch, presence, technician_views
from hub import service as hub_service
from hub.certificates import CertificateState
from hub.console import fleet_views
from hub.console.application import create_application
from hub.schema.commissioning_tables import Certificate
from hub.schema.tables import Unit
from provisioning.unit_tables import fleet_table, print_unit
from tests.hub_world import DATABASES, DESK, KIOSK, OFFICERS, SECRET, World, biodata, build_world
from tests.unit.test_hub_survives_loops import service_of

HOUR_S = 3600
HOUR_MS = 3_600_000
WHOLE = LinkCheck(at_ms=1, hops=(LinkHop(name="jaringan (TCP)", address="h:1", reachable=True, round_trip_ms=2.5),))
BROKEN = LinkCheck(
    at_ms=1, hops=(*WHOLE.hops, LinkHop(name="pusat (hub)", address="hub", reachable=False, problem="x"))
)


def said(**changes: object) -> UplinkStatus:
    """What a unit that is well says of its uplink."""
    well = UplinkStatus(
        database="CONNECTED", correlation_id="9901-A", queue="CONNECTED", scheduler="RUNNING",
        records_sent_since_restart=7, hub_online=True,
    )  # fmt: skip
    return well.model_copy(update=changes)


class Fleet:
    """A hub with its setup's units, what they say, and the clock."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.register(biodata(1))  # brings the fleet with it
        self.database, self.context = world.central.context.database, world.central.context

    def hear(self, unit: str = DESK, **changes: object) -> None:
        with self.database.transaction() as session:
            presence.take_uplink(session, unit, encode(said(**changes)), world_ms(self.world))

    def certify(self, state: CertificateState, left_h: float, serial: str = "a1") -> None:
        now_ms = world_ms(self.world)
        with self.database.transaction() as session:
            session.merge(
                Certificate(
                    serial=serial, holder=DESK, state=state, encoded=b"", key_home="file", from_ms=0,
                    until_ms=now_ms + int(left_h * HOUR_MS), issued_ms=now_ms,
                )
            )  # fmt: skip

    def move(self, state: UnitLife) -> None:
        with self.database.transaction() as session:
            session.get_one(Unit, DESK).state = state

    def watched(self, unit: str = DESK) -> fleet_watch.Watched:
        with self.database.reading() as session:
            found = fleet_watch.look_at_all(session, self.context.settings.deadlines, world_ms(self.world))
        return next(watched for watched in found if watched.unit.id == unit)

    def alerts(self) -> set[str]:
        return {alert.value for alert in self.watched().alerts}

    def row(self) -> UnitRow:
        with self.database.reading() as session:
            encoded = encode(technician_views.status(session, self.context, DESK, 0, ""))
        return decode(StatusResult, encoded, 56 * 1024).rows[0]


def world_ms(world: World) -> int:
    return world.central.context.clock.wall_ms()


@pytest.fixture(params=DATABASES)
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    for world in build_world(tmp_path, request.param):
        yield Fleet(world)


def test_a_unit_that_is_well_needs_nobody(fleet: Fleet) -> None:
    fleet.hear(links=WHOLE)
    fleet.certify(CertificateState.ACTIVE, 24 * 20)
    assert fleet.alerts() == set()


def test_what_waits_is_noticed_by_its_age_and_goes_on_ageing_while_its_unit_is_silent(fleet: Fleet) -> None:
    fleet.hear(pending=3, oldest_age_s=7 * HOUR_S)
    assert fleet.alerts() == set()
    fleet.world.clock.pass_ms(HOUR_MS)
    assert fleet.alerts() == {"data-waits"} and fleet.watched().oldest_age_s == 8 * HOUR_S
    fleet.world.clock.pass_ms(40 * HOUR_MS)
    assert fleet.alerts() == {"data-stuck", "silent"}
    assert fleet.watched().alerts[0] is UnitAlert.DATA_STUCK
    fleet.hear(pending=0)
    assert fleet.alerts() == set()


def test_what_a_retired_unit_still_holds_is_not_forgotten(fleet: Fleet) -> None:
    fleet.hear(pending=1, oldest_age_s=1, held=1, scheduler="STOPPED")
    fleet.move(UnitLife.RETIRED)
    fleet.world.clock.pass_ms(48 * HOUR_MS)
    assert fleet.alerts() == {"data-stuck", "data-held"}


@pytest.mark.parametrize(
    ("state", "left_h", "alert"),
    [
        (CertificateState.ACTIVE, 24 * 8 + 1, None),
        (CertificateState.ACTIVE, 24 * 8 - 1, "certificate-ends"),
        (CertificateState.ACTIVE, -1, "certificate-ended"),
        (CertificateState.REVOKED, 24 * 20, "certificate-ended"),
    ],
)
def test_certificates_are_noticed_before_they_end(
    fleet: Fleet, state: CertificateState, left_h: float, alert: str | None
) -> None:
    fleet.hear()
    fleet.certify(state, left_h)
    assert fleet.alerts() == ({alert} if alert else set())


def test_a_broken_hop_and_a_stopped_uplink_are_seen_from_the_centre(fleet: Fleet) -> None:
    fleet.hear(links=BROKEN, database="DISCONNECTED")
    assert fleet.alerts() == {"link-broken", "uplink-stopped"}
    assert fleet.row().broken_hop == "pusat (hub)"


def test_a_unit_of_before_and_a_row_of_before_are_still_understood(fleet: Fleet) -> None:
    old = said(pending=1, oldest_age_s=9 * HOUR_S).model_dump(exclude={"links"})
    with fleet.database.transaction() as session:
        unit = session.get_one(Unit, DESK)
        unit.uplink, unit.seen_ms = UplinkStatus.model_validate(old).model_dump_json(exclude={"links"}), 1
    assert fleet.watched().oldest_age_s == 9 * HOUR_S
    assert "data-waits" in fleet.alerts()


def test_an_alert_is_written_once_when_it_comes_and_once_when_it_goes(fleet: Fleet) -> None:
    book, stuck = fleet_watch.AlertLog(), {(DESK, UnitAlert.DATA_STUCK)}
    fleet.hear(pending=1, oldest_age_s=49 * HOUR_S)
    assert book.note([fleet.watched()]) == (stuck, set())
    assert book.note([fleet.watched()]) == (set(), set())
    fleet.hear()
    assert book.note([fleet.watched()]) == (set(), stuck)


async def test_the_running_hub_writes_its_alerts_but_hears_its_units_first(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_service, "FLEET_WATCH_INTERVAL_S", 0.05)
    fleet.hear()
    fleet.world.clock.pass_ms(72 * HOUR_MS)
    service = service_of()
    service._context, service._alerts = fleet.context, fleet_watch.AlertLog()
    with capture_logs() as lines:
        looking = asyncio.create_task(service._watch_fleet())
        await asyncio.sleep(0)
        fleet.hear(pending=1, oldest_age_s=50 * HOUR_S)
        await looking
    told = [(line["event"], line["alert"]) for line in lines if line.get("unit") == DESK]
    assert told == [("unit needs a visit", "data-stuck")]


def test_the_page_and_the_tool_say_where_to_go_and_what_to_do(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    presence_of_desk = UnitState(state="online", boot=1, software="rekam-edge 9.8", sequence=1, time_ms=1)
    with fleet.database.transaction() as session:
        presence.take_state(session, DESK, encode(presence_of_desk), world_ms(fleet.world))
    fleet.hear(pending=4, oldest_age_s=49 * HOUR_S, held=2, links=BROKEN, last_error="<b>cut</b> [red]")
    client = TestClient(create_application(fleet.world.central), follow_redirects=False)
    assert client.get("/units").status_code == 303 and client.get("/api/units").status_code == 401
    client.post("/api/login", json={"operator": OFFICERS[0], "secret": SECRET})
    page, part = client.get("/units").text, client.get("/units", headers={"hx-request": "true"}).text
    for text in ("rekam-edge 9.8", "pusat (hub)", "2 disisihkan", "2 hari", ALERT_WORDS[UnitAlert.DATA_STUCK].do_id):
        assert text in page and text in part
    assert "<html" in page and "<html" not in part and biodata(1).name not in page
    found = client.get("/api/units").json()
    assert (found["online"], found["waiting"], found["oldest_age_s"], found["grave"]) == (1, 4, 49 * HOUR_S, 1)
    row = fleet.row()
    Console(width=200).print(fleet_table([row]))
    print_unit(row)
    told = capsys.readouterr().out
    for text in ("4, oldest 2 d", "data stuck", "scheduler RUNNING", "2 ms", "<b>cut</b> [red]", "'rekam-edge export'"):
        assert text in told


def test_a_page_of_too_many_units_keeps_those_that_need_somebody(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_views, "UNITS_SHOWN_MAX", 1)
    for unit in (DESK, KIOSK):
        fleet.hear(unit)
    fleet.hear(KIOSK, links=BROKEN)
    with fleet.database.transaction() as session:
        for unit in session.query(Unit):
            unit.seen_ms = world_ms(fleet.world)
        session.flush()
        shown = fleet_views.fleet(session, fleet.world.central)
    assert [unit["id"] for site in shown["sites"] for unit in site["units"]] == [KIOSK]
    assert shown["left_out"] == shown["units"] - 1


def test_every_alert_has_words_in_both_languages() -> None:
    assert set(ALERT_WORDS) == set(UnitAlert)
    assert all(words.what_id and words.what_en and words.do_id and words.do_en for words in ALERT_WORDS.values())


@given(check=st.recursive(st.none() | st.integers() | st.text(max_size=5) | st.floats(), st.lists))
@settings(max_examples=80, deadline=None)
def test_no_link_check_but_a_whole_one_is_taken(check: object) -> None:
    hop = WHOLE.hops[0].model_dump() | {"round_trip_ms": check}
    for links in (check, {"at_ms": 1, "hops": check}, {"at_ms": 1, "hops": [hop] * 9}, {"at_ms": 1, "hops": []}):
        if links is not None:
            with pytest.raises(RemoteError):
                decode(UplinkStatus, cbor2.dumps(said().model_dump() | {"links": links}), MESSAGE_BYTES_MAX)
