"""What a unit tells the hub for good: the envelope and its kinds of body, as CBOR with limits.

A body is encoded once, sealed (contract.seal), and never changed. Every field is checked when it is decoded; whatever
does not fit raises RemoteError and nothing else.
"""

from __future__ import annotations

import hashlib
from datetime import date
from enum import StrEnum
from typing import Annotated, Literal, Self

import cbor2
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from contract.cbor_bounds import loads_map
from contract.errors import RemoteError
from contract.sample import Modality
from contract.secret import SecretHash

SCHEMA_VERSION: Literal[1] = 1
PACKET_BYTES_MAX = 16 * 1024 * 1024
SAMPLE_BYTES_MAX = 1024 * 1024
SAMPLES_MAX = 40
SCANS_MAX = 12
SCAN_BYTES_MAX = 400 * 1024
SCANS_BYTES_MAX = 3 * 1024 * 1024

UuidText = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Nik = Annotated[str, Field(pattern=r"^[0-9]{16}$")]
CardUid = Annotated[str, Field(pattern=r"^[0-9A-F]{8,20}$")]
Text = Annotated[str, Field(max_length=200)]
Digest = Annotated[bytes, Field(min_length=32, max_length=32)]
Millis = Annotated[int, Field(ge=0, le=2**53)]
Quality = Annotated[int, Field(ge=0, le=100)]
Position = Annotated[int, Field(ge=0, le=10)]
Image = Annotated[bytes, Field(min_length=1, max_length=SAMPLE_BYTES_MAX)]


