"""Append-only histories chained by hash: whoever changes or drops an old line breaks every line after it (M69).

A link's hash covers the hash before it and every field of its own, so the chain head alone vouches for the whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import cbor2
from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.errors import DeviceError
from hub.schema.tables import ChainHead, HistoryLink

Note = Mapping[str, str | int | float | bool | None]
GENESIS = bytes(32)


def append(
    session: Session,
    kind: type[HistoryLink],
    *,
    subject: str,
    event: str,
    from_state: str,
    to_state: str,
    at_ms: int,
    actor: str,
    note: Note,
) -> None:
    """Append one link to the chain of `kind`. The head's row is locked until the transaction ends."""
    head = _locked_head(session, kind.__tablename__)
    link = kind(
        sequence=head.length + 1,
        subject=subject,
        event=event,
        from_state=from_state,
        to_state=to_state,
        at_ms=at_ms,
        actor=actor,
        note=json.dumps(note, sort_keys=True),
        previous_sha256=head.sha256,
        sha256=b"",
    )
    link.sha256 = _digest(link)
    session.add(link)
    head.length, head.sha256 = link.sequence, link.sha256


def way_of(session: Session, kind: type[HistoryLink], subject: str) -> list[HistoryLink]:
    """The links of one record or card, oldest first."""
    return list(session.scalars(select(kind).where(kind.subject == subject).order_by(kind.sequence)))


def verify(session: Session, kind: type[HistoryLink]) -> int:
    """How many links the chain has, each checked. Raises DeviceError at the first that does not fit."""
    previous, count = GENESIS, 0
    for link in session.scalars(select(kind).order_by(kind.sequence).execution_options(yield_per=500)):
        count += 1
        if link.sequence != count or link.previous_sha256 != previous or link.sha256 != _digest(link):
            raise _broken(kind.__tablename__, count)
        previous = link.sha256
    head = session.get(ChainHead, kind.__tablename__)
    if (head.length, head.sha256) != (count, previous) if head else count:
        raise _broken(kind.__tablename__, count + 1)
    return count


def _locked_head(session: Session, name: str) -> ChainHead:
    """The chain's head with its row locked; asked of the database once a transaction."""
    transaction = session.get_transaction()
    locked = session.info.setdefault("locked heads", {})
    if locked.get(name) is not transaction or transaction is None:
        session.get_one(ChainHead, name, with_for_update=True)
        locked[name] = session.get_transaction()
    return session.get_one(ChainHead, name)


def _digest(link: HistoryLink) -> bytes:
    fields = (
        link.previous_sha256,
        link.sequence,
        link.subject,
        link.event,
        link.from_state,
        link.to_state,
        link.at_ms,
        link.actor,
        link.note,
    )
    return hashlib.sha256(cbor2.dumps(fields, canonical=True)).digest()


def _broken(name: str, sequence: int) -> DeviceError:
    return DeviceError(
        f"The chain '{name}' is broken at link {sequence}.",
        next_step="Stop the hub, keep the database as evidence, and restore the last backup whose chain verifies.",
    )
