"""What units report of their boxes (doors, heat, help): written down once, shown until seen, dropped a while after.

The unit's history has each for good (M69); the table here is what officers work from. Nothing is dropped that nobody
has seen. Every function runs in the caller's transaction.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from contract.dispatch import decode
from contract.errors import RemoteError
from contract.transfer import MESSAGE_BYTES_MAX, UnitAlarm
from hub import history
from hub.presence import unit_named
from hub.schema.commissioning_tables import Alarm, UnitHistory

EVENT = "alarm "


def take(session: Session, unit_id: str, payload: bytes, now_ms: int) -> tuple[str, bool]:
    """Write an alarm down; its id, and False where it was known already. Raises RemoteError."""
    said = decode(UnitAlarm, payload, MESSAGE_BYTES_MAX)
    unit = unit_named(session, unit_id)
    if session.get(Alarm, (unit_id, said.alarm_id)) is not None:
        return said.alarm_id, False
    session.add(
        Alarm(
            unit=unit_id, alarm_id=said.alarm_id, kind=said.kind, source=said.source, detail=said.detail,
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
        session, UnitHistory, subject=unit_id, event=f"{EVENT}{said.kind}", from_state=unit.state, to_state=unit.state,
        at_ms=now_ms, actor=unit_id, note=note,
    )  # fmt: skip
    unit.seen_ms = now_ms
    return said.alarm_id, True


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
