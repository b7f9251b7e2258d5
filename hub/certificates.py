"""The book of certificates: which is whose, which one counts, and what goes on the revocation list.

A certificate is PENDING until its holder has proved at birth that it uses it; then it is the holder's one ACTIVE
certificate, by an index of the database, and the one before is superseded in the same transaction. What ended before
its time stays on the revocation list until it would have ended anyway. Every method runs in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum

from cryptography import x509
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from contract.certificates import (
    CLOCK_SKEW,
    OPERATIONAL_LIFE,
    RevocationReason,
    Revoked,
    certificate_key,
    common_name,
    der,
    key_home_of,
    load_certificate,
    public_der,
    serial_text,
)
from contract.errors import RemoteError
from hub.schema.commissioning_tables import Certificate

REASON_CHARACTERS_MAX = 200


class CertificateState(StrEnum):
    """The life of one certificate."""

    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    SUPERSEDED = "SUPERSEDED"
    REVOKED = "REVOKED"


LIVING = (CertificateState.PENDING, CertificateState.ACTIVE)


def milliseconds(moment: datetime) -> int:
    """A moment as the tables hold it."""
    return int(moment.timestamp() * 1000)


def moment(wall_ms: int) -> datetime:
    """The moment of a table's milliseconds, to the second, as certificates count."""
    return datetime.fromtimestamp(wall_ms // 1000, UTC)


def enter(
    session: Session,
    certificate: x509.Certificate,
    state: CertificateState,
    now_ms: int,
    nonce: str = "",
    follows: str = "",
) -> Certificate:
    """Enter a certificate that was just issued. follows: the serial of the one that it was asked for with."""
    row = Certificate(
        serial=serial_text(certificate),
        holder=common_name(certificate),
        state=state,
        encoded=der(certificate),
        key_home=key_home_of(certificate),
        from_ms=milliseconds(certificate.not_valid_before_utc),
        until_ms=milliseconds(certificate.not_valid_after_utc),
        issued_ms=now_ms,
        nonce=nonce,
        follows=follows,
    )
    session.add(row)
    session.flush()
    return row


def enter_known(session: Session, holder: str, pem: str, now_ms: int) -> None:
    """Enter what setup issued, as active, unless the holder has certificates of the hub's own by now."""
    if session.scalars(select(Certificate).where(Certificate.holder == holder).limit(1)).first() is not None:
        return
    certificate = load_certificate(pem.encode())
    if common_name(certificate) != holder:
        raise RemoteError(f"The certificate given for '{holder}' is in another name.", next_step="Run setup again.")
    enter(session, certificate, CertificateState.ACTIVE, now_ms)


def find(session: Session, certificate: x509.Certificate) -> Certificate | None:
    """The row of a certificate, where it is byte for byte the one that was issued."""
    row = session.get(Certificate, serial_text(certificate), with_for_update=True)
    return row if row is not None and row.encoded == der(certificate) else None


def all_of(session: Session, holder: str) -> list[Certificate]:
    """Every certificate of a holder, the newest first."""
    query = select(Certificate).where(Certificate.holder == holder)
    return list(session.scalars(query.order_by(Certificate.issued_ms.desc(), Certificate.serial)))


def has_living(session: Session, holder: str) -> bool:
    """Whether a holder has a certificate that counts or may come to count."""
    query = select(Certificate.serial).where(Certificate.holder == holder, Certificate.state.in_(LIVING))
    return session.scalars(query.limit(1)).first() is not None


def active_of(session: Session, holder: str) -> Certificate | None:
    """The holder's active certificate."""
    query = select(Certificate).where(Certificate.holder == holder, Certificate.state == CertificateState.ACTIVE)
    return session.scalars(query.with_for_update()).first()


def pending_with(session: Session, holder: str, public: bytes) -> Certificate | None:
    """A certificate that was issued for this holder and key and waits for its birth: the same question again."""
    for row in all_of(session, holder):
        if row.state == CertificateState.PENDING and key_of(row) == public:
            return row
    return None


def pending_after(session: Session, row: Certificate) -> Certificate | None:
    """The certificate that was asked for with this one and has not been used yet."""
    query = select(Certificate).where(
        Certificate.holder == row.holder,
        Certificate.state == CertificateState.PENDING,
        Certificate.follows == row.serial,
    )
    return session.scalars(query.limit(1)).first()


def may_be_followed(session: Session, row: Certificate) -> bool:
    """Whether the holder's next certificate may be asked for with this one.

    It has to be the newest, or the one that the newest was asked for with, as long as that was never used: a power cut
    may have lost it. A living one with a reason was followed before a backup was restored.
    """
    if row.state in LIVING:
        return not row.reason
    return row.state == CertificateState.SUPERSEDED and pending_after(session, row) is not None


def is_older(session: Session, certificate: x509.Certificate) -> bool:
    """Whether the holder has had a certificate in use that was issued after this one."""
    query = select(Certificate.serial).where(
        Certificate.holder == common_name(certificate),
        Certificate.state != CertificateState.PENDING,
        Certificate.from_ms > milliseconds(certificate.not_valid_before_utc),
    )
    return session.scalars(query.limit(1)).first() is not None


def key_of(row: Certificate) -> bytes:
    """The public key in a certificate, SubjectPublicKeyInfo DER."""
    return public_der(certificate_key(load_certificate(row.encoded)))


def drop_pending(session: Session, holder: str, now_ms: int) -> None:
    """A new certificate is about to be issued: what was issued before it and never used must not be used any more."""
    for row in all_of(session, holder):
        if row.state == CertificateState.PENDING:
            _end(row, CertificateState.SUPERSEDED, "a newer one was asked for", now_ms)
    session.flush()


def activate(session: Session, row: Certificate, now_ms: int) -> bool:
    """Make a pending certificate the one that counts; False where it counts already. Raises RemoteError otherwise."""
    if row.state == CertificateState.ACTIVE:
        return False
    if row.state != CertificateState.PENDING:
        raise RemoteError(f"The certificate {row.serial} is {row.state}.", next_step="Commission the unit again.")
    before = active_of(session, row.holder)
    if before is not None:
        _end(before, CertificateState.SUPERSEDED, f"by {row.serial}", now_ms)
        session.flush()
    row.state = CertificateState.ACTIVE
    session.flush()
    return True


def revoke(session: Session, holder: str, reason: str, now_ms: int) -> int:
    """End every living certificate of a holder; returns how many."""
    ended = 0
    for row in all_of(session, holder):
        if row.state in LIVING:
            _end(row, CertificateState.REVOKED, reason, now_ms)
            ended += 1
    session.flush()
    return ended


def is_barred(session: Session, row: Certificate) -> bool:
    """Whether the holder was shut out after this certificate was issued: then it opens nothing, though it was not
    the one that was revoked."""
    query = select(Certificate.serial).where(
        Certificate.holder == row.holder,
        Certificate.state == CertificateState.REVOKED,
        Certificate.ended_ms >= row.issued_ms,
    )
    return session.scalars(query.limit(1)).first() is not None


def revoked(session: Session, now_ms: int) -> list[Revoked]:
    """The lines of the revocation list: what ended before its time, or was followed, and would still be valid."""
    ended = or_(Certificate.state.not_in(LIVING), Certificate.reason != "")
    query = select(Certificate).where(ended, Certificate.until_ms > now_ms)
    return [
        Revoked(
            serial=int(row.serial, 16),
            at=moment(row.ended_ms or row.issued_ms),
            reason=RevocationReason.CESSATION if row.state == CertificateState.REVOKED else RevocationReason.SUPERSEDED,
        )
        for row in session.scalars(query.order_by(Certificate.serial))
    ]


def strangers(session: Session, lines: Iterable[Revoked], now_ms: int) -> list[Revoked]:
    """Of these lines of a list those whose certificates this book does not know, and that may still be valid."""
    after = moment(now_ms) - OPERATIONAL_LIFE - CLOCK_SKEW
    return [line for line in lines if line.at > after and session.get(Certificate, f"{line.serial:x}") is None]


def end_listed(session: Session, lines: Iterable[Revoked], now_ms: int) -> list[str]:
    """Revoke the holders of what a list revokes and this book believes living; their names.

    What was only superseded lives on in the book, so that its holder stays on the access list, and on the list: its
    successor may be unknown here, and proves itself when it is renewed.
    """
    ended = []
    for line in lines:
        row = session.get(Certificate, f"{line.serial:x}", with_for_update=True)
        if row is None or row.state not in LIVING:
            continue
        if line.reason is RevocationReason.SUPERSEDED:
            row.reason = "followed by another, on the list that the broker holds"
        else:
            revoke(session, row.holder, "on the list that the broker holds", now_ms)
            ended.append(row.holder)
    return ended


def adopt(session: Session, certificate: x509.Certificate, listed: bool, now_ms: int) -> Certificate | None:
    """Enter a certificate that the issuing authority signed and this book lost with the days since its backup.

    None where it is not newer than every one that is known of its holder, or something speaks against it. listed: on
    the newest revocation list.
    """
    known = all_of(session, common_name(certificate))
    from_ms = milliseconds(certificate.not_valid_before_utc)
    if listed or any(
        row.from_ms >= from_ms or (row.state == CertificateState.REVOKED and (row.ended_ms or 0) >= from_ms)
        for row in known
    ):
        return None
    row = enter(session, certificate, CertificateState.PENDING, now_ms)
    activate(session, row, now_ms)
    return row


def shut_out(session: Session) -> set[str]:
    """Holders with a revoked certificate and no living one: no session may be theirs.

    Whether it would still be valid is not asked: a session may have outlived the certificate that it began with.
    """
    ended = select(Certificate.holder).where(Certificate.state == CertificateState.REVOKED)
    living = select(Certificate.holder).where(Certificate.state.in_(LIVING))
    return set(session.scalars(ended)) - set(session.scalars(living))


def past_end(session: Session, now_ms: int) -> set[str]:
    """Holders whose certificate in use has ended: a session that began before it did would live on at the broker."""
    ended = (Certificate.state == CertificateState.ACTIVE, Certificate.until_ms <= now_ms)
    return set(session.scalars(select(Certificate.holder).where(*ended)))


def _end(row: Certificate, state: CertificateState, reason: str, now_ms: int) -> None:
    row.state, row.ended_ms, row.reason = state, now_ms, reason[:REASON_CHARACTERS_MAX]
