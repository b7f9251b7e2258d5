"""What units report of their boxes (doors, heat, help), and what the hub itself sees of one: written down once, shown
until seen, dropped a while after.

The unit's history has each for good (M69); the table here is what officers work from. Nothing is dropped that nobody
has seen. Every function runs in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from contract.clock import Clock
from contract.dispatch import decode
from contract.errors import RemoteError
from contract.identifiers import uuid7
from contract.transfer import MESSAGE_BYTES_MAX, UnitAlarm
from hub import history
from hub.presence import unit_named
from hub.schema.commissioning_tables import Alarm, UnitHistory
from hub.schema.tables import Unit

EVENT = "alarm "
AGAIN_AFTER_MS = 24 * 3600 * 1000


def take(session: Session, unit_id: str, payload: bytes, now_ms: int) -> tuple[str, bool]:
    """Write an alarm down; its id, and False where it was known already. Raises RemoteError."""
    said = decode(UnitAlarm, payload, MESSAGE_BYTES_MAX)
    unit = unit_named(session, unit_id)
    with session.no_autoflush:  # by its key: what others of the batch have written is no answer to this
        known = session.get(Alarm, (unit_id, said.alarm_id))
    if known is not None:
        return said.alarm_id, False
    _write_down(session, unit, said, unit_id, now_ms)
    unit.seen_ms = now_ms
    return said.alarm_id, True


def raise_here(session: Session, clock: Clock, unit_id: str, kind: str, source: str, detail: str) -> None:
    """An alarm about a unit that the hub raises itself: again where the last one was seen, and a day has passed."""
    now = clock.wall_ms()
    recent = or_(Alarm.heard_ms > now - AGAIN_AFTER_MS, Alarm.seen_ms.is_(None))
    known = select(Alarm.alarm_id).where(Alarm.unit == unit_id, Alarm.kind == kind, recent)
    if session.scalars(known.limit(1)).first() is None:
        said = UnitAlarm(alarm_id=uuid7(clock), kind=kind, source=source, at_ms=now, detail=detail)
        _write_down(session, unit_named(session, unit_id), said, "hub", now)


def unseen_of(session: Session, units: Iterable[str], kinds: Iterable[str]) -> set[tuple[str, str]]:
    """Which of these units have an alarm of which of these kinds that nobody has seen."""
    query = select(Alarm.unit, Alarm.kind).where(Alarm.unit.in_(list(units)), Alarm.kind.in_(list(kinds)))
    return {(unit, kind) for unit, kind in session.execute(query.where(Alarm.seen_ms.is_(None)))}


def note_seen(session: Session, unit_id: str, alarm_id: str, officer: str, now_ms: int) -> None:
    """An officer has dealt with an alarm; who was first stays. Raises RemoteError for one that is not there."""
    alarm = session.get(Alarm, (unit_id, alarm_id), with_for_update=True)
    if alarm is None:
        raise RemoteError("No such alarm is kept here.", next_step="Look at the list again.")
    if alarm.seen_ms is None:
        alarm.seen_by, alarm.seen_ms = officer, now_ms


def drop_old(session: Session, kept_days: float, now_ms: int) -> int:
    """Drop what was seen so many days ago; what nobody has seen stays. Returns how many."""
    before_ms = now_ms - int(timedelta(days=kept_days) / timedelta(milliseconds=1))
    found = session.execute(delete(Alarm).where(Alarm.seen_ms <= before_ms))
    return int(found.rowcount)  # type: ignore[attr-defined]  # a DELETE's result has it


def unseen(session: Session) -> int:
    """How many alarms wait for somebody."""
    return session.scalar(select(func.count()).where(Alarm.seen_ms.is_(None))) or 0


def newest(session: Session, limit: int) -> list[dict[str, Any]]:
    """Alarms of all units: those that nobody has seen first, each newest first."""
    query = select(Alarm).order_by(Alarm.seen_ms.is_not(None), Alarm.heard_ms.desc(), Alarm.alarm_id.desc())
    return [
        {column.name: getattr(row, column.name) for column in Alarm.__table__.columns}
        for row in session.scalars(query.limit(limit))
    ]


def _write_down(session: Session, unit: Unit, said: UnitAlarm, actor: str, now_ms: int) -> None:
    """Into the table that officers work from, and into the unit's history."""
    session.add(
        Alarm(
            unit=unit.id, alarm_id=said.alarm_id, kind=said.kind, source=said.source, detail=said.detail,
            unit_at_ms=said.at_ms, heard_ms=now_ms,
        )
    )  # fmt: skip
    note: history.Note = {
        "alarm_id": said.alarm_id,
        "source": said.source,
        "detail": said.detail,
        "unit_at_ms": said.at_ms,
    }
    history.append(
        session, UnitHistory, subject=unit.id, event=f"{EVENT}{said.kind}", from_state=unit.state, to_state=unit.state,
        at_ms=now_ms, actor=actor, note=note,
    )  # fmt: skip
