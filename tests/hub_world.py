"""A hub without its network, its fleet, and units that seal packets to it: what the hub's tests stand on."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy import select

from contract import face_image, finger_image, iris_image, signature_series
from contract.attestation import biodata_digest
from contract.chip_layout import chip_files
from contract.dispatch import JobAnswer, PrintJob
from contract.dispatch import encode as encode_message
from contract.identifiers import pid_of, uuid7
from contract.image_formats import ImageFormat, encode_image
from contract.packet import (
    BODY_OF,
    Attestation,
    Biodata,
    Body,
    EnrolmentBody,
    Envelope,
    HandoverBody,
    Moment,
    PacketSample,
    PersonalisationBody,
    SignOff,
    StepClock,
    Verification,
    encode,
)
from contract.sample import ALL_FINGERS, BOTH_EYES, INDEX_FINGERS, FingerPosition, IrisPosition, Modality
from contract.seal import (
    RecipientKey,
    StatementPublicKey,
    load_opening_key,
    load_public_key,
    load_recipient_key,
    load_signing_key,
    load_statement_key,
    load_statement_public_key,
    open_sealed,
    seal,
)
from contract.topics import Topic
from contract.transfer import CHUNK_BYTES_MAX, Offer, Receipt, chunk_count
from hub.adjudication import Opinion
from hub.card_face import CardFaces
from hub.central import Central, assemble
from hub.config import HubSettings
from hub.context import HUB_KEY_ID, ISSUER_KEY_ID, HubContext, HubKeys
from hub.fleet import Fleet, Register
from hub.ingest import Ingest
from hub.personalisation import Renderer
from hub.schema.database import Database
from hub.schema.tables import Case, Outbox, PrintOrder, Record
from hub.vault import Vault
from tests.empty_databases import empty_postgresql, empty_sqlite
from virtual.people import person

DESK, KIOSK, STATION, HANDOVER = "desk-a1", "kiosk-b1", "station-1", "handover-a1"
SITE_A, SITE_B, SITE_K = "9901-A", "9902-B", "9900-K"
OPERATOR, SECOND, HEAD = "op-siti", "op-budi", "kasi-dewi"
ADJUDICATORS = ("adj-1", "adj-2", "adj-3", "adj-4")
OFFICERS = ("dc-1", "dc-2")
SECRET = "rahasia-contoh"
DATABASES = ("sqlite", "postgresql")
SEED = 20_261_122
DAY_MS = 24 * 3600 * 1000
_SALT = b"salt salt salt s"
# A low cost, so that tests do not wait for it.
CONSOLE_SECRET = "scrypt$2$8$1$" + "$".join(
    base64.b64encode(part).decode()
    for part in (_SALT, hashlib.scrypt(SECRET.encode(), salt=_SALT, n=2, r=8, p=1, dklen=32))
)


class SetClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_ms = 1_790_000_000_000

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        return self.now_ms - 1_780_000_000_000

    def pass_ms(self, duration_ms: int) -> None:
        self.now_ms += duration_ms


@cache
def private_key(name: str) -> ec.EllipticCurvePrivateKey:
    """The same key for the same name, so that tests need not make keys."""
    return ec.derive_private_key(int.from_bytes(name.encode()[:20], "big") + 0x5EED, ec.SECP256R1())


def private_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_bytes(name: str, encoding: serialization.Encoding) -> bytes:
    return private_key(name).public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)


def hub_keys() -> HubKeys:
    issuer = private_pem(private_key("issuer"))
    return HubKeys(
        packet=load_opening_key(private_pem(private_key("packet")), HUB_KEY_ID),
        dispatch=load_signing_key(private_pem(private_key("dispatch")), HUB_KEY_ID),
        statement=load_statement_key(private_pem(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))),
        issuer=load_signing_key(issuer, ISSUER_KEY_ID),
        issuer_public=public_bytes("issuer", serialization.Encoding.DER),
        sam=bytes(32),
        blob=bytes(range(1, 33)),
    )


def hub_statement() -> StatementPublicKey:
    """What verifies the hub's statements: leases, receipts, checkpoints."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key()
    return load_statement_public_key(
        key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def fleet() -> Fleet:
    """Two service sites, the printing office, one unit of each role, and officers of every kind."""

    def pem(name: str) -> str:
        return public_bytes(name, serialization.Encoding.PEM).decode()

    def operator(name: str, *roles: str, sites: tuple[str, ...] = ("*",)) -> dict[str, object]:
        pkcs8 = private_key(name).private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "id": name, "name": name.upper(), "roles": roles, "sites": sites,
            "public_key": public_bytes(name, serialization.Encoding.DER), "private_key": pkcs8,
            "console_secret": CONSOLE_SECRET,
        }  # fmt: skip

    return Fleet.model_validate(
        {
            "sites": [
                {"code": SITE_A, "name": "Kecamatan Contoh", "region": "9901", "blanks": 0},
                {"code": SITE_B, "name": "Kecamatan Lain", "region": "9902"},
                {"code": SITE_K, "name": "Dinas Dukcapil Contoh", "region": "9901", "blanks": 50},
            ],
            "units": [
                {"id": unit, "site": site, "role": role, "sign_public_pem": pem(unit), "open_public_pem": pem(unit)}
                for unit, site, role in (
                    (DESK, SITE_A, "desk"), (KIOSK, SITE_B, "kiosk"),
                    (STATION, SITE_K, "station"), (HANDOVER, SITE_A, "handover"),
                )
            ],
            "operators": [
                operator(OPERATOR, "operator"), operator(SECOND, "operator", "front-desk-officer"),
                operator(HEAD, "section-head", "operator"),
                *(operator(name, "adjudicator") for name in ADJUDICATORS),
                *(operator(name, "dc-officer") for name in OFFICERS),
            ],
        }
    )  # fmt: skip


