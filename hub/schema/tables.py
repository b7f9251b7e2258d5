"""The hub's tables. Every column that could name or show a person is a digest or locked (hub.vault).

Times are wall milliseconds since 1970 (UTC). State columns hold the official names; only hub.records and hub.ledger
write them. Histories are append-only: the database itself refuses to change or delete their rows.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Float, ForeignKey, Index, Integer, LargeBinary, String, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Identity = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """Root of the hub's tables."""

    type_annotation_map = {int: BigInteger, str: String(200), bytes: LargeBinary}  # noqa: RUF012 - SQLAlchemy's hook


class Site(Base):
    """A place of service. sign_on: what everybody who signs on there has to show (contract.operators.SignOnPolicy).

    latitude, longitude: degrees, where the fleet file names them.
    """

    __tablename__ = "site"
    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    region: Mapped[str]
    latitude: Mapped[float | None] = mapped_column(Float, default=None)
    longitude: Mapped[float | None] = mapped_column(Float, default=None)
    sign_on: Mapped[str] = mapped_column(default="finger")


class SiteKey(Base):
    """One epoch of a site's symmetric key. key: locked."""

    __tablename__ = "site_key"
    site: Mapped[str] = mapped_column(ForeignKey("site.code"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[bytes]
    made_ms: Mapped[int]


class Unit(Base):
    """A unit, its public keys, and what it last said of itself. presence, uplink: JSON of the transfer messages."""

    __tablename__ = "unit"
    id: Mapped[str] = mapped_column(primary_key=True)
    site: Mapped[str] = mapped_column(ForeignKey("site.code"))
    role: Mapped[str]
    state: Mapped[str]
    sign_public_pem: Mapped[str] = mapped_column(Text)
    open_public_pem: Mapped[str] = mapped_column(Text)
    presence: Mapped[str] = mapped_column(Text, default="")
    uplink: Mapped[str] = mapped_column(Text, default="")
    seen_ms: Mapped[int] = mapped_column(default=0)


class Operator(Base):
    """A person with rights. templates, private_key, second_factor: locked; roles, sites: words with commas between.

    approved_ms: when an enrolment at a unit was last approved; None for one who is as setup told.
    """

    __tablename__ = "operator"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    roles: Mapped[str]
    sites: Mapped[str] = mapped_column(Text)
    templates: Mapped[bytes]
    public_key: Mapped[bytes]
    private_key: Mapped[bytes]
    lease_days: Mapped[int]
    console_secret: Mapped[str]
    revoked: Mapped[bool] = mapped_column(default=False)
    second_factor: Mapped[bytes | None] = mapped_column(default=None)
    approved_ms: Mapped[int | None] = mapped_column(default=None)


class Resident(Base):
    """One NIK of the register. biodata: locked. standing: the capture that stands for the NIK, if any (M14)."""

    __tablename__ = "resident"
    nik_digest: Mapped[str] = mapped_column(primary_key=True)
    biodata: Mapped[bytes]
    site: Mapped[str] = mapped_column(ForeignKey("site.code"), index=True)
    desk: Mapped[str]
    page: Mapped[str]
    eligible: Mapped[bool]
    old_card_due: Mapped[bool]
    papers: Mapped[str] = mapped_column(Text)
    standing: Mapped[str | None] = mapped_column(default=None)


class Record(Base):
    """One capture (M22). boot_id … wall_ms: the unit's signed moment; earliest_ms, latest_ms: the hub's bounds (M28).

    biodata: as captured, locked; failure: code of what to do next, empty when nothing failed; revision: guards
    against two writers.
    """

    __tablename__ = "record"
    capture_id: Mapped[str] = mapped_column(primary_key=True)
    nik_digest: Mapped[str] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(index=True)
    site: Mapped[str]
    unit: Mapped[str]
    pid: Mapped[str]
    boot_id: Mapped[bytes]
    monotonic_ms: Mapped[int]
    sequence: Mapped[int]
    wall_ms: Mapped[int]
    earliest_ms: Mapped[int]
    latest_ms: Mapped[int]
    received_ms: Mapped[int]
    changed_ms: Mapped[int]
    biodata: Mapped[bytes]
    failure: Mapped[str] = mapped_column(default="")
    appeal_of: Mapped[str | None] = mapped_column(default=None)
    revision: Mapped[int] = mapped_column(default=0)
    __mapper_args__ = {"version_id_col": revision}  # noqa: RUF012 - SQLAlchemy's hook


class HistoryLink(Base):
    """One transition of one subject, chained by hash to the one before. note: JSON without personal data."""

    __abstract__ = True
    sequence: Mapped[int] = mapped_column(Identity, primary_key=True, autoincrement=True)
    subject: Mapped[str] = mapped_column(index=True)
    event: Mapped[str]
    from_state: Mapped[str]
    to_state: Mapped[str]
    at_ms: Mapped[int]
    actor: Mapped[str]
    note: Mapped[str] = mapped_column(Text)
    previous_sha256: Mapped[bytes]
    sha256: Mapped[bytes]


class RecordHistory(HistoryLink):
    """Every transition of every record."""

    __tablename__ = "record_history"


class CardHistory(HistoryLink):
    """Every transition of every physical card."""

    __tablename__ = "card_history"


class ChainHead(Base):
    """The newest link of each chain; its row is the lock that makes appending one at a time."""

    __tablename__ = "chain_head"
    name: Mapped[str] = mapped_column(primary_key=True)
    length: Mapped[int]
    sha256: Mapped[bytes]


class Packet(Base):
    """A sealed packet that arrived; its bytes lie in the blob folder. carrier: who delivered it; signer: who made it.

    kind, event_id: of the envelope, empty where it could not be opened; settled_ms: when the hub had dealt with it.
    """

    __tablename__ = "packet"
    pid: Mapped[str] = mapped_column(primary_key=True)
    carrier: Mapped[str]
    signer: Mapped[str]
    length: Mapped[int]
    received_ms: Mapped[int]
    settled_ms: Mapped[int | None] = mapped_column(default=None, index=True)
    kind: Mapped[str]
    event_id: Mapped[str] = mapped_column(index=True)
    quarantine: Mapped[str] = mapped_column(Text)


class ReceiptRow(Base):
    """A receipt for a packet (contract.transfer.Receipt); the newest one of a pid counts."""

    __tablename__ = "receipt"
    hub_sequence: Mapped[int] = mapped_column(Identity, primary_key=True, autoincrement=True)
    pid: Mapped[str] = mapped_column(ForeignKey("packet.pid"), index=True)
    unit: Mapped[str]
    time_ms: Mapped[int]
    disposition: Mapped[str]
    reason: Mapped[str]
    published: Mapped[bool] = mapped_column(default=False, index=True)


class Outbox(Base):
    """A message on its way out; of a retained topic the newest row stays as what the broker should hold."""

    __tablename__ = "outbox"
    id: Mapped[int] = mapped_column(Identity, primary_key=True, autoincrement=True)
    topic: Mapped[str] = mapped_column(index=True)
    payload: Mapped[bytes]
    qos: Mapped[int]
    retain: Mapped[bool]
    created_ms: Mapped[int]
    published_ms: Mapped[int | None] = mapped_column(default=None, index=True)
    # An id is never used twice: a message that is replaced while it is being published must not look published.
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy's hook


class StalePage(Base):
    """A register page whose statuses changed since it was last said; rebuilt once, however many changed."""

    __tablename__ = "stale_page"
    site: Mapped[str] = mapped_column(ForeignKey("site.code"), primary_key=True)
    page: Mapped[str] = mapped_column(primary_key=True)


class Template(Base):
    """A comparison template of a capture, stamped with its extractor. data: locked; impression: 0 for the reference."""

    __tablename__ = "template"
    capture_id: Mapped[str] = mapped_column(ForeignKey("record.capture_id"), primary_key=True)
    modality: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    impression: Mapped[int] = mapped_column(primary_key=True)
    extractor: Mapped[str]
    data: Mapped[bytes]


class Case(Base):
    """A question for adjudicators about one capture. verdict: empty until decided."""

    __tablename__ = "adjudication_case"
    id: Mapped[str] = mapped_column(primary_key=True)
    capture_id: Mapped[str] = mapped_column(index=True)
    cause: Mapped[str]
    opened_ms: Mapped[int]
    decided_ms: Mapped[int | None] = mapped_column(default=None)
    verdict: Mapped[str] = mapped_column(default="")
    same_as: Mapped[str | None] = mapped_column(default=None)
    first: Mapped[str | None] = mapped_column(default=None)


class CaseCandidate(Base):
    """Another capture that may be of the same person. value: fused −10·log10(FMR); detail: JSON of single scores."""

    __tablename__ = "case_candidate"
    case_id: Mapped[str] = mapped_column(ForeignKey("adjudication_case.id"), primary_key=True)
    capture_id: Mapped[str] = mapped_column(primary_key=True, index=True)
    value: Mapped[float]
    detail: Mapped[str] = mapped_column(Text)


class CaseDecision(Base):
    """One adjudicator's claim on a case, then their decision; one each, for ever."""

    __tablename__ = "case_decision"
    case_id: Mapped[str] = mapped_column(ForeignKey("adjudication_case.id"), primary_key=True)
    adjudicator: Mapped[str] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    claimed_ms: Mapped[int]
    decided_ms: Mapped[int | None] = mapped_column(default=None)
    verdict: Mapped[str] = mapped_column(default="")
    same_as: Mapped[str | None] = mapped_column(default=None)
    first: Mapped[str | None] = mapped_column(default=None)
    reason: Mapped[str] = mapped_column(Text, default="")


class Proposal(Base):
    """An action that needs two persons: proposed by one, confirmed or refused by another.

    unseen: for a loss, what the proof of capture says where no record is here yet; locked.
    """

    __tablename__ = "proposal"
    id: Mapped[str] = mapped_column(primary_key=True)
    action: Mapped[str]
    subject: Mapped[str] = mapped_column(index=True)
    reason: Mapped[str] = mapped_column(Text)
    proposed_by: Mapped[str] = mapped_column(ForeignKey("operator.id"))
    proposed_ms: Mapped[int]
    decided_by: Mapped[str | None] = mapped_column(ForeignKey("operator.id"), default=None)
    decided_ms: Mapped[int | None] = mapped_column(default=None)
    confirmed: Mapped[bool | None] = mapped_column(default=None)
    unseen: Mapped[bytes | None] = mapped_column(default=None)
    __table_args__ = (CheckConstraint("decided_by IS NULL OR decided_by <> proposed_by", name="two_persons"),)


class PrintOrder(Base):
    """A print job for one capture. attestation, job: locked; state: see hub.personalisation.OrderState."""

    __tablename__ = "print_order"
    job_id: Mapped[str] = mapped_column(primary_key=True)
    capture_id: Mapped[str] = mapped_column(ForeignKey("record.capture_id"), index=True)
    card_number: Mapped[str] = mapped_column(unique=True)
    station: Mapped[str] = mapped_column(ForeignKey("unit.id"))
    desk: Mapped[str]
    state: Mapped[str]
    made_ms: Mapped[int]
    changed_ms: Mapped[int]
    attestation: Mapped[bytes]
    job: Mapped[bytes]


class Card(Base):
    """A physical card by its chip (M38). made_at, place: where it was made and where it is.

    live: activated and not revoked, at most one a NIK by the index below; recalled: revoked, and has to come back.
    """

    __tablename__ = "card"
    card_uid: Mapped[str] = mapped_column(primary_key=True)
    card_number: Mapped[str]
    capture_id: Mapped[str] = mapped_column(index=True)
    nik_digest: Mapped[str]
    job_id: Mapped[str] = mapped_column(ForeignKey("print_order.job_id"))
    state: Mapped[str] = mapped_column(index=True)
    made_at: Mapped[str] = mapped_column(ForeignKey("site.code"), index=True)
    place: Mapped[str] = mapped_column(ForeignKey("site.code"))
    live: Mapped[bool] = mapped_column(default=False)
    recalled: Mapped[bool] = mapped_column(default=False)
    made_ms: Mapped[int]
    changed_ms: Mapped[int]
    __table_args__ = (
        Index(
            "one_live_card",
            "nik_digest",
            unique=True,
            sqlite_where=text("live"),
            postgresql_where=text("live"),
        ),
    )


class BlankMovement(Base):
    """Blanks that came to a place (count above 0) or were used there (below 0). Append-only."""

    __tablename__ = "blank_movement"
    id: Mapped[int] = mapped_column(Identity, primary_key=True, autoincrement=True)
    place: Mapped[str] = mapped_column(ForeignKey("site.code"), index=True)
    count: Mapped[int]
    cause: Mapped[str]
    actor: Mapped[str]
    at_ms: Mapped[int]


class ClockStep(Base):
    """One timed step of a capture, a personalisation or a handover (M65). source, kind: of the envelope."""

    __tablename__ = "clock_step"
    source: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[str] = mapped_column(primary_key=True)
    started_ms: Mapped[int] = mapped_column(primary_key=True)
    ended_ms: Mapped[int]
    kind: Mapped[str]
    capture_id: Mapped[str] = mapped_column(index=True)


class Checkpoint(Base):
    """The hub's signed clock (M28)."""

    __tablename__ = "checkpoint"
    sequence: Mapped[int] = mapped_column(primary_key=True)
    time_ms: Mapped[int]
    previous_sha256: Mapped[bytes]
    sha256: Mapped[bytes] = mapped_column(unique=True)
    signed: Mapped[bytes]
