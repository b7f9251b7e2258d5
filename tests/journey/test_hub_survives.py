"""What no packet, record, unit or file may do to the hub: stop it, or cost a unit its only good copy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from contract import face_image, finger_image, iris_image
from contract.errors import RemoteError
from contract.image_formats import ImageFormat, encode_image
from contract.lifecycle import RecordEvent
from contract.packet import EnrolmentBody, RefusalBody
from contract.sample import Modality
from contract.transfer import Disposition
from hub.adjudication import Opinion
from hub.fleet import FleetUnit, Register
from hub.intake import HELD_MS
from hub.packets import blob_path
from hub.print_orders import OrderState, desk_for, station_for
from hub.proposals import LostCapture
from hub.records import LOSS
from hub.schema.tables import Packet, PrintOrder, ReceiptRow, Record, Resident, Template, Unit
from hub.search.dedup import Dedup
from hub.verdicts import Verdict
from tests.hub_world import (
    DATABASES,
    DESK,
    HANDOVER,
    KIOSK,
    OFFICERS,
    OPERATOR,
    SITE_A,
    STATION,
    World,
    biodata,
    build_world,
    confirm_job,
    enrolment,
    fleet,
    index_fingers,
    job_of,
    personalisation,
    public_bytes,
    signed_off,
    state_of,
)
from tests.journey.test_hub_rules import capture, deleted, judged, quarantined, region

ANA, BUDI = biodata(1), biodata(2, name="BUDI MISALNYA")
PEOPLE = (ANA, BUDI, biodata(3, name="CITRA MISALNYA"), biodata(4, name="DEDI MISALNYA"))


@pytest.fixture(params=DATABASES)
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    yield from build_world(tmp_path, request.param)


def disposition(world: World, pid: str) -> Disposition:
    receipt = world.central.packets.find(pid)
    assert receipt is not None
    return receipt.disposition


def decided(world: World, proposal_id: str, *, confirm: bool = True) -> None:
    with world.central.context.database.transaction() as session:
        world.central.proposals.decide(session, proposal_id, OFFICERS[1], confirm=confirm)


@pytest.mark.parametrize("damage", ["gone", "rotten"])
def test_a_copy_that_the_hub_lost_does_not_free_the_units_good_one(world: World, damage: str) -> None:
    world.register(ANA, BUDI)
    envelope = world.envelope(DESK, enrolment(ANA, index_fingers(1)))
    sealed = world.seal(envelope)
    receipt = world.arrive(sealed, DESK)
    blob = blob_path(world.central.context, receipt.pid)
    if damage == "gone":
        blob.unlink()
    else:
        blob.write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    world.central.work_off()
    assert disposition(world, receipt.pid) is Disposition.STORED
    other = capture(world, resident=BUDI, index=2)
    assert state_of(world, other) == "SENT_FOR_CARD_PRINTING"
    confirm_job(world, job_of(world, other))
    blob.write_bytes(sealed)
    world.clock.pass_ms(60_000)
    world.central.work_off()
    assert disposition(world, receipt.pid) is Disposition.RELEASED
    assert state_of(world, envelope.id) == "SENT_FOR_CARD_PRINTING"


def test_a_capture_that_came_before_its_nik_is_printed_after_the_documented_repair(world: World) -> None:
    world.register(BUDI)
    early = capture(world)
    assert state_of(world, early) == "ENROLL_FAILURE_AT_CENTRAL"
    world.register(ANA)
    with world.central.context.database.transaction() as session:
        world.central.intake.reprocess(session, early, OFFICERS[0])
    world.central.work_off()
    assert state_of(world, early) == "SENT_FOR_CARD_PRINTING"


def test_a_nik_whose_standing_capture_was_deleted_stands_by_the_one_that_the_region_sends_on(world: World) -> None:
    world.register(ANA)
    first = world.send(DESK, enrolment(ANA, index_fingers(1)).model_copy(update={"signoff": None}))
    second = capture(world, KIOSK, index=2)
    judged(world, second, Opinion(Verdict.DIFFERENT))
    assert state_of(world, second) == "REQUEST_VALIDATION"
    deleted(world, first)
    region(world, second, RecordEvent.REGION_SAYS_SEARCH)
    world.central.work_off()
    assert state_of(world, second) == "SENT_FOR_CARD_PRINTING"


def test_a_search_whose_conclusion_is_refused_fails_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.register(ANA, BUDI)
    conclude = Dedup._conclude

    def stumble(self: Dedup, session: object, record: Record, *rest: object) -> object:
        if record.unit == DESK:
            raise KeyError("what nobody thought of")
        return conclude(self, session, record, *rest)  # type: ignore[arg-type]  # passes on what it was given

    monkeypatch.setattr(Dedup, "_conclude", stumble)
    bad, good = capture(world), capture(world, KIOSK, index=2, resident=BUDI)
    assert state_of(world, bad) == "SEARCH_FAILURE_AT_CENTRAL"
    assert state_of(world, good) == "SENT_FOR_CARD_PRINTING"


def test_a_packet_that_the_hub_stumbles_over_is_kept_for_a_person(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.register(ANA, BUDI)
    check = world.central.intake._check

    def stumble(envelope: object) -> object:
        if getattr(envelope, "unit", "") == KIOSK:
            raise ZeroDivisionError
        return check(envelope)  # type: ignore[arg-type]  # passes on what it was given

    monkeypatch.setattr(world.central.intake, "_check", stumble)
    capture(world, KIOSK, index=2, resident=BUDI)
    assert any("ZeroDivisionError" in reason for reason in quarantined(world))
    assert state_of(world, capture(world)) == "SENT_FOR_CARD_PRINTING"


@pytest.mark.parametrize("trouble", ["stumbles", "refused", "does not answer"])
def test_packets_that_are_dealt_with_together_do_not_take_each_other_with_them(
    world: World, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    world.register(*PEOPLE)
    pids = [
        world.arrive(world.seal(world.envelope(DESK, enrolment(person, index_fingers(2 * number)))), DESK).pid
        for number, person in enumerate(PEOPLE)
    ]
    intake = world.central.intake
    act, dealt_with = intake._act, list[str]()

    def stumble(session: Session, packet: Packet, *rest: object) -> str:
        dealt_with.append(packet.pid)
        refusal = act(session, packet, *rest)  # type: ignore[arg-type]  # passes on what it was given
        if packet.pid == pids[1]:
            if trouble == "stumbles":
                raise ZeroDivisionError
            if trouble == "refused":
                packet.length = None  # type: ignore[assignment]  # what the table refuses
            else:
                raise OperationalError("", {}, Exception())
        return refusal

    monkeypatch.setattr(intake, "_act", stumble)
    assert not intake.process_some(pids)
    assert dealt_with == [*pids[:2], *pids]  # in their order, then alone
    found = [world.central.packets.find(pid) for pid in pids]
    second = {"does not answer": Disposition.STORED}.get(trouble, Disposition.QUARANTINED)
    expected = [Disposition.RELEASED, second, *[Disposition.RELEASED] * (len(PEOPLE) - 2)]
    assert [receipt and receipt.disposition for receipt in found] == expected
    monkeypatch.setattr(intake, "_act", act)
    world.clock.pass_ms(HELD_MS)
    assert intake.due() == ([pids[1]] if trouble == "does not answer" else [])
    intake.process_some(pids)
    with world.central.context.database.reading() as session:
        freed = session.scalars(select(ReceiptRow.pid).where(ReceiptRow.disposition != Disposition.STORED)).all()
    assert sorted(freed) == sorted(pids)


def test_a_packet_that_the_database_refuses_on_arrival_is_kept_for_a_person(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.register(ANA)
    enter = world.central.packets.enter

    def stumble(session: object, packet: Packet, *rest: object) -> str:
        packet.length = None  # type: ignore[assignment]  # what the table refuses
        return enter(session, packet, *rest)  # type: ignore[arg-type]  # passes on what it was given

    monkeypatch.setattr(world.central.packets, "enter", stumble)
    receipt = world.arrive(world.seal(world.envelope(DESK, enrolment(ANA))), DESK)
    assert receipt.disposition is Disposition.QUARANTINED
    assert blob_path(world.central.context, receipt.pid).exists()


def test_a_stations_report_from_a_place_that_is_not_its_own_is_quarantined(world: World) -> None:
    world.register(ANA)
    job = job_of(world, capture(world))
    world.send(STATION, personalisation(job, "0401020304050607"), site="0000-X")
    assert any("another site" in reason for reason in quarantined(world))


def test_a_signers_name_of_any_letters_is_only_unknown(world: World) -> None:
    for name in ("\0", "desk\0", "x" * 5000, "", "\ud7ff", "-"):
        assert world.central.units.public_key(name) is None


def test_a_refusal_that_carries_a_captures_id_opens_no_case_on_it(world: World) -> None:
    world.register(ANA, BUDI)
    first, second = capture(world), capture(world, KIOSK, index=2, resident=BUDI)
    body = RefusalBody(biodata=BUDI, similar_capture=first, value=61.0, appealed=True, operator=OPERATOR)
    world.send(DESK, body, event_id=second)
    assert any("id of a capture" in reason for reason in quarantined(world))
    assert state_of(world, second) == "PRINT_READY_RECORD"


def test_templates_of_an_older_extractor_are_made_again_and_still_find_the_person(world: World) -> None:
    world.register(ANA, BUDI)
    first = capture(world)
    context = world.central.context
    with context.database.transaction() as session:
        session.execute(update(Template).values(extractor="rekam-finger 0", data=b"of another format"))
    dedup = Dedup(context, world.central.records, world.central.adjudication)
    assert dedup.rebuild() == 1
    with context.database.reading() as session:
        stamps = set(session.scalars(select(Template.extractor).where(Template.capture_id == first)))
    assert "rekam-finger 0" not in stamps
    world.central.dedup.gallery.remove(first)
    world.central.dedup.rebuild()
    again = capture(world, KIOSK, impression=2, resident=BUDI)
    assert state_of(world, again) == "ADJUDICATE_RECORD"


def test_a_capture_that_cannot_be_read_at_a_start_does_not_keep_the_hub_down(world: World, tmp_path: Path) -> None:
    world.register(ANA, BUDI)
    first, second = capture(world), capture(world, KIOSK, index=2, resident=BUDI)
    context = world.central.context
    with context.database.transaction() as session:
        session.execute(update(Template).where(Template.capture_id == first).values(extractor="rekam-finger 0"))
        blob = blob_path(context, session.get_one(Record, first).pid)
    shutil.move(blob, tmp_path / "aside")
    dedup = Dedup(context, world.central.records, world.central.adjudication)
    assert dedup.rebuild() == 1
    shutil.move(tmp_path / "aside", blob)
    dedup.due()
    assert len(dedup.gallery) == 2
    assert state_of(world, second) == "PRINT_READY_RECORD"


def test_an_order_whose_record_is_under_examination_never_reaches_the_station(world: World) -> None:
    world.register(ANA, BUDI)
    first = capture(world)
    second = capture(world, KIOSK, index=2, resident=BUDI)
    database, central = world.central.context.database, world.central
    with database.transaction() as session:
        central.records.move(session, session.get_one(Record, second), RecordEvent.EARLIER_CAPTURE_ARRIVED)
        order = session.scalars(select(PrintOrder).where(PrintOrder.capture_id == second)).one()
        order.state = OrderState.QUEUED
        before_it = session.scalars(select(PrintOrder).where(PrintOrder.capture_id == first)).one()
        central.orders.close(session, before_it, OrderState.WITHDRAWN)
    with database.reading() as session:
        order = session.scalars(select(PrintOrder).where(PrintOrder.capture_id == second)).one()
        assert order.state == OrderState.WITHDRAWN


def test_no_order_goes_to_a_unit_that_is_out_of_service(world: World) -> None:
    world.register(ANA)
    with world.central.context.database.transaction() as session:
        session.get_one(Unit, HANDOVER).state = "suspended"
        session.get_one(Unit, STATION).state = "retired"
    with world.central.context.database.reading() as session:
        resident = session.scalars(select(Resident)).one()
        with pytest.raises(RemoteError, match="in service"):
            station_for(session, resident)
        assert desk_for(session, resident).id != HANDOVER
    waiting = capture(world)
    assert state_of(world, waiting) == "PRINT_READY_RECORD"


def test_packets_of_a_unit_that_was_enrolled_later_are_admitted_and_searched(world: World) -> None:
    world.register(ANA)
    database, proposals = world.central.context.database, world.central.proposals
    envelope = world.envelope("desk-new", enrolment(ANA, index_fingers(1)), site=SITE_A)
    receipt = world.arrive(world.seal(envelope), DESK)
    assert receipt.disposition is Disposition.QUARANTINED
    with pytest.raises(RemoteError), database.transaction() as session:
        proposals.propose(session, "admission", receipt.pid, "enrolled since", OFFICERS[0])
    pem = public_bytes("desk-new", Encoding.PEM).decode()
    later = FleetUnit(id="desk-new", site=SITE_A, role="desk", sign_public_pem=pem, open_public_pem=pem)
    whole = fleet()
    world.central.enrol_fleet(
        whole.model_copy(update={"units": (*whole.units, later)}), Register.model_validate({"residents": []})
    )
    with database.transaction() as session:
        made = proposals.propose(session, "admission", receipt.pid, "enrolled since", OFFICERS[0])
    decided(world, made.id)
    world.central.work_off()
    assert state_of(world, envelope.id) == "SENT_FOR_CARD_PRINTING"


def test_a_capture_in_the_name_of_an_unknown_place_can_be_deleted(world: World) -> None:
    world.register(ANA)
    strayed = world.send(DESK, enrolment(ANA, index_fingers(1)), site="0000-X")
    assert state_of(world, strayed) == "ENROLL_FAILURE_AT_REGIONAL"
    deleted(world, strayed)
    assert state_of(world, strayed) == "UNREGISTERED"


def test_a_loss_that_is_refused_leaves_the_nik_as_it_was(world: World) -> None:
    world.register(ANA)
    database, proposals = world.central.context.database, world.central.proposals
    lost = LostCapture(capture_id=world.new_id(), nik=ANA.nik, unit=DESK)
    with database.transaction() as session:
        made = proposals.propose_loss(session, lost, "the unit was stolen", OFFICERS[0])
    with database.reading() as session:
        assert session.scalars(select(Resident)).one().standing is None
        assert made.action == LOSS
    decided(world, made.id, confirm=False)
    with database.reading() as session:
        assert session.get(Record, lost.capture_id) is None
    assert state_of(world, capture(world)) == "SENT_FOR_CARD_PRINTING"


def test_a_failed_capture_sent_again_is_searched_with_its_corrected_biodata(world: World) -> None:
    world.register(ANA)
    wrong = ANA.model_copy(update={"name": "ANA KELIRU"})
    body = enrolment(wrong, index_fingers(1)).model_copy(update={"signoff": None})
    capture_id = world.send(DESK, body)
    world.send(DESK, enrolment(ANA, index_fingers(1)), event_id=capture_id)
    assert state_of(world, capture_id) == "SENT_FOR_CARD_PRINTING"


def _with(body: EnrolmentBody, modality: Modality, record: bytes) -> EnrolmentBody:
    first = next(index for index, sample in enumerate(body.samples) if sample.modality is modality)
    samples = list(body.samples)
    samples[first] = samples[first].model_copy(update={"record": record})
    return signed_off(body.model_copy(update={"samples": tuple(samples)}))


def _spoiled(record: bytes, modality: Modality, image: bytes) -> bytes:
    """The record with other bytes where its image is."""
    if modality is Modality.FINGER:
        finger = finger_image.decode_record(record)
        return finger_image.encode_record(replace(finger, images=(replace(finger.images[0], image=image),)))
    if modality is Modality.IRIS:
        iris = iris_image.decode_record(record)
        return iris_image.encode_record(replace(iris, images=(replace(iris.images[0], image=image),)))
    face = face_image.decode_record(record)
    return face_image.encode_record(replace(face, images=(replace(face.images[0], image=image),)))


def test_a_print_at_a_resolution_that_shows_no_ridge_is_told_at_once(tmp_path: Path) -> None:
    for world in build_world(tmp_path, "sqlite"):
        world.register(ANA)
        body = enrolment(ANA)
        sample = next(sample for sample in body.samples if sample.modality is Modality.FINGER)
        coarse = finger_image.encode_record(replace(finger_image.decode_record(sample.record), ppi=100))
        capture_id = world.send(DESK, _with(body, Modality.FINGER, coarse))
        assert state_of(world, capture_id) == "ENROLL_FAILURE_AT_CENTRAL"


def _bombs() -> dict[str, bytes]:
    png = encode_image(np.zeros((8, 8), np.uint8), ImageFormat.PNG)
    huge = bytearray(png)
    huge[16:24] = (60_000).to_bytes(4) + (60_000).to_bytes(4)
    return {"garbage": b"no image at all", "torn": png[: len(png) // 2], "huge": bytes(huge)}


@pytest.mark.parametrize("kind", ["garbage", "torn", "huge"])
@pytest.mark.parametrize("modality", [Modality.FINGER, Modality.IRIS, Modality.FACE])
def test_an_image_that_is_none_inside_a_good_record_is_told_at_once(
    tmp_path: Path, modality: Modality, kind: str
) -> None:
    for world in build_world(tmp_path, "sqlite"):
        world.register(ANA)
        body = enrolment(ANA)
        sample = next(sample for sample in body.samples if sample.modality is modality)
        capture_id = world.send(DESK, _with(body, modality, _spoiled(sample.record, modality, _bombs()[kind])))
        assert state_of(world, capture_id) == "ENROLL_FAILURE_AT_CENTRAL"
        with world.central.context.database.reading() as session:
            assert session.get_one(Record, capture_id).failure == "UNREADABLE"