class Model(BaseModel):
    """Base of every message: frozen, strict, closed to unknown fields; its complaints never show what was given."""

    model_config = ConfigDict(
        defer_build=True,
        frozen=True,
        extra="forbid",
        strict=True,
        ser_json_bytes="base64",
        val_json_bytes="base64",
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


class PacketKind(StrEnum):
    """What an envelope carries."""

    ENROLMENT = "enrolment"
    HANDOVER = "handover"
    PERSONALISATION = "personalisation"
    REFUSAL = "refusal"
    OPERATOR = "operator"
    PIN = "pin"


class Moment(Model):
    """When something happened, as far as a unit can attest it (M28).

    boot_id: 16 random bytes a boot; monotonic_ms: since that boot; sequence: counts every moment the unit ever signed;
    wall_ms: the unit's own wall clock, unbelieved; checkpoint: SHA-256 of the last hub checkpoint seen, or empty.
    """

    boot_id: Annotated[bytes, Field(min_length=16, max_length=16)]
    monotonic_ms: Millis
    sequence: Annotated[int, Field(ge=0, le=2**53)]
    wall_ms: Millis
    checkpoint: Annotated[bytes, Field(max_length=32)] = b""


class Biodata(Model):
    """The resident's biodata as the register and the card face hold them (KTP-el layout)."""

    nik: Nik
    name: Text
    birth_place: Text
    birth_date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    sex: Literal["LAKI-LAKI", "PEREMPUAN"]
    blood_type: Annotated[str, Field(pattern=r"^(A|B|AB|O|-)[+-]?$")]
    address: Text
    rt_rw: Annotated[str, Field(pattern=r"^\d{3}/\d{3}$")]
    village: Text
    district: Text
    regency: Text
    province: Text
    religion: Text
    marital_status: Literal["BELUM KAWIN", "KAWIN", "CERAI HIDUP", "CERAI MATI"]
    occupation: Text
    nationality: Literal["WNI", "WNA"]

    @model_validator(mode="after")
    def _birth_date_exists(self) -> Self:
        try:
            date.fromisoformat(self.birth_date)
        except ValueError:
            raise ValueError("there is no such day of birth") from None
        return self


class PacketSample(Model):
    """One biometric sample: an ISO/IEC 19794 record and how it was taken.

    record: -4 for fingers, -5 for the face, -6 for irises, -7 for the signature; position: the modality's code;
    attempts: presentations until the gate let it pass; forced: the quality gate was overridden after the last retry.
    purpose: "reference" for the capture itself, "check" for the 1:1 check after it.
    """

    modality: Modality
    position: Position
    record: Image
    quality: Quality
    attempts: Annotated[int, Field(ge=1, le=50)]
    forced: bool = False
    purpose: Literal["reference", "check"] = "reference"


class BiometricException(Model):
    """A missing finger or eye (M12): recorded with a reason, a photo, and a second officer's word."""

    modality: Modality
    position: Position
    reason: Annotated[str, Field(min_length=3, max_length=200)]
    photo: Image
    second_officer: Name


class Verification(Model):
    """One 1:1 comparison on the unit: value is −10·log10(FMR), threshold_fmr the FMR it was decided at."""

    position: Position
    value: float
    threshold_fmr: Annotated[float, Field(gt=0, le=1)]
    matched: bool


class Attestation(Model):
    """The e-signed statement of truth (dokumen pengesahan): its text's digest and the pen's time series (19794-7)."""

    text_sha256: Digest
    biodata_sha256: Digest
    signature: Image
    agreed_ms: Millis


class SignOff(Model):
    """The operator's word: a fingerprint that matched, and the operator's signature over the capture's digest."""

    operator: Name
    position: Position
    value: float
    signature: Annotated[bytes, Field(min_length=64, max_length=80)]


class PortraitReview(Model):
    """The operator's word on the portrait (M29): it shows the person who is present.

    differs: what of the biodata this person does not seem to fit; the hub then asks the region. No program judges that.
    """

    differs: Annotated[tuple[Literal["sex", "age"], ...], Field(max_length=2)] = ()
    reviewed_ms: Millis


class PaperScan(Model):
    """One page of a paper that was filed with the application (M68): a JPEG, and the name that was ticked for it."""

    paper: Name
    page: Annotated[int, Field(ge=1, le=SCANS_MAX)]
    image: Annotated[bytes, Field(min_length=1, max_length=SCAN_BYTES_MAX)]


class StepClock(Model):
    """One step of the procedure and how long it took (M65)."""

    step: Name
    started_ms: Millis
    ended_ms: Millis


class EnrolmentBody(Model):
    """Everything captured of one resident (M11, M12, M17)."""

    biodata: Biodata
    samples: Annotated[tuple[PacketSample, ...], Field(min_length=1, max_length=SAMPLES_MAX)]
    exceptions: Annotated[tuple[BiometricException, ...], Field(max_length=12)] = ()
    verification: Annotated[tuple[Verification, ...], Field(max_length=20)]
    papers: Annotated[tuple[Name, ...], Field(max_length=20)]
    attestation: Attestation
    steps: Annotated[tuple[StepClock, ...], Field(max_length=60)]
    appeal_of: UuidText | None = None
    signoff: SignOff | None = None
    portrait_review: PortraitReview | None = None
    scans: Annotated[tuple[PaperScan, ...], Field(max_length=SCANS_MAX)] = ()
    eyes_confirmed_ms: Millis | None = None  # the operator's word that they are not swapped, although they look so

    @model_validator(mode="after")
    def _papers_leave_room_for_samples(self) -> Self:
        if sum(len(scan.image) for scan in self.scans) > SCANS_BYTES_MAX:
            raise ValueError("the scanned papers take too much room")
        if not {scan.paper for scan in self.scans} <= set(self.papers):
            raise ValueError("only papers that were ticked can be scanned")
        return self

    def digest(self) -> bytes:
        """SHA-256 of the capture without its sign-off: what the operator signs. Later fields count once given."""
        later = {name for name in ("portrait_review", "scans", "eyes_confirmed_ms") if not getattr(self, name)}
        fields = self.model_copy(update={"signoff": None}).model_dump(exclude=later)
        return hashlib.sha256(_dumps(fields)).digest()


class HandoverBody(Model):
    """The result of one handover (M42–M47, M49) with the resident's receipt (M46).

    decided_by: the section head who decided by face or iris, where the chip holds no finger.
    """

    capture_id: UuidText
    nik: Nik
    card_uid: CardUid
    berhasil: bool
    policy: Literal["either", "both"]
    verification: Annotated[tuple[Verification, ...], Field(max_length=20)]
    fallback: Literal["none", "other finger", "section head"] = "none"
    decided_by: Name | None = None
    dispensation: Name | None = None
    dispute: Literal["none", "attestation agrees", "attestation differs"] = "none"
    old_card: Literal["surrendered", "none", "lost"]
    old_card_returned: bool = False
    receipt_signature: Annotated[bytes, Field(max_length=SAMPLE_BYTES_MAX)] = b""
    operator: Name
    steps: Annotated[tuple[StepClock, ...], Field(max_length=60)]

    @model_validator(mode="after")
    def _nothing_without_a_receipt(self) -> Self:
        if self.berhasil and not self.receipt_signature:
            raise ValueError("nothing is handed over without a receipt (M46)")
        excused = self.dispensation is not None or self.fallback == "section head"
        if self.berhasil and not excused and not any(check.matched for check in self.verification):
            raise ValueError("berhasil needs a match, a dispensation or the section head (M43, M49)")
        return self


class PersonalisationBody(Model):
    """What a station did with one blank (M34–M36)."""

    job_id: UuidText
    capture_id: UuidText
    card_uid: CardUid
    print_job: Annotated[str, Field(max_length=200)]
    outcome: Literal["released", "spoiled"]
    reason: Text = ""
    read_back_sha256: Annotated[bytes, Field(max_length=32)] = b""
    operator: Name
    released_by: Name | None = None
    steps: Annotated[tuple[StepClock, ...], Field(max_length=60)]


class RefusalBody(Model):
    """A repeat refused on the spot (M15, LOCAL_DUPLICATE): no new record, but never silent."""

    biodata: Biodata
    similar_capture: UuidText
    value: float
    appealed: bool
    samples: Annotated[tuple[PacketSample, ...], Field(max_length=SAMPLES_MAX)] = ()
    operator: Name


class _SignedOff(Model):
    """A body that an officer signs: the sign-off covers everything else."""

    signoff: SignOff | None = None

    def digest(self) -> bytes:
        """SHA-256 of everything but the sign-off; a later version's field that is not there changes nothing."""
        later = {"order"} if getattr(self, "order", None) is None else set()
        fields = self.model_copy(update={"signoff": None}).model_dump(exclude=later)
        return hashlib.sha256(_dumps(fields)).digest()


class OperatorBody(_SignedOff):
    """Whom an officer took as an operator: 19794-4 fingers, their 19794-2 templates (M67). Waits for approval."""

    operator: Name
    name: Annotated[str, Field(min_length=1, max_length=120)]
    roles: Annotated[tuple[Name, ...], Field(min_length=1, max_length=8)]
    fingers: Annotated[tuple[PacketSample, ...], Field(min_length=2, max_length=10)]
    templates: dict[Annotated[int, Field(ge=1, le=10)], Annotated[bytes, Field(min_length=1, max_length=16 * 1024)]]
    pin: SecretHash = ""
    card_uid: CardUid | None = None

    @model_validator(mode="after")
    def _a_template_for_each_finger(self) -> Self:
        positions = [sample.position for sample in self.fingers if sample.modality is Modality.FINGER]
        if len(positions) != len(self.fingers) or sorted(positions) != sorted(self.templates):
            raise ValueError("each finger is there once, with its template")
        return self


class PinOrder(Model):
    """What a change of a PIN was made on top of, and when (contract.pins decides by it).

    replaces: SHA-256 of the record that was good at the unit; epoch: of the PIN's state there; changed_ms: the unit's
    trusted time, and always later than the change that it knew of.
    """

    epoch: Annotated[int, Field(ge=0, le=2**31)]
    replaces: Digest
    changed_ms: Millis


class PinBody(_SignedOff):
    """An operator's new PIN, from a unit where finger and old PIN were right; an earlier version names no order."""

    operator: Name
    pin: Annotated[SecretHash, Field(min_length=1)]
    order: PinOrder | None = None


Body = EnrolmentBody | HandoverBody | PersonalisationBody | RefusalBody | OperatorBody | PinBody

BODY_OF: dict[PacketKind, type[Body]] = {
    PacketKind.ENROLMENT: EnrolmentBody,
    PacketKind.HANDOVER: HandoverBody,
    PacketKind.PERSONALISATION: PersonalisationBody,
    PacketKind.REFUSAL: RefusalBody,
    PacketKind.OPERATOR: OperatorBody,
    PacketKind.PIN: PinBody,
}


class Envelope(Model):
    """The outermost map of a packet.

    id: for an enrolment the capture id, otherwise the event's own UUIDv7; a packet sealed again keeps it.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    kind: PacketKind
    id: UuidText
    unit: Name
    site: Name
    moment: Moment
    body: Body

    @model_validator(mode="after")
    def _body_is_of_its_kind(self) -> Self:
        if not isinstance(self.body, BODY_OF[self.kind]):
            raise ValueError(f"the body is not of kind {self.kind}")  # noqa: TRY004 - pydantic turns ValueError into its own
        return self


def encode(envelope: Envelope) -> bytes:
    """The envelope as canonical CBOR. Raises RemoteError above PACKET_BYTES_MAX."""
    encoded = _dumps(envelope.model_dump())
    if len(encoded) > PACKET_BYTES_MAX:
        raise RemoteError(
            f"The packet has {len(encoded)} bytes, more than {PACKET_BYTES_MAX}.",
            next_step="Capture again with the scanner's ordinary resolution.",
        )
    return encoded


def decode(encoded: bytes) -> Envelope:
    """An envelope from CBOR. Raises RemoteError for everything that is not one."""
    fields = loads_map(encoded, PACKET_BYTES_MAX)
    kind = fields.get("kind")
    body = fields.get("body")
    if kind not in tuple(PacketKind) or not isinstance(body, dict):
        raise RemoteError("The packet names no kind that this hub knows.", next_step="Update the hub, or the unit.")
    try:
        fields["body"] = BODY_OF[PacketKind(kind)].model_validate(body, strict=False)
        return Envelope.model_validate(fields, strict=False)
    except ValidationError as error:
        raise refused("packet", error) from None


def refused(what: str, error: ValidationError) -> RemoteError:
    """The validator's complaints as a RemoteError that names fields, never their contents."""
    problems = "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or what}: {problem['type']}" for problem in error.errors()[:5]
    )
    return RemoteError(f"The {what} is refused: {problems}.")


def _dumps(value: object) -> bytes:
    return cbor2.dumps(value, canonical=True)
