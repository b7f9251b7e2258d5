"""The rules of cards, cases, orders and handovers: each is kept, and each scenario notices a guard that lets all by.

A scenario tries to break one rule. With the hub as it is the rule holds; with the guard named beside it replaced by one
that accepts everything, the scenario must fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cbor2
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from contract.errors import RemoteError
from contract.lifecycle import RECORD, RecordEvent
from contract.packet import encode
from contract.seal import load_signing_key, seal
from contract.transfer import Disposition
from hub import ledger, records, verdicts
from hub.adjudication import Opinion
from hub.issuance import Issuance
from hub.schema.tables import Card, Packet, Record
from hub.verdicts import Verdict
from tests.hub_world import (
    ADJUDICATORS,
    DATABASES,
    DESK,
    HANDOVER,
    KIOSK,
    OFFICERS,
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
    private_key,
    private_pem,
    state_of,
)

ANA, BUDI = biodata(1), biodata(2, name="BUDI MISALNYA")
UID, OTHER_UID = "04A1B2C3D4E5F6", "04A1B2C3D4E5F7"
Opened = Callable[[World, pytest.MonkeyPatch], None]


def captured(world: World) -> str:
    return world.send(DESK, enrolment(ANA, index_fingers(1)))


def one_nik_has_one_live_card(world: World) -> None:
    capture_id = captured(world)
    make_card(world, capture_id, UID)
    world.send(HANDOVER, handover(UID, capture_id, ANA.nik))
    with world.central.context.database.transaction() as session:
        record = session.get_one(Record, capture_id)
        world.central.records.move(session, record, RecordEvent.REISSUE_REQUESTED)
    world.clock.pass_ms(1000)
    world.central.work_off()
    make_card(world, capture_id, OTHER_UID)
    with world.central.context.database.transaction() as session:
        other = session.get_one(Card, OTHER_UID)
        other.state = "held"
        try:
            world.central.ledger.activate(session, other)
        except (RemoteError, SQLAlchemyError):
            session.rollback()
    with world.central.context.database.reading() as session:
        live = session.scalars(select(Card.card_uid).where(Card.live.is_(True))).all()
    assert live == [UID]


def a_later_capture_of_a_person_is_not_printed(world: World) -> None:
    first = captured(world)
    later = world.send(KIOSK, enrolment(BUDI, index_fingers(1, 2)))
    case = open_case(world, later)
    for adjudicator in ADJUDICATORS[:2]:
        judge(world, case.id, adjudicator, Opinion(Verdict.SAME, first, first))
    with world.central.context.database.transaction() as session:
        record = session.get_one(Record, later)
        for event in (RecordEvent.JUDGED_FIRST, RecordEvent.REGION_SAYS_RIGHT, RecordEvent.PRINT_DATA_SENT):
            try:
                world.central.records.move(session, record, event)
            except RemoteError:
                continue
    assert state_of(world, later) == "DUPLICATE_RECORD"


def nothing_is_ordered_that_is_not_print_ready(world: World) -> None:
    captured(world)
    later = world.send(KIOSK, enrolment(BUDI, index_fingers(1, 2)))
    world.central.personalisation.order_due()
    with world.central.context.database.transaction() as session:
        record = session.get_one(Record, later)
        record.state = "PRINT_READY_RECORD"
    world.central.personalisation.order_due()
    with pytest.raises(AssertionError):
        job_of(world, later)


def a_chip_that_reads_back_differently_is_not_released(world: World) -> None:
    capture_id = captured(world)
    job = job_of(world, capture_id)
    confirm_job(world, job)
    world.send(STATION, personalisation(job, UID, read_back_sha256=bytes(32)))
    assert state_of(world, capture_id) == "CARD_SHIPPED"


def nobody_gets_a_card_without_a_match(world: World) -> None:
    capture_id = captured(world)
    make_card(world, capture_id, UID)
    world.send(HANDOVER, handover(UID, capture_id, ANA.nik, verification=(), fallback="section head"))
    assert state_of(world, capture_id) == "CARD_PRINTED"


def _ledger_open(_world: World, patch: pytest.MonkeyPatch) -> None:
    def activate(_self: ledger.Ledger, session, card: Card) -> None:
        session.execute(text("DROP INDEX IF EXISTS one_live_card"))
        card.live = True
        session.flush()

    patch.setattr(ledger.Ledger, "activate", activate)


def _verdicts_open(world: World, patch: pytest.MonkeyPatch) -> None:
    by_event = {event: after for (_, event), after in RECORD.items()}
    patch.setattr(world.central.records, "_advance", lambda _state, event: by_event[event])
    patch.setattr(verdicts, "barred_by", lambda _session, _record: [])
    patch.setattr(records, "_open_cases", lambda _session, _record: False)


def _orders_open(_world: World, patch: pytest.MonkeyPatch) -> None:
    for module in ("hub.personalisation", "hub.print_orders"):
        patch.setattr(f"{module}.is_printable", lambda _session, _record: True)
    patch.setattr(records, "_open_cases", lambda _session, _record: False)
    patch.setattr(records, "_cleared", lambda _session, _record: True)


def _release_open(_world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Issuance, "_check_release", lambda *_facts: "")


def _handover_open(_world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Issuance, "_check_handover", lambda *_facts: "")


@dataclass(frozen=True, slots=True)
class Rule:
    """A scenario, and the guard without which it must fail."""

    scenario: Callable[[World], None]
    opened: Opened


RULES = (
    Rule(one_nik_has_one_live_card, _ledger_open),
    Rule(a_later_capture_of_a_person_is_not_printed, _verdicts_open),
    Rule(nothing_is_ordered_that_is_not_print_ready, _orders_open),
    Rule(a_chip_that_reads_back_differently_is_not_released, _release_open),
    Rule(nobody_gets_a_card_without_a_match, _handover_open),
)


@pytest.fixture(params=DATABASES)
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    for built in build_world(tmp_path, request.param):
        built.register(ANA, BUDI)
        yield built


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.scenario.__name__)
def test_the_hub_keeps(world: World, rule: Rule) -> None:
    rule.scenario(world)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.scenario.__name__)
def test_a_guard_that_accepts_everything_is_noticed_by(
    tmp_path: Path, rule: Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    for built in build_world(tmp_path, "sqlite"):
        built.register(ANA, BUDI)
        rule.opened(built, monkeypatch)
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            rule.scenario(built)


def test_a_berhasil_made_by_hand_without_a_receipt_is_quarantined(world: World) -> None:
    capture_id = captured(world)
    make_card(world, capture_id, UID)
    fields = cbor2.loads(encode(world.envelope(HANDOVER, handover(UID, capture_id, ANA.nik))))
    fields["body"]["receipt_signature"] = b""
    key = load_signing_key(private_pem(private_key(HANDOVER)), HANDOVER)
    receipt = world.arrive(seal(cbor2.dumps(fields, canonical=True), key, [world.hub_recipient()]), HANDOVER)
    world.central.work_off()
    assert receipt.disposition is Disposition.QUARANTINED
    assert state_of(world, capture_id) == "CARD_PRINTED"
    with world.central.context.database.reading() as session:
        assert session.scalar(select(func.count()).where(Packet.quarantine != "")) == 1
        assert not session.get_one(Card, UID).live


def test_two_officers_cannot_admit_that_berhasil_either(world: World) -> None:
    capture_id = captured(world)
    make_card(world, capture_id, UID)
    fields = cbor2.loads(encode(world.envelope(HANDOVER, handover(UID, capture_id, ANA.nik))))
    fields["body"]["receipt_signature"] = b""
    key = load_signing_key(private_pem(private_key(HANDOVER)), HANDOVER)
    receipt = world.arrive(seal(cbor2.dumps(fields, canonical=True), key, [world.hub_recipient()]), HANDOVER)
    proposals, database = world.central.proposals, world.central.context.database
    try:
        with database.transaction() as session:
            made = proposals.propose(session, "admission", receipt.pid, "looked at by two", OFFICERS[0])
        with database.transaction() as session:
            proposals.decide(session, made.id, OFFICERS[1], confirm=True)
    except RemoteError:
        pass  # refused at once, as good as later
    world.central.work_off()
    assert state_of(world, capture_id) == "CARD_PRINTED"
