"""Rules that nothing at the hub may break, each tried against: on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from contract.errors import RemoteError
from contract.lifecycle import IllegalTransition, RecordEvent
from contract.packet import Biodata
from hub import checkpoints, history
from hub.adjudication import Cause, Opinion
from hub.schema.tables import CaseCandidate, Operator, Packet, Record, RecordHistory
from hub.verdicts import Verdict
from tests.hub_world import (
    ADJUDICATORS,
    DATABASES,
    DESK,
    HANDOVER,
    HEAD,
    KIOSK,
    OFFICERS,
    OPERATOR,
    SITE_B,
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
ANA, BUDI, CITRA = biodata(1), biodata(2, name="BUDI MISALNYA"), biodata(3, name="CITRA UMPAMA")
SAME, DIFFERENT, VALIDATION = Verdict.SAME, Opinion(Verdict.DIFFERENT), Opinion(Verdict.VALIDATION)


@pytest.fixture(params=DATABASES)
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    yield from build_world(tmp_path, request.param)


def capture(
    world: World,
    unit: str = DESK,
    index: int = 1,
    impression: int = 1,
    *,
    resident: Biodata = ANA,
    checkpoint: bytes = b"",
) -> str:
    return world.send(unit, enrolment(resident, index_fingers(index, impression)), checkpoint=checkpoint)


def quarantined(world: World) -> list[str]:
    with world.central.context.database.reading() as session:
        return [packet.quarantine for packet in session.scalars(select(Packet)) if packet.quarantine]


def judged(world: World, capture_id: str, opinion: Opinion, by: tuple[str, ...] = ADJUDICATORS[:2]) -> None:
    case = open_case(world, capture_id)
    for adjudicator in by:
        judge(world, case.id, adjudicator, opinion)


def region(world: World, capture_id: str, event: RecordEvent) -> None:
    with world.central.context.database.transaction() as session:
        world.central.adjudication.region_answers(session, capture_id, event, HEAD)


def deleted(world: World, capture_id: str) -> None:
    proposals, database = world.central.proposals, world.central.context.database
    with database.transaction() as session:
        made = proposals.propose(session, "deletion", capture_id, "cannot be repaired", OFFICERS[0])
    with database.transaction() as session:
        proposals.decide(session, made.id, OFFICERS[1], confirm=True)


def late_before_its_earlier(world: World) -> tuple[str, str, bytes]:
    """BUDI's capture waits on the road while the same person is captured as ANA: (late's id, early's id, its seal)."""
    world.register(ANA, BUDI, CITRA)
    early = world.envelope(DESK, enrolment(BUDI, index_fingers(1, 2)))
    sealed = world.seal(early)
    world.clock.pass_ms(3_600_000)
    with world.central.context.database.transaction() as session:
        seen = checkpoints.tick(session, world.central.context).digest()
    return capture(world, KIOSK, checkpoint=seen), early.id, sealed


def test_a_later_capture_that_the_region_was_asked_about_cannot_slip_to_the_printer(world: World) -> None:
    late, early, sealed = late_before_its_earlier(world)
    database = world.central.context.database
    with database.transaction() as session:
        record = session.get_one(Record, late)
        world.central.records.move(session, record, RecordEvent.EARLIER_CAPTURE_ARRIVED)
        world.central.adjudication.open(session, late, Cause.SIMILAR, [])
    judged(world, late, VALIDATION)
    assert state_of(world, late) == "REQUEST_VALIDATION"
    world.clock.pass_ms(1000)
    world.arrive(sealed, DESK)
    world.central.work_off()
    judged(world, early, Opinion(SAME, late, early))
    for event in (RecordEvent.REGION_SAYS_RIGHT, RecordEvent.REGION_SAYS_SEARCH):
        with pytest.raises(RemoteError, match="M27"):
            region(world, late, event)
    with pytest.raises(IllegalTransition, match="M27"), database.transaction() as session:
        world.central.records.move(session, session.get_one(Record, late), RecordEvent.REGION_SAYS_RIGHT)
    region(world, late, RecordEvent.REGION_SAYS_ADJUDICATE)
    with database.reading() as session:
        assert session.get(CaseCandidate, (open_case(world, late).id, early)) is not None
    judged(world, late, Opinion(SAME, early, early), ADJUDICATORS[2:])
    assert state_of(world, late) == "DUPLICATE_RECORD"


