"""What leaves the hub and what comes into it: sealed dispatches, receipts, searches that fail, configuration."""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from contract import topics
from contract.attestation import open_attestation
from contract.checkpoint import verify_checkpoint
from contract.chip_file import verify_chip
from contract.chip_layout import chip_files
from contract.dispatch import ConsignedCard, GalleryEntry, Notice, PrintJob, RegisterPage, SiteKey, decode
from contract.dispatch import encode as encode_transfer
from contract.errors import DeviceError, RemoteError
from contract.image_formats import decode_image
from contract.lifecycle import RecordEvent, RecordState
from contract.operators import Roster
from contract.packet import PortraitReview, RefusalBody
from contract.seal import load_opening_key, load_public_key, load_statement_public_key, open_sealed, unlock
from contract.transfer import Disposition, UnitState
from hub import card_face, checkpoints, dispatches, history, outbox, presence
from hub.adjudication import Opinion
from hub.config import load_settings
from hub.fleet import load_fleet, load_register
from hub.packets import blob_path
from hub.schema.tables import Outbox, Packet, PrintOrder, Record, RecordHistory, Template
from hub.search.dedup import Dedup
from hub.verdicts import Verdict
from tests.hub_world import (
    ADJUDICATORS,
    DATABASES,
    DAY_MS,
    DESK,
    HANDOVER,
    OFFICERS,
    OPERATOR,
    SITE_A,
    STATION,
    World,
    biodata,
    build_world,
    enrolment,
    handover,
    hub_statement,
    index_fingers,
    job_of,
    judge,
    make_card,
    open_case,
    private_key,
    private_pem,
    public_bytes,
    state_of,
)

ANA = biodata(1)
UID = "04A1B2C3D4E5F6"


@pytest.fixture(params=DATABASES)
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    yield from build_world(tmp_path, request.param)


def posted(world: World) -> dict[str, bytes]:
    """Every message that stands in the outbox, by topic, stale pages rebuilt."""
    with world.central.context.database.transaction() as session:
        dispatches.post_stale_pages(session, world.central.context)
        return {row.topic: row.payload for row in session.scalars(select(Outbox).order_by(Outbox.id))}


def opened_by(unit: str, sealed: bytes) -> bytes:
    """A dispatch as its unit opens it: sealed to the unit's key, signed by the hub."""
    hub = load_public_key(public_bytes("dispatch", Encoding.PEM), "hub")
    key = load_opening_key(private_pem(private_key(unit)), unit)
    return open_sealed(sealed, key, lambda kid: hub if kid == "hub" else None).payload


def site_message(world: World, topic: str, payload: bytes) -> bytes:
    """A site message as a unit of the site opens it."""
    key = decode(SiteKey, opened_by(DESK, posted(world)[topics.DN_SITE_KEY.at(unit=DESK)]))
    assert struct.unpack_from(">I", payload)[0] == key.epoch
    return unlock(payload[4:], key.key, topic.encode())


def test_a_unit_gets_its_site_key_its_roster_and_its_register_page(world: World) -> None:
    world.register(ANA)
    messages = posted(world)
    roster = decode(Roster, opened_by(DESK, messages[topics.DN_ROSTER.at(unit=DESK)]))
    entry = next(entry for entry in roster.operators if entry.operator == OPERATOR)
    lease = entry.rights(hub_statement(), SITE_A)
    assert lease.until_ms == world.clock.wall_ms() + 30 * DAY_MS and "operator" in lease.roles
    topic = topics.SITE_REGISTER.at(site=SITE_A, page="p0000")
    page = decode(RegisterPage, site_message(world, topic, messages[topic]))
    assert [(e.biodata.nik, e.status, e.eligible) for e in page.entries] == [(ANA.nik, RecordState.UNREGISTERED, True)]
    with pytest.raises(RemoteError):
        opened_by(STATION, messages[topics.DN_ROSTER.at(unit=DESK)])


