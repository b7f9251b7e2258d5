"""The hub's guards: what no table of states can see, and that these tests notice guards that accept everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.orm import Session

from contract.errors import DeviceError
from contract.lifecycle import RECORD, CardEvent, CardState, IllegalTransition, RecordEvent, RecordState, advance
from hub import checkpoints, history
from hub.ledger import Ledger
from hub.records import Records
from hub.schema.tables import Card, PrintOrder, Proposal, Record, RecordHistory, Resident
from tests.hub_world import DATABASES, DESK, HANDOVER, OFFICERS, SITE_K, STATION, World, biodata, build_world

R, E = RecordState, RecordEvent
ANA = biodata(1)
MakeRecords = Callable[[World], Records]


@pytest.fixture(params=DATABASES)
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    yield from build_world(tmp_path, request.param)


def accept_all(state: RecordState, event: RecordEvent) -> RecordState:
    return next((target for (_, known), target in RECORD.items() if known is event), state)


def no_guard(_session: Session, _record: Record, _event: RecordEvent) -> None:
    return None


def real(world: World) -> Records:
    return Records(world.clock, advance)


def table_open(world: World) -> Records:
    return Records(world.clock, accept_all)


def guard_open(world: World) -> Records:
    return Records(world.clock, advance, no_guard)


def everything_open(world: World) -> Records:
    return Records(world.clock, accept_all, no_guard)


def new_record(world: World, capture_id: str = "") -> Record:
    now = world.clock.wall_ms()
    vault = world.central.context.vault
    return Record(
        capture_id=capture_id or world.new_id(),
        nik_digest=vault.nik_digest(ANA.nik),
        site="9901-A",
        unit=DESK,
        pid="0" * 64,
        boot_id=bytes(16),
        monotonic_ms=1,
        sequence=1,
        wall_ms=now,
        earliest_ms=0,
        latest_ms=now,
        received_ms=now,
        biodata=b"",
    )


def arrived(world: World, session: Session, records: Records) -> Record:
    record = new_record(world)
    records.add(session, record)
    records.arrive(session, record, DESK)
    return record


def tried(records: Records, session: Session, record: Record, *events: RecordEvent) -> None:
    """Make the moves that are allowed, and go on over those that are refused."""
    for event in events:
        try:
            records.move(session, record, event)
        except IllegalTransition:
            continue


def second_capture_never_becomes_printable(world: World, records: Records) -> None:
    with world.central.context.database.transaction() as session:
        arrived(world, session, records)
        second = arrived(world, session, records)
        tried(records, session, second, E.CHECKS_PASSED, E.NO_CANDIDATE, E.PRINT_DATA_SENT)
        assert second.state not in (R.PRINT_READY_RECORD, R.SENT_FOR_CARD_PRINTING)


def a_nik_is_not_freed_by_one_person(world: World, records: Records) -> None:
    with world.central.context.database.transaction() as session:
        record = arrived(world, session, records)
        tried(records, session, record, E.CHECKS_FAILED, E.DELETION_AUTHORISED)
        resident = session.get_one(Resident, record.nik_digest)
        assert (record.state, resident.standing) == (R.ENROLL_FAILURE_AT_CENTRAL, record.capture_id)


def nothing_is_printed_that_was_not_print_ready(world: World, records: Records) -> None:
    with world.central.context.database.transaction() as session:
        record = arrived(world, session, records)
        tried(records, session, record, E.CHECKS_PASSED, E.SIMILAR_FOUND, E.PRINT_DATA_SENT, E.PRINT_DATA_CONFIRMED)
        tried(records, session, record, E.CARD_RELEASED, E.HANDED_OVER)
        assert record.state == R.ADJUDICATE_RECORD


def a_failed_handover_leads_nowhere_else(world: World, records: Records) -> None:
    with world.central.context.database.transaction() as session:
        record = arrived(world, session, records)
        tried(records, session, record, E.CHECKS_PASSED, E.NO_CANDIDATE, E.PRINT_DATA_SENT, E.PRINT_DATA_CONFIRMED)
        tried(records, session, record, E.CARD_RELEASED, E.HANDOVER_FAILED)
        assert record.state == R.CARD_PRINTED
        tried(records, session, record, E.CAPTURE_COMPLETED, E.PACKET_ENTERED, E.CHECKS_FAILED, E.DELETION_AUTHORISED)
        assert record.state == R.CARD_PRINTED


SCENARIOS = (
    second_capture_never_becomes_printable,
    a_nik_is_not_freed_by_one_person,
    nothing_is_printed_that_was_not_print_ready,
    a_failed_handover_leads_nowhere_else,
)
# Which opened part each scenario must notice; with both open every one of them is broken.
NOTICES: dict[Callable[[World, Records], None], MakeRecords] = {
    second_capture_never_becomes_printable: guard_open,
    a_nik_is_not_freed_by_one_person: guard_open,
    nothing_is_printed_that_was_not_print_ready: table_open,
    a_failed_handover_leads_nowhere_else: table_open,
}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_hub_keeps(world: World, scenario: Callable[[World, Records], None]) -> None:
    world.register(ANA)
    scenario(world, real(world))


@pytest.mark.parametrize("opened", [None, everything_open], ids=["one part open", "both open"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_table_or_guard_that_accepts_everything_is_noticed_by(
    tmp_path: Path, scenario: Callable[[World, Records], None], opened: MakeRecords | None
) -> None:
    for world in build_world(tmp_path, "sqlite"):
        world.register(ANA)
        with pytest.raises((AssertionError, IllegalTransition)):
            scenario(world, (opened or NOTICES[scenario])(world))


@pytest.mark.parametrize("table", ["record_history", "card_history", "blank_movement", "checkpoint"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET {} = {}", "DELETE FROM {}"])
def test_the_database_itself_refuses_to_change_a_history(world: World, table: str, verb: str) -> None:
    world.register(ANA)
    with world.central.context.database.transaction() as session:
        checkpoints.tick(session, world.central.context)
        arrived(world, session, real(world))
        made = card(world, session, "04A1B2C3D4E5F6")
        world.central.ledger.enter(session, made, "op")
        world.central.ledger.move(session, made, CardEvent.CHIP_ENCODED)
    column = {"blank_movement": "count", "checkpoint": "time_ms"}.get(table, "at_ms")
    with pytest.raises(DatabaseError), world.central.context.database.transaction() as session:
        session.execute(text(verb.format(table, column, 1)))


def card(world: World, session: Session, uid: str) -> Card:
    job_id, capture_id = world.new_id(), world.new_id()
    record = new_record(world, capture_id)
    world.central.records.add(session, record)
    session.add(
        PrintOrder(
            job_id=job_id,
            capture_id=capture_id,
            card_number=uid,
            station=STATION,
            desk=HANDOVER,
            state="confirmed",
            made_ms=1,
            changed_ms=1,
            attestation=b"",
            job=b"",
        )
    )
    session.flush()
    return Card(
        card_uid=uid,
        card_number=uid,
        capture_id=capture_id,
        nik_digest=record.nik_digest,
        job_id=job_id,
        made_at=SITE_K,
        place=SITE_K,
    )


def test_two_cards_of_one_nik_are_never_live_even_by_hand(world: World) -> None:
    world.register(ANA)
    with pytest.raises(IntegrityError), world.central.context.database.transaction() as session:
        for uid in ("04A1B2C3D4E5F6", "04A1B2C3D4E5F7"):
            made = card(world, session, uid)
            world.central.ledger.enter(session, made, "op")
            made.state, made.live = CardState.HELD, True
            session.flush()


def test_a_card_goes_live_only_when_its_record_is_issued(world: World) -> None:
    world.register(ANA)
    ledger = Ledger(world.central.context, lambda state, _event: state)
    with pytest.raises(IllegalTransition, match="M51"), world.central.context.database.transaction() as session:
        made = card(world, session, "04A1B2C3D4E5F6")
        ledger.enter(session, made, "op")
        made.state = CardState.HELD
        ledger.activate(session, made)


def test_the_database_refuses_a_proposal_confirmed_by_its_proposer(world: World) -> None:
    world.register(ANA)
    with pytest.raises(IntegrityError), world.central.context.database.transaction() as session:
        session.add(
            Proposal(
                id=world.new_id(),
                action="deletion",
                subject="x",
                reason="y",
                proposed_by=OFFICERS[0],
                proposed_ms=1,
                decided_by=OFFICERS[0],
                decided_ms=2,
                confirmed=True,
            )
        )


def test_a_changed_line_breaks_the_chain(tmp_path: Path) -> None:
    for world in build_world(tmp_path, "sqlite"):
        world.register(ANA)
        with world.central.context.database.transaction() as session:
            arrived(world, session, real(world))
            assert history.verify(session, RecordHistory) == 4
            session.execute(text("DROP TRIGGER record_history_no_update"))
            session.execute(text("UPDATE record_history SET actor = 'somebody else' WHERE sequence = 2"))
            session.expire_all()
            with pytest.raises(DeviceError, match="link 2"):
                history.verify(session, RecordHistory)


def test_more_blanks_than_there_are_cannot_leave(world: World) -> None:
    world.register(ANA)
    with world.central.context.database.transaction() as session:
        world.central.ledger.receive_blanks(session, SITE_K, 10, "delivery", "op")
        with pytest.raises(ValueError, match="More blanks"):
            world.central.ledger.receive_blanks(session, SITE_K, -61, "moved", "op")
