"""Boxes that knock, and the names they are promised: one name to one box, and the promise can be taken back.

Every function runs in the caller's transaction.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.certificates import fingerprint, load_public
from contract.commissioning import MESSAGE_BYTES_MAX, Knock
from contract.dispatch import decode
from hub.schema.commissioning_tables import ClaimRow, Commissioning
from hub.schema.tables import Unit


def withdraw(session: Session, unit: str, but: str = "") -> int:
    """Take back what promises this name to a box that is not born yet; returns how many. but: a nonce that keeps it."""
    waiting = (
        select(Commissioning)
        .join(ClaimRow, ClaimRow.nonce == Commissioning.nonce)
        .where(Commissioning.unit == unit, Commissioning.nonce != but, ClaimRow.burned_ms.is_(None))
    )
    rows = session.scalars(waiting.with_for_update(of=Commissioning)).all()
    for row in rows:
        row.approval = row.unit = None
        row.site = row.role = row.replaces = ""
    session.flush()
    return len(rows)


def packet_keys(row: Commissioning) -> tuple[str, str]:
    """The public keys of a box that verify its packets and seal to it, PEM."""
    knock = decode(Knock, row.knock, MESSAGE_BYTES_MAX)
    pem, info = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    sign, opening = (load_public(key).public_bytes(pem, info).decode() for key in (knock.sign_key, knock.open_key))
    return sign, opening


def is_same_box(session: Session, row: Commissioning, unit: str) -> bool:
    """Whether the box that knocks is this unit itself, come again: it holds the keys that the unit's packets need."""
    known = session.get(Unit, unit)
    return known is not None and (known.sign_public_pem, known.open_public_pem) == packet_keys(row)


def who_has_it(session: Session, unit: str, row: Commissioning) -> str:
    """Which unit has the serial number of this box, and how its code differs, where the unit came by a claim."""
    query = select(Commissioning.key_digest).where(Commissioning.unit == unit, Commissioning.serial == row.serial)
    digest = session.scalars(query.order_by(Commissioning.knocked_ms.desc()).limit(1)).first()
    if digest is None:
        return f"It is {unit}."
    return f"It is {unit}, the box with the code {fingerprint(digest)}; this one shows {fingerprint(row.key_digest)}."
