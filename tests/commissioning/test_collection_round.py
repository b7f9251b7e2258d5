"""A round of visits: whom to visit by when, what of it is on the media, and when a visit is done (M19)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.dispatch import decode, encode
from contract.errors import RemoteError
from contract.export_list import ExportList, file_name, list_of, read_list
from contract.identifiers import pid_of
from contract.technician import PacketFate, StatusOrder, StatusResult, UnitRow, Verb
from contract.transfer import UplinkStatus
from edge.media import export_packets, leave_list
from edge.spool import Spool
from hub import presence
from hub.schema.tables import Unit
from provisioning.collection import collect
from provisioning.collection_round import VisitState, plan
from tests.commissioning.desk_world import DeskWorld
from tests.commissioning.stage import UNIT
from tests.unit.transfer_keys import STORE_KEY, SetClock

HOUR_MS, NOW = 3_600_000, 1_800_000_000_000
WEEK_MS = 7 * 24 * HOUR_MS


def row(unit: str, site: str, pending: int, visit_in_h: int, age_s: int = 3600) -> UnitRow:
    return UnitRow(
        unit=unit, site=site, role="desk", state="in service", online=False, seen_ms=1, software="", serial="",
        pending=pending, desired_version=0, reported_version=0, oldest_age_s=age_s, pending_bytes=pending * 1_000_000,
        visit_by_ms=NOW + visit_in_h * HOUR_MS if pending > 0 else 0,
    )  # fmt: skip


def exported(unit: str, *contents: bytes, at_ms: int = NOW) -> ExportList:
    return list_of(unit, "9901-A", at_ms, [pid_of(content) for content in contents])


def test_the_site_that_presses_most_comes_first_and_what_can_wait_is_left_out() -> None:
    rows = [row("a1", "S-1", 1, 60), row("b1", "S-2", 2, 50), row("a2", "S-1", 3, -2), row("c1", "S-3", 5, 300),
            row("d1", "S-4", 0, 0), row("e1", "S-5", -1, 0)]  # fmt: skip
    visits = plan(rows, [], {}, NOW, NOW + WEEK_MS)
    assert [(visit.unit, visit.state) for visit in visits] == [
        ("a2", VisitState.LATE), ("a1", VisitState.DUE), ("b1", VisitState.DUE),
    ]  # fmt: skip
    assert sum(visit.pending_bytes for visit in visits) == 6_000_000


def test_a_visit_is_done_when_everything_that_the_unit_said_it_held_is_at_the_centre() -> None:
    fates = {pid_of(b"one"): PacketFate.RELEASED, pid_of(b"two"): PacketFate.ABSENT}
    unit = [row("a1", "S-1", 2, 10)]

    def state(*contents: bytes, **more: int) -> tuple[VisitState, int]:
        (visit,) = plan(unit, [exported("a1", *contents, **more)], fates, NOW, NOW)
        return visit.state, visit.absent

    assert state(b"one") == (VisitState.DUE, 0)  # one of two was copied
    assert state(b"one", b"two") == (VisitState.CARRIED, 1)
    fates[pid_of(b"two")] = PacketFate.QUARANTINED
    assert state(b"one", b"two") == (VisitState.DONE, 0)
    older = exported("a1", b"one", b"two", at_ms=NOW - 5)
    (visit,) = plan(unit, [exported("a1", b"one"), older], fates, NOW, NOW)
    assert visit.state is VisitState.DUE  # the newest export of a unit counts
    assert plan([row("a1", "S-1", 0, 0)], [older], fates, NOW, NOW)[0].state is VisitState.DONE


def test_an_export_of_before_what_waits_now_was_captured_is_no_visit() -> None:
    """A tour's media keep the lists of earlier rounds."""
    fates = {pid_of(content): PacketFate.RELEASED for content in (b"one", b"two", b"three")}
    earlier = exported("a1", b"one", b"two", b"three", at_ms=NOW - WEEK_MS)
    (visit,) = plan([row("a1", "S-1", 2, -1, age_s=3600)], [earlier], fates, NOW, NOW)
    assert (visit.state, visit.collected) == (VisitState.LATE, 3)
    assert plan([row("a1", "S-1", 2, -1, age_s=8 * 86_400)], [earlier], fates, NOW, NOW)[0].state is VisitState.DONE
    assert plan([row("a1", "S-1", 0, 0)], [earlier], fates, NOW, NOW)[0].state is VisitState.DONE


def test_the_list_goes_with_its_packets_from_unit_to_tour(tmp_path: Path) -> None:
    media, tour = tmp_path / "usb", tmp_path / "tour"
    media.mkdir()
    spool = Spool(tmp_path / "spool", STORE_KEY, SetClock(), 10**9, 10**4)
    pids = [spool.put(content, kind="enrolment", subject_id="c") for content in (b"one", b"two")]
    export_packets(spool, media)
    leave_list(spool, media, "desk-a1", "9901-A", NOW)
    spool.close()
    found = collect(media, tour)
    assert set(found.lists[0].packets) == set(pids) and found.damaged == ()
    assert collect(tour, None).lists == found.lists
    (media / file_name("desk-a1")).write_bytes(encode(exported("desk-a1", b"one", at_ms=NOW - 1)))
    collect(media, tour)
    assert collect(tour, None).lists == found.lists  # an older visit takes no newer one's place
    (media / file_name("desk-b2")).write_bytes(encode(exported("desk-a1", b"one")))
    (media / file_name("desk-c3")).write_bytes(b"\xa0")
    assert len(collect(media, tour).damaged) == 2


def test_the_hub_says_until_when_what_waits_may_wait(tmp_path: Path) -> None:
    world = DeskWorld(tmp_path)
    status = UplinkStatus(
        database="CONNECTED", correlation_id="9901-A", queue="DISCONNECTED", scheduler="RUNNING",
        records_sent_since_restart=0, pending=3, pending_bytes=4_000_000, oldest_age_s=3600,
    )  # fmt: skip
    with world.database.transaction() as session:
        presence.take_uplink(session, UNIT, encode(status), world.clock.wall_ms())
        assert session.get(Unit, UNIT) is not None
    world.clock.now_ms += HOUR_MS
    (found,) = decode(StatusResult, world.order(Verb.STATUS, StatusOrder(unit=UNIT)).body).rows
    deadline_h = world.settings.deadlines.data_stuck_h
    assert found.pending_bytes == 4_000_000
    assert found.visit_by_ms == world.clock.now_ms + int((deadline_h - 2) * HOUR_MS)


def test_list_bytes() -> None:
    item = ExportList(unit="u", site="s", at_ms=1, pids=bytes(32))
    assert encode(item).hex() == (
        "a4" "6470696473" "5820" + "00" * 32 + "6473697465" "6173" "64756e6974" "6175" "6561745f6d73" "01"
    )  # fmt: skip
    assert read_list(encode(item)).packets == ("00" * 32,)


@given(st.binary(max_size=200))
def test_garbage_is_no_list(garbage: bytes) -> None:
    with pytest.raises(RemoteError):
        read_list(garbage)
    with pytest.raises(RemoteError):
        read_list(encode(ExportList(unit="u", site="s", at_ms=1, pids=bytes(31))))