def test_a_site_hears_of_its_capture_and_the_register_page_follows(world: World) -> None:
    world.register(ANA)
    capture_id = world.send(DESK, enrolment(ANA, index_fingers(1)))
    messages = posted(world)
    topic = topics.SITE_NOTICE.at(site=SITE_A, capture=capture_id)
    notice = decode(Notice, site_message(world, topic, messages[topic]))
    assert notice.status in (RecordState.PRINT_READY_RECORD, RecordState.SENT_FOR_CARD_PRINTING)
    topic = topics.SITE_REGISTER.at(site=SITE_A, page="p0000")
    page = decode(RegisterPage, site_message(world, topic, messages[topic]))
    assert page.entries[0].status is RecordState.SENT_FOR_CARD_PRINTING


def test_a_duplicate_is_told_the_place_of_the_first_after_the_verdict_and_not_before(world: World) -> None:
    other = biodata(2, name="BUDI MISALNYA")
    world.register(ANA, other)
    first = world.send(DESK, enrolment(ANA, index_fingers(1)))
    second = world.send(DESK, enrolment(other, index_fingers(1, 2)))
    topic = topics.SITE_NOTICE.at(site=SITE_A, capture=second)
    before = decode(Notice, site_message(world, topic, posted(world)[topic]))
    assert "Kecamatan" not in before.message_id
    case = open_case(world, second)
    for adjudicator in ADJUDICATORS[:2]:
        judge(world, case.id, adjudicator, Opinion(Verdict.SAME, first))
    after = decode(Notice, site_message(world, topic, posted(world)[topic]))
    assert after.status is RecordState.DUPLICATE_RECORD
    assert "Kecamatan Contoh (9901)" in after.message_id
    assert after.version > before.version


def test_the_station_gets_one_job_at_a_time_and_the_desk_the_card_with_its_attestation(world: World) -> None:
    other = biodata(2, name="BUDI MISALNYA")
    world.register(ANA, other)
    first = world.send(DESK, enrolment(ANA, index_fingers(1)))
    second = world.send(DESK, enrolment(other, index_fingers(2)))
    topic = topics.DN_JOB.at(unit=STATION)
    job = decode(PrintJob, opened_by(STATION, posted(world)[topic]))
    assert (job.capture_id, job.destination, job.serves_here) == (first, HANDOVER, False)
    assert state_of(world, second) == "PRINT_READY_RECORD"
    make_card(world, first, UID)
    assert decode(PrintJob, opened_by(STATION, posted(world)[topic])).capture_id == second
    topic = topics.DN_CONSIGNMENT.at(unit=HANDOVER, card=UID)
    card = decode(ConsignedCard, opened_by(HANDOVER, posted(world)[topic]))
    assert (card.nik, card.withdrawn, bool(card.attestation)) == (ANA.nik, False, True)
    world.send(HANDOVER, handover(UID, first, ANA.nik))
    assert decode(ConsignedCard, opened_by(HANDOVER, posted(world)[topic])).withdrawn


def test_a_print_job_holds_both_faces_and_a_chip_that_the_issuer_signed(tmp_path: Path) -> None:
    for world in build_world(tmp_path, "sqlite", card_face.render):
        world.register(ANA)
        capture_id = world.send(DESK, enrolment(ANA, index_fingers(1)))
        job = job_of(world, capture_id)
        for face in (job.front, job.back):
            assert decode_image(face).shape == (card_face.HEIGHT_PX, card_face.WIDTH_PX)
        chip = verify_chip(chip_files(job.chip_files), load_public_key(public_bytes("issuer", Encoding.PEM), "issuer"))
        assert (chip.biodata, chip.card_number, chip.capture_id) == (ANA, job.card_number, capture_id)
        assert [int(finger.position) for finger in chip.fingers] == [2, 7]
        with world.central.context.database.reading() as session:
            sealed = world.central.orders.attestation(session.get_one(PrintOrder, job.job_id))
        page = open_attestation(sealed, chip.attestation_key, job.card_number)
        assert page.biodata == ANA
        with pytest.raises(RemoteError):
            open_attestation(sealed, bytes(32), job.card_number)


