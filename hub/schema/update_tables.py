"""The tables of updates: the repository's metadata, rollouts with the units in them, and what each unit reports.

Times are wall milliseconds since 1970 (UTC). Nothing here is secret: metadata are signed, and meant to be read by all.
"""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from hub.schema.commissioning_tables import METADATA as COMMISSIONING
from hub.schema.tables import Base


class UpdateMetadata(Base):
    """One version of one role's metadata, as it is served. expires_ms: when nobody believes it any more."""

    __tablename__ = "update_metadata"
    role: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    encoded: Mapped[bytes]
    made_ms: Mapped[int]
    expires_ms: Mapped[int]


class Rollout(Base):
    """A release on its way to units, in waves. target, artefact, number, version: the release.

    waves: JSON of what was ordered, for people; wave: the newest that was begun, from 0, of wave_count; reached_ms:
    since when its units are good; forgiven: failures that somebody went on from; why: of the last stop, pause or end.
    """

    __tablename__ = "rollout"
    id: Mapped[str] = mapped_column(primary_key=True)
    target: Mapped[str]
    artefact: Mapped[str]
    number: Mapped[int]
    version: Mapped[str]
    made_by: Mapped[str] = mapped_column(ForeignKey("technician.id"))
    made_ms: Mapped[int] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(index=True)
    waves: Mapped[str] = mapped_column(Text)
    wave: Mapped[int] = mapped_column(default=0)
    wave_count: Mapped[int]
    soak_ms: Mapped[int]
    overdue_ms: Mapped[int]
    good_share: Mapped[float]
    stop_share: Mapped[float]
    reached_ms: Mapped[int | None] = mapped_column(default=None)
    forgiven: Mapped[int] = mapped_column(default=0)
    changed_ms: Mapped[int]
    why: Mapped[str] = mapped_column(Text, default="")


class RolloutUnit(Base):
    """A unit in a rollout. step: how far it has come; job: of the last time it was told; since_ms: of the step.

    open: the rollout has not ended; a unit is in one open rollout at most, by the index below.
    """

    __tablename__ = "rollout_unit"
    rollout: Mapped[str] = mapped_column(ForeignKey("rollout.id"), primary_key=True)
    unit: Mapped[str] = mapped_column(ForeignKey("unit.id"), primary_key=True, index=True)
    wave: Mapped[int]
    step: Mapped[str]
    job: Mapped[str] = mapped_column(default="", index=True)
    since_ms: Mapped[int]
    problem: Mapped[str] = mapped_column(default="")
    detail: Mapped[str] = mapped_column(Text, default="")
    open: Mapped[bool] = mapped_column(default=True)
    __table_args__ = (
        Index(
            "one_open_rollout",
            "unit",
            unique=True,
            sqlite_where=text("open = 1"),
            postgresql_where=text("open"),
        ),
    )


class UnitUpdate(Base):
    """What a unit last reported of its software. report: JSON of the message; heard_ms: by the hub's clock."""

    __tablename__ = "unit_update"
    unit: Mapped[str] = mapped_column(ForeignKey("unit.id"), primary_key=True)
    report: Mapped[str] = mapped_column(Text)
    heard_ms: Mapped[int]


METADATA = COMMISSIONING  # once this module is read, all of the hub's tables