def biodata(index: int, **changes: str) -> Biodata:
    fields = {
        "nik": f"99010141079{index:05d}", "name": f"SARI CONTOH {index}", "birth_place": "CONTOH",
        "birth_date": "1990-07-01", "sex": "PEREMPUAN", "blood_type": "O", "address": "JL. CONTOH 1",
        "rt_rw": "001/002", "village": "DESA CONTOH", "district": "KECAMATAN CONTOH",
        "regency": "KABUPATEN CONTOH", "province": "PROVINSI CONTOH", "religion": "ISLAM",
        "marital_status": "KAWIN", "occupation": "PETANI", "nationality": "WNI",
    }  # fmt: skip
    return Biodata.model_validate({**fields, **changes})


def finger_record(pixels: np.ndarray, position: FingerPosition) -> bytes:
    height, width = pixels.shape
    image = finger_image.FingerImage(position, width, height, encode_image(pixels, ImageFormat.PNG))
    return finger_image.encode_record(finger_image.FingerImageRecord((image,), finger_image.Compression.PNG))


@cache
def plain_records() -> dict[tuple[Modality, int], bytes]:
    """Samples that are what they should be and show nothing: a search finds nobody by them."""
    noise = np.random.default_rng(5).integers(0, 255, (96, 80), dtype=np.uint8)
    records = {(Modality.FINGER, int(finger)): finger_record(noise, finger) for finger in ALL_FINGERS}
    for eye in BOTH_EYES:
        image = iris_image.IrisImage(
            IrisPosition(eye), iris_image.IrisImageKind.VGA, iris_image.IrisImageFormat.PNG,
            640, 480, encode_image(np.full((480, 640), 90, np.uint8), ImageFormat.PNG),
        )  # fmt: skip
        records[Modality.IRIS, int(eye)] = iris_image.encode_record(iris_image.IrisImageRecord((image,)))
    portrait = np.full((320, 240, 3), (180, 60, 60), np.uint8)
    portrait[80:240, 70:170] = (210, 170, 140)
    face = face_image.FaceImage(240, 320, encode_image(portrait, ImageFormat.JPEG2000, max_bytes=20_000))
    records[Modality.FACE, 0] = face_image.encode_record(face_image.FaceImageRecord((face,)))
    records[Modality.SIGNATURE, 0] = signature_record()
    return records


@cache
def index_fingers(index: int, impression: int = 1) -> dict[FingerPosition, bytes]:
    """The index fingers of a synthetic person; impressions of one finger differ as real ones do."""
    resident = person(SEED, index)
    return {finger: finger_record(resident.finger(finger, impression), finger) for finger in INDEX_FINGERS}


def signature_record() -> bytes:
    points = [(100 * i, 500 + 300 * (i % 7), 10 * i, 30_000, True) for i in range(60)]
    return signature_series.encode_series(signature_series.signature_of(points, units_per_mm=100.0))