def test_a_tombstone_is_said_before_the_page_that_frees_the_nik(world: World) -> None:
    world.register(ANA)
    posted(world)
    capture_id = world.send(DESK, enrolment(ANA).model_copy(update={"signoff": None}))
    with world.central.context.database.transaction() as session:
        made = world.central.proposals.propose(session, "deletion", capture_id, "cannot be repaired", OFFICERS[0])
        world.central.proposals.decide(session, made.id, OFFICERS[1], confirm=True)
    order = list(messages := posted(world))
    topic = topics.SITE_GALLERY.at(site=SITE_A, capture=capture_id)
    assert order.index(topic) < order.index(topics.SITE_REGISTER.at(site=SITE_A, page="p0000"))
    assert decode(GalleryEntry, site_message(world, topic, messages[topic])).tombstone
    notice = topics.SITE_NOTICE.at(site=SITE_A, capture=capture_id)
    assert order.index(notice) < order.index(topics.SITE_REGISTER.at(site=SITE_A, page="p0000"))
    assert decode(Notice, site_message(world, notice, messages[notice])).frees


@pytest.mark.parametrize("verdict", [Verdict.DIFFERENT, Verdict.VALIDATION])
def test_an_upheld_appeal_is_told_to_the_site_that_refused(world: World, verdict: Verdict) -> None:
    budi = biodata(2, name="BUDI MISALNYA")
    world.register(ANA, budi)
    first = world.send(DESK, enrolment(ANA, index_fingers(1)))
    refusal = RefusalBody(biodata=budi, similar_capture=first, value=80.0, appealed=True, operator=OPERATOR)
    appeal = world.send(DESK, refusal)
    case = open_case(world, appeal)
    for adjudicator in ADJUDICATORS[:2]:
        judge(world, case.id, adjudicator, Opinion(verdict))
    topic = topics.SITE_NOTICE.at(site=SITE_A, capture=appeal)
    messages = posted(world)
    assert (topic in messages) == (verdict is Verdict.DIFFERENT)
    if topic in messages:
        notice = decode(Notice, site_message(world, topic, messages[topic]))
        assert (notice.nik, notice.cleared_of, notice.frees) == (budi.nik, first, False)


def test_the_outbox_forgets_nothing_retained_and_says_it_again(world: World) -> None:
    world.register(ANA)
    with world.central.context.database.transaction() as session:
        outbox.post(session, topics.DN_RECEIPT, b"once", 1, unit=DESK, pid="0" * 64)
        before = outbox.due(session, 500)
        outbox.mark_published(session, [message.id for message in before], 2)
        assert outbox.waiting(session) == 0
        outbox.post(session, topics.DN_ROSTER, b"newer", 3, unit=DESK)
        assert [message.payload for message in outbox.due(session, 10)] == [b"newer"]
        outbox.say_again(session)
        again = outbox.due(session, 500)
        assert len(again) == len(before) - 1
        assert {m.payload for m in again if m.topic == topics.DN_ROSTER.at(unit=DESK)} == {b"newer"}


