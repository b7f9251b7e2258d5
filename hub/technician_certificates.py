"""A technician's own certificate: the next one asked for and proved by order; the present one taken away by another.

The next certificate is pending until its holder has connected with it and proved its key; then it counts, and the one
before is superseded in the same transaction: until that moment the old one serves, after it the broker refuses it.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from contract.certificates import certificate_key, der, load_certificate
from contract.commissioning import MESSAGE_BYTES_MAX, Birth, Renewal, SignedBirth, birth_text, is_signed
from contract.commissioning_problems import Problem, Refusal
from contract.dispatch import decode
from contract.errors import RemoteError
from contract.technician import CertificateResult, DismissOrder
from hub import certificates
from hub.commissioning import DeskParts
from hub.renewals import next_certificate
from hub.rights import EVERYWHERE
from hub.schema.commissioning_tables import Certificate, Technician
from hub.schema.tables import Operator

REASON_CHARACTERS_MIN = 5


def renew(session: Session, parts: DeskParts, who: Operator, renewal: Renewal) -> CertificateResult:
    """The technician's next certificate. Raises Refusal."""
    row = next_certificate(session, parts.context, parts.authority, renewal, who.id, ordered=True)
    return CertificateResult(certificate=row.encoded, issuing=der(parts.authority.issuing_certificate))


def take_into_use(session: Session, parts: DeskParts, who: Operator, signed: SignedBirth) -> None:
    """The technician speaks with this certificate from now on. Raises Refusal."""
    birth = decode(Birth, signed.birth, MESSAGE_BYTES_MAX)
    row = session.get(Certificate, birth.certificate, with_for_update=True)
    if row is None or (row.holder, birth.unit) != (who.id, who.id):
        raise Refusal(Problem.CERTIFICATE_REVOKED, "This certificate is not known.")
    if not is_signed(certificate_key(load_certificate(row.encoded)), signed.proof, birth_text(signed.birth)):
        raise Refusal(Problem.PROOF_WRONG)
    if row.state not in certificates.LIVING:
        raise Refusal(Problem.CERTIFICATE_REVOKED, row.reason)
    certificates.activate(session, row, parts.context.clock.wall_ms())


def dismiss(session: Session, parts: DeskParts, who: Operator, order: DismissOrder) -> None:
    """Another technician's certificates end, and their session with them. Raises RemoteError, Refusal."""
    other = session.get(Operator, order.technician)
    if other is None or session.get(Technician, order.technician) is None:
        raise RemoteError(f"'{order.technician}' is no technician.", next_step="Check the name.")
    if other.id == who.id:
        raise RemoteError("Nobody dismisses themselves.", next_step="Ask another technician, or an officer.")
    own, theirs = set(who.sites.split(",")), set(other.sites.split(","))
    if EVERYWHERE not in own and not theirs <= own:
        raise Refusal(Problem.NO_RIGHTS, f"{other.id} works at more places than {who.id}.")
    if len(order.reason.strip()) < REASON_CHARACTERS_MIN:
        raise RemoteError(
            "Taking rights away needs a reason of a few words.", next_step="Add --reason with a sentence."
        )
    parts.setups.bar(session, other.id, order.reason.strip())