def enrolment(
    resident: Biodata, fingers: dict[FingerPosition, bytes] | None = None, **changes: object
) -> EnrolmentBody:
    """A complete capture, signed off by OPERATOR. fingers: records to put in place of the plain ones."""
    records = dict(plain_records())
    for finger, record in (fingers or {}).items():
        records[Modality.FINGER, int(finger)] = record
    body = EnrolmentBody(
        biodata=resident,
        samples=tuple(
            PacketSample(modality=modality, position=position, record=record, quality=60, attempts=1)
            for (modality, position), record in records.items()
        ),
        verification=tuple(
            Verification(position=int(finger), value=62.0, threshold_fmr=1e-4, matched=True) for finger in INDEX_FINGERS
        ),
        papers=("application-form", "family-card"),
        attestation=Attestation(
            text_sha256=bytes(32), biodata_sha256=biodata_digest(resident), signature=signature_record(), agreed_ms=1
        ),
        steps=(StepClock(step="capture", started_ms=1_789_999_800_000, ended_ms=1_789_999_990_000),),
    ).model_copy(update=changes)
    return signed_off(body) if "signoff" not in changes else body


def signed_off(body: EnrolmentBody, operator: str = OPERATOR) -> EnrolmentBody:
    signature = private_key(operator).sign(body.digest(), ec.ECDSA(SHA256()))
    word = SignOff(operator=operator, position=2, value=70.0, signature=signature)
    return body.model_copy(update={"signoff": word})


@dataclass
class World:
    """The hub, its clock, and hands to seal packets for its units."""

    central: Central
    clock: SetClock
    ingest: Ingest
    random: random.Random = field(default_factory=lambda: random.Random(7))
    sequence: int = 0
    boots: dict[str, bytes] = field(default_factory=dict)

    def new_id(self) -> str:
        return uuid7(self.clock, self.random.randbytes)

    def register(self, *people: Biodata, site: str = SITE_A, **changes: object) -> None:
        residents = [{"biodata": person, "site": site, **changes} for person in people]
        self.central.enrol_fleet(fleet(), Register.model_validate({"residents": residents}))

    def envelope(
        self, unit: str, body: Body, event_id: str = "", *, site: str = "", checkpoint: bytes = b""
    ) -> Envelope:
        self.sequence += 1
        kinds = {kind: name for name, kind in BODY_OF.items()}
        return Envelope(
            kind=kinds[type(body)],
            id=event_id or self.new_id(),
            unit=unit,
            site=site or {DESK: SITE_A, KIOSK: SITE_B, STATION: SITE_K, HANDOVER: SITE_A}.get(unit, SITE_A),
            moment=Moment(
                boot_id=self.boots.setdefault(unit, self.random.randbytes(16)),
                monotonic_ms=self.clock.monotonic_ms(),
                sequence=self.sequence,
                wall_ms=self.clock.wall_ms(),
                checkpoint=checkpoint,
            ),
            body=body,
        )

    def seal(self, envelope: Envelope, signer: str = "") -> bytes:
        unit = signer or envelope.unit
        key = load_signing_key(private_pem(private_key(unit)), unit)
        return seal(encode(envelope), key, [self.hub_recipient()])

    def hub_recipient(self) -> RecipientKey:
        return load_recipient_key(public_bytes("packet", serialization.Encoding.PEM), HUB_KEY_ID)

    def arrive(self, sealed: bytes, carrier: str) -> Receipt:
        """The packet as ingest commits it, without its chunks."""
        pid = pid_of(sealed)
        self.ingest.blob_path(pid).write_bytes(sealed)
        offer = Offer(
            length=len(sealed),
            chunk=CHUNK_BYTES_MAX,
            count=chunk_count(len(sealed), CHUNK_BYTES_MAX),
            key_id=carrier,
            attempt=1,
        )
        self.ingest.on_offer(carrier, pid, encode_message(offer))
        self.ingest.finish()
        found = self.central.packets.find(pid)
        assert found is not None
        return found

    def send(self, unit: str, body: Body, event_id: str = "", **options: object) -> str:
        """Seal, deliver and work off; returns the envelope's id."""
        envelope = self.envelope(unit, body, event_id, **options)  # type: ignore[arg-type]  # passes on keywords
        self.arrive(self.seal(envelope), unit)
        self.central.work_off()
        return envelope.id


def plain_faces(*_args: object, **_names: object) -> CardFaces:
    """Faces that show nothing, for tests that do not look at them."""
    return CardFaces(b"front", b"back")