def test_checkpoints_chain_and_never_go_back(world: World) -> None:
    world.register()
    with world.central.context.database.transaction() as session:
        first = checkpoints.tick(session, world.central.context)
        world.clock.now_ms -= 60_000
        second = checkpoints.tick(session, world.central.context)
    assert (second.sequence, second.previous_sha256) == (2, first.digest())
    assert second.time_ms >= first.time_ms
    signed = posted(world)[topics.DN_CHECKPOINT.at(unit=DESK)]
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key()
    public = load_statement_public_key(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert verify_checkpoint(signed, public) == second


def test_a_good_packet_is_stored_then_released_and_both_receipts_wait_for_the_unit(world: World) -> None:
    world.register(ANA)
    sealed = world.seal(world.envelope(DESK, enrolment(ANA, index_fingers(1))))
    receipt = world.arrive(sealed, DESK)
    assert receipt.disposition is Disposition.STORED
    assert world.arrive(sealed, DESK) == receipt
    world.central.work_off()
    released = world.central.packets.find(receipt.pid)
    assert released is not None
    assert released.disposition is Disposition.RELEASED
    waiting = world.central.packets.pending_receipts(10, 0)
    assert [(p.unit, p.receipt.disposition) for p in waiting] == [
        (DESK, Disposition.STORED),
        (DESK, Disposition.RELEASED),
    ]
    world.central.packets.mark_published([(receipt.pid, released.hub_sequence)])
    assert world.central.packets.pending_receipts(10, 0) == []


def test_a_search_that_fails_is_a_state_and_is_tried_again_by_itself(world: World) -> None:
    world.register(ANA)
    world.arrive(world.seal(world.envelope(DESK, enrolment(ANA, index_fingers(1)))), DESK)
    (pid,) = world.central.intake.due()
    assert not world.central.intake.process_some([pid])
    (capture_id,) = world.central.dedup.due()
    path = blob_path(world.central.context, pid)
    hidden = path.rename(path.with_suffix(".away"))
    assert world.central.dedup.search(capture_id) is RecordState.SEARCH_FAILURE_AT_CENTRAL
    hidden.rename(path)
    assert world.central.dedup.due() == []
    world.clock.pass_ms(31_000)
    assert world.central.dedup.due() == [capture_id]
    assert world.central.dedup.search(capture_id) is RecordState.PRINT_READY_RECORD


def test_the_gallery_is_rebuilt_from_templates_that_no_one_can_read_at_rest(world: World) -> None:
    world.register(ANA, biodata(2, name="BUDI MISALNYA"))
    first = world.send(DESK, enrolment(ANA, index_fingers(1)))
    context, central = world.central.context, world.central
    fresh = Dedup(context, central.records, central.adjudication)
    assert fresh.rebuild() == 1
    with context.database.reading() as session:
        rows = session.scalars(select(Template).where(Template.capture_id == first)).all()
        assert {row.extractor for row in rows if row.modality == "finger"}
        known = fresh.gallery.features_of(first)
        assert known is not None
        assert all(known.fingers[2][0].to_bytes() not in row.data for row in rows)
    assert fresh.gallery.search(known, exclude=first) == []
    (found,) = fresh.gallery.search(known)
    assert found.capture_id == first


def test_nothing_personal_stands_in_the_database_file(tmp_path: Path) -> None:
    for world in build_world(tmp_path, "sqlite"):
        world.register(ANA)
        world.send(DESK, enrolment(ANA, index_fingers(1)))
        at_rest = b"".join(path.read_bytes() for path in tmp_path.glob("hub.db*"))
        assert ANA.nik.encode() not in at_rest
        assert ANA.name.encode() not in at_rest
        assert b"FMR\x00" not in at_rest
        blobs = b"".join(path.read_bytes() for path in (tmp_path / "blobs").rglob("*") if path.is_file())
        assert ANA.nik.encode() not in blobs


def test_a_will_of_an_older_boot_is_ignored(world: World) -> None:
    world.register()

    def said(state: str, boot: int) -> bytes:
        return encode_transfer(UnitState(state=state, boot=boot, software="1", sequence=1, time_ms=1))

    with world.central.context.database.transaction() as session:
        assert presence.take_state(session, DESK, said("online", 2), 5)
        assert not presence.take_state(session, DESK, said("offline", 1), 6)
        with pytest.raises(RemoteError):
            presence.take_state(session, "stranger", said("online", 1), 7)


@given(st.binary(max_size=300))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_garbage_from_a_station_is_a_remote_error_and_nothing_else(garbage: bytes) -> None:
    world = _plain_world()
    with pytest.raises(RemoteError):
        world.central.take_job_answer(STATION, "none", garbage)


_worlds: list[World] = []


def _plain_world() -> World:
    if not _worlds:
        _worlds.append(next(build_world(Path(tempfile.mkdtemp()), "sqlite")))
    return _worlds[0]


def test_an_unknown_key_in_hub_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "hub.toml"
    path.write_text('[hub]\nname = "X"\n[search]\ncandidat_fmr = 1e-6\n')
    with pytest.raises(DeviceError, match=r"search\.candidat_fmr"):
        load_settings(path)
    path.write_text('folder = "/etc"\n')
    with pytest.raises(DeviceError, match="folder"):
        load_settings(path)
    path.write_text("[hub\n")
    with pytest.raises(DeviceError):
        load_settings(path)


def test_a_relative_database_lies_beside_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text('[hub]\ndatabase_url = "sqlite:///here.db"\n')
    assert load_settings(tmp_path / "hub.toml").database_url == f"sqlite:///{tmp_path / 'here.db'}"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"sites": [], "units": [], "operators": [], "extra": 1}, "extra"),
        ({"sites": [{"code": "a", "name": "b", "region": "99"}], "units": [], "operators": []}, "region"),
        (
            {"sites": [], "operators": [], "units": [
                {"id": "d", "site": "x", "role": "desk", "sign_public_pem": "no", "open_public_pem": "no"}]},
            "public key is not PEM",
        ),
    ],
)  # fmt: skip
def test_a_wrong_fleet_file_is_told_where_it_is_wrong(tmp_path: Path, fields: dict, named: str) -> None:
    path = tmp_path / "fleet.json"
    path.write_text(json.dumps(fields))
    with pytest.raises(DeviceError, match=named):
        load_fleet(path)


