"""Whether a certificate is followed by another: by the proof of its own key, in its own name, not too long after it.

Only a holder's newest certificate is followed, or the one that the newest was asked for with as long as that was never
used. An older one comes from a copy of the keys or from a disk that was restored: it gets nothing, and the centre an
alarm. A technician's is asked for by a signed order as well: who has found an old laptop's TLS key cannot renew with it
alone.
"""

from __future__ import annotations

import structlog
from cryptography import x509
from sqlalchemy.orm import Session

from contract.certificates import (
    CLOCK_SKEW,
    RENEWABLE_AFTER_END,
    certificate_key,
    common_name,
    is_issued_by,
    load_certificate,
    load_request,
    request_key,
)
from contract.clock import Clock
from contract.commissioning import Renewal, is_signed, renewal_text
from contract.commissioning_problems import Problem, Refusal
from contract.lifecycle import UnitState
from contract.unit_alerts import UnitAlert
from hub import alarms, certificates
from hub.authority import Authority
from hub.certificates import CertificateState
from hub.context import HubContext
from hub.schema.commissioning_tables import Certificate, Technician
from hub.schema.tables import Unit

log = structlog.get_logger("renewals")


def next_certificate(
    session: Session,
    context: HubContext,
    authority: Authority,
    renewal: Renewal,
    speaker: str,
    *,
    ordered: bool = False,
) -> Certificate:
    """The next certificate, pending until it is used; the same request gets the same one. Raises Refusal, RemoteError.

    speaker: who is known to have sent it, '' at the renewal door; ordered: it came in a technician's signed order.
    """
    present = load_certificate(renewal.certificate)
    name = common_name(present)
    if speaker and speaker != name:
        raise Refusal(Problem.NAME_DIFFERS, f"The line is {speaker}'s.")
    row = certificates.find(session, present)
    if not is_issued_by(present, authority.issuing_certificate):
        raise Refusal(Problem.CERTIFICATE_REVOKED, "This certificate is not known.")
    request = load_request(renewal.request)
    text = renewal_text(renewal.certificate, renewal.request, renewal.wall_ms)
    signed_by_role = ordered is (session.get(Technician, name) is not None)
    if not signed_by_role or not is_signed(certificate_key(present), renewal.proof, text):
        raise Refusal(Problem.PROOF_WRONG)
    if common_name(request) != name:
        raise Refusal(Problem.NAME_DIFFERS, f"It should be {name}.")
    if row is None:
        row = _adopted(session, authority, present, context.clock.wall_ms())
    _check_renewable(session, row, present, context.clock.wall_ms())
    before = certificates.pending_after(session, row)
    issued = authority.issue(session, name, request_key(request), row.key_home, follows=row.serial)
    if before is not None and certificates.key_of(before) != certificates.key_of(issued):
        note_copy(session, context.clock, name, row.serial, "Two keys were shown for its next certificate.")
    log.info("certificate renewed", holder=name, certificate=issued.serial)
    return issued


def note_copy(session: Session, clock: Clock, holder: str, serial: str, what: str) -> None:
    """A holder's keys are about twice: an alarm for a unit, which its history keeps for good."""
    log.critical("older certificate used", holder=holder, certificate=serial, what=what)
    if session.get(Unit, holder) is not None:
        alarms.raise_here(session, clock, holder, UnitAlert.CERTIFICATE_COPIED, serial, what)


def _adopted(session: Session, authority: Authority, present: x509.Certificate, now_ms: int) -> Certificate:
    """A certificate of ours that was issued after the backup this hub began again from. Raises Refusal."""
    name = common_name(present)
    row = None
    if session.get(Unit, name) is not None or session.get(Technician, name) is not None:
        row = certificates.adopt(session, present, authority.is_listed(session, present), now_ms)
    if row is None and certificates.is_older(session, present):
        raise Refusal(Problem.CERTIFICATE_SUPERSEDED, _dates(present))
    if row is None:
        raise Refusal(Problem.CERTIFICATE_REVOKED, "This certificate is not known.")
    log.warning("certificate adopted, unknown since a backup was restored", holder=name, certificate=row.serial)
    return row


def _check_renewable(session: Session, row: Certificate, present: x509.Certificate, now_ms: int) -> None:
    """Whether a certificate may be followed by another. Raises Refusal."""
    if row.state == CertificateState.REVOKED:
        raise Refusal(Problem.CERTIFICATE_REVOKED, row.reason)
    if row.state == CertificateState.SUPERSEDED and certificates.is_barred(session, row):
        raise Refusal(Problem.CERTIFICATE_REVOKED, "A later one was revoked.")
    if not certificates.may_be_followed(session, row):
        raise Refusal(Problem.CERTIFICATE_SUPERSEDED, _dates(present))
    if now_ms > certificates.milliseconds(present.not_valid_after_utc + RENEWABLE_AFTER_END):
        raise Refusal(Problem.CERTIFICATE_TOO_OLD)
    unit = session.get(Unit, row.holder)
    if unit is not None and unit.state == UnitState.RETIRED:
        raise Refusal(Problem.CERTIFICATE_REVOKED, "The unit is retired.")


def _dates(present: x509.Certificate) -> str:
    return f"It is of {present.not_valid_before_utc + CLOCK_SKEW:%Y-%m-%d}."
