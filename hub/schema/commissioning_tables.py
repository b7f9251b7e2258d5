"""The tables of commissioning: technicians and their orders, claims, certificates, what a unit was told to be.

Times are wall milliseconds since 1970 (UTC). Nothing here is secret: claims, keys and certificates are public parts.
"""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from hub.schema.tables import Base, HistoryLink, Identity


class UnitHistory(HistoryLink):
    """Every transition of every unit."""

    __tablename__ = "unit_history"


class TechnicianHistory(HistoryLink):
    """What technicians were refused."""

    __tablename__ = "technician_history"


class Technician(Base):
    """The key that signs a technician's orders; who they are and where they work is the operator of this id."""

    __tablename__ = "technician"
    id: Mapped[str] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    public_key: Mapped[bytes]


class TechnicianOrder(Base):
    """An order that was carried out: a repetition is answered from here. signed: the evidence."""

    __tablename__ = "technician_order"
    id: Mapped[str] = mapped_column(primary_key=True)
    technician: Mapped[str] = mapped_column(ForeignKey("technician.id"))
    verb: Mapped[str]
    signed: Mapped[bytes]
    reply: Mapped[bytes]
    at_ms: Mapped[int] = mapped_column(index=True)


class ClaimRow(Base):
    """A claim that was certified. serial: of the only unit that may use it, empty for any; unit: who burned it."""

    __tablename__ = "claim"
    nonce: Mapped[str] = mapped_column(primary_key=True)
    serial: Mapped[str]
    made_by: Mapped[str] = mapped_column(ForeignKey("technician.id"))
    made_ms: Mapped[int]
    expires_ms: Mapped[int]
    burned_ms: Mapped[int | None] = mapped_column(default=None)
    unit: Mapped[str | None] = mapped_column(default=None)


class Commissioning(Base):
    """A unit that knocked with a claim. key_digest: of its three public keys; challenge: what its request must repeat.

    knock: CBOR of the knock; knocked_ms: of the newest; clock_off_ms: the unit's clock minus the hub's; problem: why it
    does not go on, empty where it does; approval: the technician's signed token; unit, site, role: once approved.
    """

    __tablename__ = "commissioning"
    nonce: Mapped[str] = mapped_column(ForeignKey("claim.nonce"), primary_key=True)
    serial: Mapped[str] = mapped_column(index=True)
    key_digest: Mapped[bytes]
    knock: Mapped[bytes]
    knocked_ms: Mapped[int] = mapped_column(index=True)
    clock_off_ms: Mapped[int]
    challenge: Mapped[bytes]
    problem: Mapped[str] = mapped_column(default="")
    detail: Mapped[str] = mapped_column(default="")
    approval: Mapped[bytes | None] = mapped_column(default=None)
    unit: Mapped[str | None] = mapped_column(default=None, index=True)
    site: Mapped[str] = mapped_column(default="")
    role: Mapped[str] = mapped_column(default="")
    replaces: Mapped[str] = mapped_column(default="")


class Certificate(Base):
    """A certificate that the hub issued, or that setup did. serial: hexadecimal; holder: its common name.

    state: PENDING until the holder connected with it, then ACTIVE (one a holder, by the index below), then SUPERSEDED
    or REVOKED, which put it on the list until it ends. nonce: of the claim that it came from; follows: the certificate
    that it was asked for with, empty where it was none. reason: why it ended; of one that lives: why it is on the list
    all the same.
    """

    __tablename__ = "certificate"
    serial: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(index=True)
    encoded: Mapped[bytes]
    key_home: Mapped[str]
    from_ms: Mapped[int]
    until_ms: Mapped[int]
    issued_ms: Mapped[int]
    ended_ms: Mapped[int | None] = mapped_column(default=None)
    reason: Mapped[str] = mapped_column(default="")
    nonce: Mapped[str] = mapped_column(default="", index=True)
    follows: Mapped[str] = mapped_column(default="")
    __table_args__ = (
        Index(
            "one_active_certificate",
            "holder",
            unique=True,
            sqlite_where=text("state = 'ACTIVE'"),
            postgresql_where=text("state = 'ACTIVE'"),
        ),
    )


class Alarm(Base):
    """What a unit reported of its box. seen_by, seen_ms: the officer who has dealt with it; until then it is kept."""

    __tablename__ = "alarm"
    unit: Mapped[str] = mapped_column(ForeignKey("unit.id"), primary_key=True)
    alarm_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    source: Mapped[str]
    detail: Mapped[str] = mapped_column(Text)
    unit_at_ms: Mapped[int]
    heard_ms: Mapped[int] = mapped_column(index=True)
    seen_by: Mapped[str] = mapped_column(default="")
    seen_ms: Mapped[int | None] = mapped_column(default=None, index=True)


class RevocationList(Base):
    """A revocation list that was signed; the newest one is what the broker should hold."""

    __tablename__ = "revocation_list"
    number: Mapped[int] = mapped_column(Identity, primary_key=True, autoincrement=True)
    encoded: Mapped[bytes]
    made_ms: Mapped[int]
    next_ms: Mapped[int]


class UnitSetup(Base):
    """What a unit was told to be and what it reports. tables: CBOR; reported, selftest: JSON of the messages.

    serial: of the hardware; replaces: the unit whose place it took.
    """

    __tablename__ = "unit_setup"
    unit: Mapped[str] = mapped_column(ForeignKey("unit.id"), primary_key=True)
    serial: Mapped[str] = mapped_column(index=True)
    replaces: Mapped[str] = mapped_column(default="")
    version: Mapped[int]
    tables: Mapped[bytes]
    digest: Mapped[bytes]
    reported: Mapped[str] = mapped_column(Text, default="")
    selftest: Mapped[str] = mapped_column(Text, default="")


METADATA = Base.metadata  # once this module is read, all of the hub's tables