def test_a_register_with_a_nik_twice_is_refused_without_showing_it(tmp_path: Path) -> None:
    path = tmp_path / "register.json"
    resident = {"biodata": ANA.model_dump(), "site": SITE_A}
    path.write_text(json.dumps({"residents": [resident, resident]}))
    with pytest.raises(DeviceError, match="same NIK") as refused:
        load_register(path)
    assert ANA.nik not in str(refused.value)


def test_a_portrait_that_the_operator_found_unlike_the_biodata_goes_to_the_region(world: World) -> None:
    world.register(ANA)
    review = PortraitReview(differs=("sex",), reviewed_ms=1)
    capture_id = world.send(DESK, enrolment(ANA, index_fingers(1), portrait_review=review))
    assert state_of(world, capture_id) == "REQUEST_VALIDATION"
    with world.central.context.database.transaction() as session:
        links = history.way_of(session, RecordHistory, capture_id)
        assert any("unlike the biodata: sex" in link.note for link in links)
        world.central.adjudication.region_answers(session, capture_id, RecordEvent.REGION_SAYS_RIGHT, "adb")
        assert session.get_one(Record, capture_id).state == "PRINT_READY_RECORD"


def test_a_portrait_that_fits_goes_on_and_what_was_said_of_the_eyes_is_told(world: World) -> None:
    world.register(ANA)
    review = PortraitReview(reviewed_ms=1)
    capture = enrolment(ANA, index_fingers(1), portrait_review=review, eyes_confirmed_ms=1)
    capture_id = world.send(DESK, capture)
    assert state_of(world, capture_id) == "SENT_FOR_CARD_PRINTING"
    with world.central.context.database.transaction() as session:
        notes = [json.loads(link.note) for link in history.way_of(session, RecordHistory, capture_id)]
    assert [note["irises"] for note in notes if "irises" in note] == [
        "looked swapped; the operator says that they are not"
    ]


def test_an_anomaly_waits_for_the_region_and_its_answer_is_followed(world: World) -> None:
    world.register(ANA)
    captured = biodata(1, occupation="NELAYAN")
    capture_id = world.send(DESK, enrolment(captured, index_fingers(1)))
    assert state_of(world, capture_id) == "REQUEST_VALIDATION"
    with world.central.context.database.transaction() as session:
        world.central.adjudication.region_answers(session, capture_id, RecordEvent.REGION_SAYS_RIGHT, "adb")
        assert session.get_one(Record, capture_id).state == "PRINT_READY_RECORD"
        assert session.scalars(select(Packet)).one().quarantine == ""