def test_a_later_capture_whose_other_case_ends_well_is_not_printed_for_that(world: World) -> None:
    late, early, sealed = late_before_its_earlier(world)
    with world.central.context.database.transaction() as session:
        record = session.get_one(Record, late)
        world.central.records.move(session, record, RecordEvent.EARLIER_CAPTURE_ARRIVED)
        world.central.adjudication.open(session, late, Cause.SIMILAR, [])
    about_somebody_else = open_case(world, late)
    judge(world, about_somebody_else.id, ADJUDICATORS[2], DIFFERENT)
    world.clock.pass_ms(1000)
    world.arrive(sealed, DESK)
    world.central.work_off()
    judged(world, early, Opinion(SAME, late, early))
    with world.central.context.database.reading() as session:
        assert session.get(CaseCandidate, (about_somebody_else.id, early)) is not None
    judge(world, about_somebody_else.id, ADJUDICATORS[3], DIFFERENT)
    assert state_of(world, late) == "REQUEST_VALIDATION"
    world.clock.pass_ms(1000)
    region(world, late, RecordEvent.REGION_SAYS_ADJUDICATE)
    with pytest.raises(RemoteError, match="fresh eyes"):
        judge(world, open_case(world, late).id, ADJUDICATORS[2], DIFFERENT)
    judged(world, late, DIFFERENT)
    assert state_of(world, late) == "PRINT_READY_RECORD"


def test_a_deletion_frees_a_person_although_a_duplicate_of_the_deleted_capture_is_known(world: World) -> None:
    world.register(ANA)
    body = enrolment(ANA, index_fingers(1)).model_copy(update={"signoff": None})
    unreadable = world.send(DESK, body)
    assert state_of(world, unreadable) == "ENROLL_FAILURE_AT_CENTRAL"
    world.clock.pass_ms(1000)
    with world.central.context.database.transaction() as session:
        seen = checkpoints.tick(session, world.central.context).digest()
    second = capture(world, KIOSK, checkpoint=seen)
    world.clock.pass_ms(1000)
    first = None if _is_proved(world, second, unreadable) else unreadable
    judged(world, second, Opinion(SAME, unreadable, first))
    assert state_of(world, second) == "DUPLICATE_RECORD"
    deleted(world, unreadable)
    third = capture(world, DESK, 1, 3)
    assert state_of(world, third) == "ADJUDICATE_RECORD"
    first = None if _is_proved(world, third, second) else second
    judged(world, third, Opinion(SAME, second, first))
    assert state_of(world, third) == "PRINT_READY_RECORD"
    world.central.work_off()
    assert state_of(world, third) == "SENT_FOR_CARD_PRINTING"


def _is_proved(world: World, one: str, other: str) -> bool:
    with world.central.context.database.reading() as session:
        return not world.central.adjudication.order_is_open(session, one, other)


def revoked(world: World, operator: str) -> None:
    with world.central.context.database.transaction() as session:
        session.get_one(Operator, operator).revoked = True


def failure_of(world: World, capture_id: str) -> str:
    with world.central.context.database.reading() as session:
        return session.get_one(Record, capture_id).failure


def test_only_units_and_officers_who_may_enrol_do(world: World) -> None:
    world.register(ANA, BUDI, CITRA)
    assert failure_of(world, capture(world, HANDOVER)) == "UNIT_WRONG"
    assert failure_of(world, capture(world, STATION, 2, resident=BUDI)) == "UNIT_WRONG"
    body = signed_off(enrolment(CITRA, index_fingers(3)), OFFICERS[0])
    assert failure_of(world, world.send(DESK, body)) == "SIGNOFF_WRONG"


def test_an_operator_of_another_site_signs_nothing_off(world: World) -> None:
    world.register(ANA)
    with world.central.context.database.transaction() as session:
        session.get_one(Operator, OPERATOR).sites = SITE_B
    assert failure_of(world, capture(world)) == "SIGNOFF_WRONG"


def test_what_a_revoked_operator_signed_off_goes_before_a_person(world: World) -> None:
    world.register(ANA)
    envelope = world.envelope(DESK, enrolment(ANA, index_fingers(1)))
    revoked(world, OPERATOR)
    world.arrive(world.seal(envelope), DESK)
    world.central.work_off()
    assert state_of(world, envelope.id) == "ADJUDICATE_RECORD"
    assert "revoked" in open_case(world, envelope.id).cause


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"operator": HEAD}, "second person"),
        ({"print_job": " "}, "M36"),
        ({"operator": "stranger"}, "Nobody is known"),
        ({"operator": OFFICERS[0]}, "is no operator"),
        ({"released_by": OPERATOR}, "No section head"),
    ],
    ids=["one person", "no print job", "unknown maker", "maker without the role", "no section head"],
)
def test_a_card_is_made_and_released_by_two_persons_who_may(world: World, changes: dict[str, str], why: str) -> None:
    world.register(ANA)
    capture_id = capture(world)
    job = job_of(world, capture_id)
    confirm_job(world, job)
    world.send(STATION, personalisation(job, UID, **changes))
    assert state_of(world, capture_id) == "CARD_SHIPPED"
    assert why in quarantined(world)[0]
    world.send(STATION, personalisation(job, OTHER_UID))
    assert state_of(world, capture_id) == "CARD_PRINTED"


