"""Operators' rights: enrolments that wait for a second officer, leases, rosters as they were said, sign-ons."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from hub.schema.tables import Base, HistoryLink
from hub.schema.update_tables import METADATA as UPDATES

PENDING = "pending"
METADATA = UPDATES  # once this module is read, all of the hub's tables


class OperatorHistory(HistoryLink):
    """Everything that happened to an operator's rights (M67, M69)."""

    __tablename__ = "operator_history"


class OperatorEnrolment(Base):
    """A person taken as an operator at a unit. state: pending, approved or refused. content: the body, locked.

    similar: operators whose fingers resemble these, with commas between them; warning: what the deciding officer has to
    know of the enrolling one, or empty.
    """

    __tablename__ = "operator_enrolment"
    id: Mapped[str] = mapped_column(primary_key=True)
    operator: Mapped[str] = mapped_column(index=True)
    unit: Mapped[str] = mapped_column(ForeignKey("unit.id"))
    site: Mapped[str] = mapped_column(ForeignKey("site.code"))
    enrolled_by: Mapped[str] = mapped_column(ForeignKey("operator.id"))
    content: Mapped[bytes]
    similar: Mapped[str] = mapped_column(Text, default="")
    warning: Mapped[str] = mapped_column(default="")
    received_ms: Mapped[int]
    state: Mapped[str] = mapped_column(default=PENDING, index=True)
    decided_by: Mapped[str | None] = mapped_column(ForeignKey("operator.id"), default=None)
    decided_ms: Mapped[int | None] = mapped_column(default=None)
    reason: Mapped[str] = mapped_column(Text, default="")
    __table_args__ = (
        CheckConstraint("decided_by IS NULL OR decided_by <> enrolled_by", name="enrolled_by_another"),
        CheckConstraint("decided_by IS NULL OR decided_by <> operator", name="nobody_approves_themselves"),
    )


class OperatorLease(Base):
    """The newest lease of an operator. signed: as it travels; the other columns say what it says."""

    __tablename__ = "operator_lease"
    operator: Mapped[str] = mapped_column(ForeignKey("operator.id"), primary_key=True)
    sequence: Mapped[int]
    roles: Mapped[str]
    sites: Mapped[str] = mapped_column(Text)
    key_sha256: Mapped[bytes]
    from_ms: Mapped[int]
    until_ms: Mapped[int]
    signed: Mapped[bytes]


class UnitRoster(Base):
    """A unit's roster as it was last said, and as the unit says that it holds it.

    base: version of the whole that the broker keeps; entries, base_entries: what is in it now and was in the base, as
    JSON {operator: [digest of the entry but its lease, the lease's sequence]}; touched: JSON list of who changed since.
    """

    __tablename__ = "unit_roster"
    unit: Mapped[str] = mapped_column(ForeignKey("unit.id"), primary_key=True)
    version: Mapped[int]
    digest: Mapped[bytes]
    sign_on: Mapped[str]
    entries: Mapped[str] = mapped_column(Text)
    base: Mapped[int]
    base_entries: Mapped[str] = mapped_column(Text)
    touched: Mapped[str] = mapped_column(Text)
    whole_said_ms: Mapped[int]
    held: Mapped[int] = mapped_column(default=0)
    held_ms: Mapped[int] = mapped_column(default=0)


class SignOn(Base):
    """Sign-ons of one operator at one unit, as the unit counts them."""

    __tablename__ = "sign_on"
    unit: Mapped[str] = mapped_column(ForeignKey("unit.id"), primary_key=True)
    operator: Mapped[str] = mapped_column(primary_key=True)
    last_ms: Mapped[int]
    signed_on: Mapped[int]
    failed: Mapped[int]
    locked: Mapped[bool]