def build_world(folder: Path, database: str, render: Renderer = plain_faces) -> Iterator[World]:
    """A hub on an empty database of this kind; closed when the generator ends."""
    clock = SetClock()
    if database == "postgresql":
        url = empty_postgresql()
    else:
        (folder / "hub.db").write_bytes(empty_sqlite())
        url = f"sqlite:///{folder / 'hub.db'}"
    settings = HubSettings(folder=folder)
    store = Database(url, durability="OFF")
    keys = hub_keys()
    context = HubContext(settings, store, Vault(keys.blob), keys, clock, random.Random(11).randbytes)
    central = assemble(context, render)
    ingest = Ingest(context.blob_dir, central.packets, central.units, keys.packet, keys.statement, clock)
    yield World(central, clock, ingest)
    store.close()


def said(world: World, topic: Topic, **names: str) -> bytes:
    """What the broker holds on a retained topic; nothing where nothing was ever said."""
    with world.central.context.database.reading() as session:
        return session.scalars(select(Outbox.payload).where(Outbox.topic == topic.at(**names))).one_or_none() or b""


def opened(world: World, unit: str, topic: Topic) -> bytes:
    """What the broker holds for a unit, as only that unit opens it."""
    hub = load_public_key(public_bytes("dispatch", serialization.Encoding.PEM), HUB_KEY_ID)
    key = load_opening_key(private_pem(private_key(unit)), unit)
    return open_sealed(said(world, topic, unit=unit), key, {HUB_KEY_ID: hub}.get).payload


def handover(card_uid: str, capture_id: str, nik: str, **changes: object) -> HandoverBody:
    fields: dict[str, object] = {
        "capture_id": capture_id, "nik": nik, "card_uid": card_uid, "berhasil": True, "policy": "either",
        "verification": (Verification(position=2, value=55.0, threshold_fmr=1e-4, matched=True),),
        "old_card": "none", "receipt_signature": b"signed", "operator": OPERATOR, "steps": (),
    }  # fmt: skip
    return HandoverBody.model_validate({**fields, **changes})


def personalisation(job: PrintJob, card_uid: str, **changes: object) -> PersonalisationBody:
    """A station's report of a card that was made as ordered."""
    fields: dict[str, object] = {
        "job_id": job.job_id, "capture_id": job.capture_id, "card_uid": card_uid, "print_job": "1",
        "outcome": "released", "read_back_sha256": chip_files(job.chip_files).digest, "operator": SECOND,
        "released_by": HEAD, "steps": (),
    }  # fmt: skip
    return PersonalisationBody.model_validate({**fields, **changes})


def job_of(world: World, capture_id: str) -> PrintJob:
    """The newest print job of a capture, as the station would open it."""
    with world.central.context.database.reading() as session:
        query = select(PrintOrder).where(PrintOrder.capture_id == capture_id).order_by(PrintOrder.made_ms.desc())
        order = session.scalars(query).first()
        assert order is not None
        return world.central.orders.job(order)


def confirm_job(world: World, job: PrintJob, *, accepted: bool = True) -> None:
    """The station's sealed answer to a print job."""
    answer = JobAnswer(job_id=job.job_id, accepted=accepted, at_ms=world.clock.wall_ms())
    key = load_signing_key(private_pem(private_key(STATION)), STATION)
    sealed = seal(encode_message(answer), key, [world.hub_recipient()])
    world.central.take_job_answer(STATION, job.job_id, sealed)


def make_card(world: World, capture_id: str, card_uid: str) -> None:
    """Confirm the job and report a released card."""
    job = job_of(world, capture_id)
    confirm_job(world, job)
    world.send(STATION, personalisation(job, card_uid))


def state_of(world: World, capture_id: str) -> str:
    with world.central.context.database.reading() as session:
        return session.get_one(Record, capture_id).state


def judge(world: World, case_id: str, adjudicator: str, opinion: Opinion) -> None:
    """Claim a case and decide it."""
    with world.central.context.database.transaction() as session:
        world.central.adjudication.claim(session, case_id, adjudicator)
    with world.central.context.database.transaction() as session:
        world.central.adjudication.decide(session, case_id, adjudicator, opinion, "what was seen")


def open_case(world: World, capture_id: str) -> Case:
    with world.central.context.database.reading() as session:
        return session.scalars(select(Case).where(Case.capture_id == capture_id, Case.decided_ms.is_(None))).one()