def test_a_section_head_decides_only_where_the_chip_holds_no_finger(world: World) -> None:
    world.register(ANA, BUDI)
    word = {"verification": (), "fallback": "section head", "decided_by": HEAD}
    with_fingers = capture(world)
    make_card(world, with_fingers, UID)
    world.send(HANDOVER, handover(UID, with_fingers, ANA.nik, **word))
    assert state_of(world, with_fingers) == "CARD_PRINTED"
    without = world.send(DESK, enrolment(BUDI))
    judged(world, without, DIFFERENT)  # no sample of it can be searched by
    world.central.work_off()
    make_card(world, without, OTHER_UID)
    world.send(HANDOVER, handover(OTHER_UID, without, BUDI.nik, **word | {"decided_by": OPERATOR}))
    assert state_of(world, without) == "CARD_PRINTED"
    assert [reason[-6:] for reason in quarantined(world)] == ["(M43).", "(M43)."]


def test_a_section_heads_word_issues_a_card_without_fingers_and_is_on_record(world: World) -> None:
    world.register(ANA)
    capture_id = world.send(DESK, enrolment(ANA))
    judged(world, capture_id, DIFFERENT)  # no sample of it can be searched by
    world.central.work_off()
    make_card(world, capture_id, UID)
    word = {"verification": (), "fallback": "section head", "decided_by": HEAD}
    world.send(HANDOVER, handover(UID, capture_id, ANA.nik, **word))
    assert (state_of(world, capture_id), quarantined(world)) == ("CARD_ISSUED", [])
    with world.central.context.database.reading() as session:
        (done,) = [
            link for link in history.way_of(session, RecordHistory, capture_id) if link.to_state == "CARD_ISSUED"
        ]
        assert json.loads(done.note)["decided by"] == HEAD


@pytest.mark.parametrize("operator", ["stranger", OFFICERS[0]])
def test_nobody_without_the_right_hands_a_card_over(world: World, operator: str) -> None:
    world.register(ANA)
    capture_id = capture(world)
    make_card(world, capture_id, UID)
    world.send(HANDOVER, handover(UID, capture_id, ANA.nik, operator=operator))
    assert state_of(world, capture_id) == "CARD_PRINTED"
    assert operator in quarantined(world)[0]


def test_bounds_that_prove_the_order_decide_it_and_nobody_may_say_otherwise(world: World) -> None:
    world.register(ANA, BUDI)
    early = capture(world, DESK)
    world.clock.pass_ms(1000)
    with world.central.context.database.transaction() as session:
        seen = checkpoints.tick(session, world.central.context).digest()
    world.clock.pass_ms(1000)
    late = capture(world, KIOSK, 1, 2, resident=BUDI, checkpoint=seen)
    with pytest.raises(RemoteError, match="where the bounds leave it open"):
        judged(world, late, Opinion(SAME, early, late))
    judged(world, late, Opinion(SAME, early))
    assert state_of(world, late) == "DUPLICATE_RECORD"
    assert state_of(world, early) == "SENT_FOR_CARD_PRINTING"


def test_a_units_own_sequence_proves_the_order_whatever_arrived_first(world: World) -> None:
    world.register(ANA, BUDI)
    early = world.envelope(DESK, enrolment(BUDI, index_fingers(1, 2)))
    late = capture(world, DESK)
    world.arrive(world.seal(early), DESK)
    world.central.work_off()
    assert state_of(world, early.id) == "ADJUDICATE_RECORD"
    with pytest.raises(RemoteError, match="where the bounds leave it open"):
        judged(world, early.id, Opinion(SAME, late, late))
    judged(world, early.id, Opinion(SAME, late))
    assert state_of(world, late) == "ADJUDICATE_RECORD"
    world.central.work_off()
    assert state_of(world, early.id) == "SENT_FOR_CARD_PRINTING"
