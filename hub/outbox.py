"""Everything the hub sends leaves through this table, written in the transaction that decided it.

What is retained stays as the newest row of its topic: after a broker lost its memory the hub says it all again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from contract.topics import Topic
from hub.schema.tables import Outbox

ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Message:
    """A message on its way out."""

    id: int
    topic: str
    payload: bytes
    qos: int
    retain: bool


def post(session: Session, topic: Topic, payload: bytes, now_ms: int, **names: str) -> None:
    """Queue a message. On a retained topic it replaces what was queued or said before; empty clears the topic."""
    name = topic.at(**names)
    if topic.retain:
        session.execute(delete(Outbox).where(Outbox.topic == name))
    session.add(Outbox(topic=name, payload=payload, qos=topic.qos, retain=topic.retain, created_ms=now_ms))
    session.flush()


def post_to_each(session: Session, topic: Topic, payload: bytes, now_ms: int, units: Sequence[str]) -> None:
    """Queue the same retained message for many units, as `post` does for one."""
    rows = [
        {"topic": topic.at(unit=unit), "payload": payload, "qos": topic.qos, "retain": True, "created_ms": now_ms}
        for unit in units
    ]
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        session.execute(delete(Outbox).where(Outbox.topic.in_([row["topic"] for row in some])))
        session.execute(insert(Outbox), some)


def is_posted(session: Session, topic: Topic, **names: str) -> bool:
    """Whether a retained message stands for these names."""
    query = select(func.count()).where(Outbox.topic == topic.at(**names), Outbox.payload != b"")
    return bool(session.scalar(query))


def due(session: Session, limit: int) -> list[Message]:
    """The oldest messages that were not published yet, in the order they were queued."""
    query = select(Outbox).where(Outbox.published_ms.is_(None)).order_by(Outbox.id).limit(limit)
    return [Message(row.id, row.topic, row.payload, row.qos, row.retain) for row in session.scalars(query)]


def mark_published(session: Session, ids: Sequence[int], now_ms: int) -> None:
    """The broker has taken these. What is not retained is dropped, the rest stays to be said again."""
    session.execute(delete(Outbox).where(Outbox.id.in_(ids), Outbox.retain.is_(False)))
    session.execute(update(Outbox).where(Outbox.id.in_(ids)).values(published_ms=now_ms))


def say_again(session: Session) -> None:
    """Queue every retained message again: a broker that was restarted knows nothing."""
    session.execute(update(Outbox).where(Outbox.retain.is_(True)).values(published_ms=None))


def waiting(session: Session) -> int:
    """How many messages wait for the broker."""
    return session.scalar(select(func.count()).select_from(Outbox).where(Outbox.published_ms.is_(None))) or 0
