"""A capture's way through the hub, on SQLite and on PostgreSQL: to a card in hand, and wherever else it may lead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from contract.lifecycle import CardState, IllegalTransition, RecordEvent
from contract.packet import RefusalBody, StepClock
from contract.transfer import Disposition
from hub import checkpoints, clocks, history, ledger
from hub.adjudication import Opinion
from hub.proposals import LostCapture
from hub.records import standing_record
from hub.schema.tables import Card, CardHistory, Case, Packet, Record, RecordHistory, Resident, Unit
from hub.verdicts import Verdict
from tests.hub_world import (
    ADJUDICATORS,
    DATABASES,
    DESK,
    HANDOVER,
    KIOSK,
    OFFICERS,
    OPERATOR,
    SITE_A,
    SITE_B,
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
    signed_off,
    state_of,
)

UID, OTHER_UID = "04A1B2C3D4E5F6", "04A1B2C3D4E5F7"
ANA, BUDI = biodata(1), biodata(2, name="BUDI MISALNYA")


@pytest.fixture(params=DATABASES)
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    yield from build_world(tmp_path, request.param)


def capture(world: World, unit: str = DESK, index: int = 1, impression: int = 1, resident=ANA, **options) -> str:
    return world.send(unit, enrolment(resident, index_fingers(index, impression)), **options)


def card_of(world: World, uid: str) -> Card:
    with world.central.context.database.reading() as session:
        return session.get_one(Card, uid)


def quarantined(world: World) -> list[str]:
    with world.central.context.database.reading() as session:
        return [packet.quarantine for packet in session.scalars(select(Packet)) if packet.quarantine]


def test_a_capture_becomes_one_live_card_and_every_step_is_on_record(world: World) -> None:
    world.register(ANA)
    capture_id = capture(world)
    assert state_of(world, capture_id) == "SENT_FOR_CARD_PRINTING"
    make_card(world, capture_id, UID)
    assert state_of(world, capture_id) == "CARD_PRINTED"
    assert not card_of(world, UID).live
    world.send(HANDOVER, handover(UID, capture_id, ANA.nik))
    assert state_of(world, capture_id) == "CARD_ISSUED"
    card = card_of(world, UID)
    assert (card.state, card.live, card.place) == (CardState.HELD, True, SITE_A)
    with world.central.context.database.reading() as session:
        way = [link.to_state for link in history.way_of(session, RecordHistory, capture_id)]
        assert way[:6] == [
            "BIO_CAPTURED", "PROCESSING", "SENT_FOR_ENROLLMENT", "RECEIVED_AT_CENTRAL", "SENT_FOR_DEDUP",
            "PRINT_READY_RECORD",
        ]  # fmt: skip
        assert history.verify(session, RecordHistory) == 10
        assert history.verify(session, CardHistory) == 7
        balance = ledger.balance_of(session, SITE_K)
        assert (balance.received, balance.left, balance.made, balance.balances) == (50, 49, 1, True)


def test_the_same_packet_sealed_again_changes_nothing(world: World) -> None:
    world.register(ANA)
    capture_id = capture(world)
    before = state_of(world, capture_id)
    world.send(DESK, enrolment(ANA, index_fingers(1)), event_id=capture_id)
    assert state_of(world, capture_id) == before
    make_card(world, capture_id, UID)
    done = world.send(HANDOVER, handover(UID, capture_id, ANA.nik))
    world.send(HANDOVER, handover(UID, capture_id, ANA.nik), event_id=done)
    assert state_of(world, capture_id) == "CARD_ISSUED"
    assert quarantined(world) == []


def test_a_second_nik_of_the_same_person_is_a_duplicate_by_two_decisions_and_the_first_stands(world: World) -> None:
    world.register(ANA, BUDI)
    first = capture(world)
    second = capture(world, KIOSK, 1, 2, BUDI)
    assert state_of(world, second) == "ADJUDICATE_RECORD"
    case = open_case(world, second)
    verdict = Opinion(Verdict.SAME, first, first)
    judge(world, case.id, ADJUDICATORS[0], verdict)
    assert state_of(world, second) == "ADJUDICATE_IN_PROCESS"
    with (
        pytest.raises(ValueError, match="no open seat"),
        world.central.context.database.transaction() as session,
    ):
        world.central.adjudication.decide(session, case.id, ADJUDICATORS[0], verdict, "twice")
    judge(world, case.id, ADJUDICATORS[1], verdict)
    assert state_of(world, second) == "DUPLICATE_RECORD"
    assert state_of(world, first) == "SENT_FOR_CARD_PRINTING"
    with pytest.raises(IllegalTransition), world.central.context.database.transaction() as session:
        world.central.records.move(session, session.get_one(Record, second), RecordEvent.PRINT_DATA_SENT)


def test_a_third_adjudicator_decides_where_two_differ_and_an_appeal_needs_fresh_ones(world: World) -> None:
    world.register(ANA, BUDI)
    first = capture(world)
    second = capture(world, KIOSK, 1, 2, BUDI)
    case = open_case(world, second)
    same = Opinion(Verdict.SAME, first, first)
    judge(world, case.id, ADJUDICATORS[0], same)
    judge(world, case.id, ADJUDICATORS[1], Opinion(Verdict.DIFFERENT))
    assert state_of(world, second) == "ADJUDICATE_IN_PROCESS"
    judge(world, case.id, ADJUDICATORS[2], same)
    assert state_of(world, second) == "DUPLICATE_RECORD"
    with world.central.context.database.transaction() as session:
        appeal = world.central.adjudication.appeal(session, second, OPERATOR)
    with (
        pytest.raises(ValueError, match="fresh eyes"),
        world.central.context.database.transaction() as session,
    ):
        world.central.adjudication.claim(session, appeal.id, ADJUDICATORS[0])
    judge(world, appeal.id, ADJUDICATORS[3], Opinion(Verdict.DIFFERENT))
    assert state_of(world, second) == "ADJUDICATE_IN_PROCESS"


def test_a_second_capture_of_a_nik_goes_to_a_person_and_never_stands(world: World) -> None:
    world.register(ANA)
    first = capture(world)
    second = capture(world, KIOSK, 2)
    assert state_of(world, second) == "ADJUDICATE_RECORD"
    case = open_case(world, second)
    for adjudicator in ADJUDICATORS[:2]:
        judge(world, case.id, adjudicator, Opinion(Verdict.DIFFERENT))
    assert state_of(world, second) == "REQUEST_VALIDATION"
    with world.central.context.database.transaction() as session:
        standing = standing_record(session, session.get_one(Record, first).nik_digest)
        assert standing is not None
        assert standing.capture_id == first
        with pytest.raises(IllegalTransition, match="M14"):
            world.central.records.move(session, session.get_one(Record, second), RecordEvent.REGION_SAYS_RIGHT)


def test_an_impostor_is_turned_away_the_card_is_kept_and_no_new_capture_is_possible(world: World) -> None:
    world.register(ANA, old_card_due=True)
    capture_id = capture(world)
    make_card(world, capture_id, UID)
    gagal = handover(
        UID, capture_id, ANA.nik, berhasil=False, verification=(), old_card="surrendered", old_card_returned=True,
        receipt_signature=b"",
    )  # fmt: skip
    world.send(HANDOVER, gagal)
    assert state_of(world, capture_id) == "CARD_PRINTED"
    assert card_of(world, UID).state == CardState.RETAINED
    again = capture(world, DESK, 2)
    assert state_of(world, again) == "ADJUDICATE_RECORD"
    world.send(HANDOVER, handover(UID, capture_id, ANA.nik, old_card="surrendered"))
    assert state_of(world, capture_id) == "CARD_PRINTED"
    assert not card_of(world, UID).live
    assert any("cannot be handed over" in reason for reason in quarantined(world))


def test_an_earlier_capture_that_arrives_late_calls_the_printed_card_back(world: World) -> None:
    world.register(ANA, BUDI)
    early = world.envelope(DESK, enrolment(BUDI, index_fingers(1, 2)))
    sealed_early = world.seal(early)
    world.clock.pass_ms(3_600_000)
    with world.central.context.database.transaction() as session:
        seen = checkpoints.tick(session, world.central.context).digest()
    late = capture(world, KIOSK, checkpoint=seen)
    make_card(world, late, UID)
    world.clock.pass_ms(1000)
    world.arrive(sealed_early, DESK)
    world.central.work_off()
    assert state_of(world, early.id) == "ADJUDICATE_RECORD"
    case = open_case(world, early.id)
    # The early capture carries no checkpoint, so the bounds overlap and the adjudicators have to say which was first.
    for adjudicator in ADJUDICATORS[:2]:
        judge(world, case.id, adjudicator, Opinion(Verdict.SAME, late, early.id))
    assert state_of(world, early.id) in ("PRINT_READY_RECORD", "SENT_FOR_CARD_PRINTING")
    assert state_of(world, late) == "ADJUDICATE_RECORD"
    card = card_of(world, UID)
    assert (card.live, card.recalled) == (False, True)
    world.send(HANDOVER, handover(UID, late, ANA.nik))
    assert state_of(world, late) == "ADJUDICATE_RECORD"
    assert not card_of(world, UID).live
    assert any("recalled" in reason for reason in quarantined(world))


def test_a_nik_is_freed_only_by_two_persons_and_its_tombstone_goes_first(world: World) -> None:
    world.register(ANA)
    body = enrolment(ANA, index_fingers(1)).model_copy(update={"signoff": None})
    capture_id = world.send(DESK, body)
    assert state_of(world, capture_id) == "ENROLL_FAILURE_AT_CENTRAL"
    proposals, database = world.central.proposals, world.central.context.database
    with pytest.raises(IllegalTransition, match="M23"), database.transaction() as session:
        record = session.get_one(Record, capture_id)
        world.central.records.move(session, record, RecordEvent.DELETION_AUTHORISED)
    with database.transaction() as session:
        made = proposals.propose(session, "deletion", capture_id, "cannot be repaired", OFFICERS[0])
    with pytest.raises(ValueError, match="Nobody confirms"), database.transaction() as session:
        proposals.decide(session, made.id, OFFICERS[0], confirm=True)
    with database.transaction() as session:
        proposals.decide(session, made.id, OFFICERS[1], confirm=True)
    assert state_of(world, capture_id) == "UNREGISTERED"
    with database.reading() as session:
        assert session.scalars(select(Resident)).one().standing is None
    again = capture(world)
    assert state_of(world, again) == "SENT_FOR_CARD_PRINTING"


def test_a_capture_declared_lost_that_turns_up_goes_to_a_person(world: World) -> None:
    world.register(ANA)
    envelope = world.envelope(DESK, enrolment(ANA, index_fingers(1)))
    proposals, database = world.central.proposals, world.central.context.database
    with database.transaction() as session:
        lost = LostCapture(capture_id=envelope.id, nik=ANA.nik, unit=DESK)
        made = proposals.propose_loss(session, lost, "the unit was stolen", OFFICERS[0])
    with database.transaction() as session:
        proposals.decide(session, made.id, OFFICERS[1], confirm=True)
    assert state_of(world, envelope.id) == "UNREGISTERED"
    replacement = capture(world, KIOSK)
    assert state_of(world, replacement) == "SENT_FOR_CARD_PRINTING"
    world.arrive(world.seal(envelope), DESK)
    world.central.work_off()
    assert state_of(world, envelope.id) == "ADJUDICATE_RECORD"
    with database.reading() as session:
        standing = standing_record(session, session.get_one(Record, envelope.id).nik_digest)
        assert standing is not None
        assert standing.capture_id == replacement


def test_a_failed_capture_is_searched_after_the_same_capture_comes_again(world: World) -> None:
    world.register(ANA)
    body = enrolment(ANA, index_fingers(1))
    capture_id = world.send(DESK, body.model_copy(update={"signoff": None}))
    assert state_of(world, capture_id) == "ENROLL_FAILURE_AT_CENTRAL"
    world.send(DESK, body, event_id=capture_id)
    assert state_of(world, capture_id) == "SENT_FOR_CARD_PRINTING"


def test_the_station_that_refuses_spoils_or_reads_back_wrongly_never_makes_a_printed_record(world: World) -> None:
    world.register(ANA)
    capture_id = capture(world)
    job = job_of(world, capture_id)
    confirm_job(world, job, accepted=False)
    assert state_of(world, capture_id) == "SENT_FOR_CARD_PRINTING"
    with world.central.context.database.transaction() as session:
        world.central.orders.send_again(session, job.job_id)
    confirm_job(world, job)
    confirm_job(world, job)
    assert state_of(world, capture_id) == "CARD_SHIPPED"
    world.send(STATION, personalisation(job, UID, outcome="spoiled", reason="ribbon tore"))
    assert (state_of(world, capture_id), card_of(world, UID).state) == ("CARD_SHIPPED", "spoiled")
    world.send(STATION, personalisation(job, OTHER_UID, read_back_sha256=bytes(32)))
    assert state_of(world, capture_id) == "CARD_SHIPPED"
    world.send(STATION, personalisation(job, "04A1B2C3D4E5F8", released_by=None))
    assert state_of(world, capture_id) == "CARD_SHIPPED"
    assert [reason[-6:] for reason in quarantined(world)] == ["(M35).", "(M34)."]
    with world.central.context.database.reading() as session:
        assert ledger.balance_of(session, SITE_K).left == 47
    world.send(STATION, personalisation(job, "04A1B2C3D4E5F9"))
    assert state_of(world, capture_id) == "CARD_PRINTED"


def test_nothing_is_issued_from_the_wrong_desk_or_without_the_old_card(world: World) -> None:
    world.register(ANA, old_card_due=True)
    capture_id = capture(world)
    make_card(world, capture_id, UID)
    world.send(DESK, handover(UID, capture_id, ANA.nik, old_card="surrendered"))
    world.send(HANDOVER, handover(OTHER_UID, capture_id, ANA.nik, old_card="surrendered"))
    world.send(HANDOVER, handover(UID, capture_id, BUDI.nik, old_card="surrendered"))
    assert state_of(world, capture_id) == "CARD_PRINTED"
    world.send(HANDOVER, handover(UID, capture_id, ANA.nik, old_card="none"))
    assert state_of(world, capture_id) == "CARD_PRINTED"
    assert not card_of(world, UID).live
    assert len(quarantined(world)) == 4


def test_an_appealed_refusal_goes_to_adjudicators_without_making_a_record(world: World) -> None:
    world.register(ANA, BUDI)
    first = capture(world)
    refusal = RefusalBody(biodata=BUDI, similar_capture=first, value=80.0, appealed=True, operator=OPERATOR)
    refusal_id = world.send(DESK, refusal)
    case = open_case(world, refusal_id)
    for adjudicator in ADJUDICATORS[:2]:
        judge(world, case.id, adjudicator, Opinion(Verdict.DIFFERENT))
    with world.central.context.database.reading() as session:
        assert session.get(Record, refusal_id) is None
        assert session.get_one(Case, case.id).verdict == "different"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda sealed: sealed[: len(sealed) // 2],
        lambda sealed: sealed[:500] + bytes([sealed[500] ^ 1]) + sealed[501:],
        lambda sealed: b"",
        lambda sealed: b"\xff" * 2000,
    ],
    ids=["truncated", "one bit flipped", "empty", "garbage"],
)
def test_bytes_that_are_no_packet_are_kept_for_a_person_and_change_no_record(world: World, spoil) -> None:
    world.register(ANA)
    sealed = spoil(world.seal(world.envelope(DESK, enrolment(ANA))))
    receipt = world.arrive(sealed or b"\x00", DESK)
    world.central.work_off()
    assert receipt.disposition is Disposition.QUARANTINED
    assert len(quarantined(world)) == 1
    with world.central.context.database.reading() as session:
        assert session.scalars(select(Record)).all() == []


def test_a_packet_of_an_unknown_signer_or_in_another_units_name_is_quarantined(world: World) -> None:
    world.register(ANA)
    envelope = world.envelope(DESK, enrolment(ANA))
    assert world.arrive(world.seal(envelope, "stranger"), DESK).disposition is Disposition.QUARANTINED
    assert world.arrive(world.seal(envelope, KIOSK), KIOSK).disposition is Disposition.QUARANTINED
    stolen = world.envelope(DESK, enrolment(ANA, index_fingers(1)))
    world.send(DESK, enrolment(ANA, index_fingers(1)), event_id=stolen.id)
    other = world.envelope(KIOSK, enrolment(ANA, index_fingers(1)), stolen.id)
    assert world.arrive(world.seal(other), KIOSK).disposition is Disposition.QUARANTINED
    assert len(quarantined(world)) == 3


def test_a_suspended_units_capture_is_admitted_by_two_persons_only(world: World) -> None:
    world.register(ANA)
    database, proposals = world.central.context.database, world.central.proposals
    with database.transaction() as session:
        session.get_one(Unit, DESK).state = "suspended"
    envelope = world.envelope(DESK, enrolment(ANA, index_fingers(1)))
    receipt = world.arrive(world.seal(envelope), DESK)
    world.central.work_off()
    assert receipt.disposition is Disposition.QUARANTINED
    with database.transaction() as session:
        made = proposals.propose(session, "admission", receipt.pid, "the unit was found again", OFFICERS[0])
    with database.transaction() as session:
        proposals.decide(session, made.id, OFFICERS[1], confirm=True)
    world.central.work_off()
    assert state_of(world, envelope.id) == "SENT_FOR_CARD_PRINTING"


def test_a_capture_from_another_site_than_its_units_is_the_regions_to_repair(world: World) -> None:
    world.register(ANA)
    capture_id = capture(world, site=SITE_B)
    assert state_of(world, capture_id) == "ENROLL_FAILURE_AT_REGIONAL"


def test_a_seat_that_nobody_fills_goes_to_the_next_adjudicator(world: World) -> None:
    world.register(ANA, BUDI)
    first = capture(world)
    case = open_case(world, capture(world, KIOSK, 1, 2, BUDI))
    adjudication, database = world.central.adjudication, world.central.context.database
    with database.transaction() as session:
        for adjudicator in ADJUDICATORS[:2]:
            adjudication.claim(session, case.id, adjudicator)
        with pytest.raises(ValueError, match="enough adjudicators"):
            adjudication.claim(session, case.id, ADJUDICATORS[2])
    world.clock.pass_ms(5 * 3_600_000)
    for adjudicator in ADJUDICATORS[2:]:
        judge(world, case.id, adjudicator, Opinion(Verdict.SAME, first, first))
    assert state_of(world, case.capture_id) == "DUPLICATE_RECORD"


def test_the_clocks_of_a_capture_are_measured_against_the_standards(world: World) -> None:
    world.register(ANA)
    start = world.clock.wall_ms() - 300_000

    def step(name: str, start_s: int, end_s: int) -> StepClock:
        return StepClock(step=name, started_ms=start + start_s * 1000, ended_ms=start + end_s * 1000)

    steps = (step("biodata", 0, 60), step("fingers", 60, 200), step("seal", 200, 310), step("queue", 310, 311))
    body = signed_off(enrolment(ANA, index_fingers(1)).model_copy(update={"steps": steps}))
    capture_id = world.send(DESK, body)
    make_card(world, capture_id, UID)
    world.clock.pass_ms(3_600_000)
    done = handover(UID, capture_id, ANA.nik, steps=(step("verify", 4000, 4030), step("receipt", 4030, 4100)))
    world.send(HANDOVER, done)
    with world.central.context.database.reading() as session:
        laps = {lap.name: (lap.duration_ms // 1000, lap.within) for lap in clocks.laps_of(session, capture_id)}
        assert laps["papers"] == (60, True)
        assert laps["capture to sent"] == (250, False)
        assert laps["verification"] == (30, True)
        assert laps["archive and handover"] == (70, False)
        assert laps["the whole"] == (3900, True)
        assert laps["enrolment: queue"] == (1, True)
        stalled = clocks.stalls(session, world.central.context.settings.deadlines, world.clock.wall_ms())
    assert stalled == []


def test_a_record_that_sits_still_is_reported(world: World) -> None:
    world.register(ANA)
    capture_id = capture(world)
    world.clock.pass_ms(25 * 3_600_000)
    with world.central.context.database.reading() as session:
        (stall,) = clocks.stalls(session, world.central.context.settings.deadlines, world.clock.wall_ms())
    assert (stall.capture_id, stall.state) == (capture_id, "SENT_FOR_CARD_PRINTING")
