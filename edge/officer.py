"""An officer's word on the unit: a fingerprint against the roster's template, and the officer's signature (M11, M67).

The signature is ECDSA over P-256 with SHA-256 (DER) by the key that travels with the roster; it is made only after
the finger matched, and binds the officer to the digest of exactly what was captured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from contract.comparison import Decision
from contract.errors import RemoteError
from contract.packet import SignOff
from contract.sample import FingerPosition
from edge.eligibility import Refusal
from edge.procedure import Fields, Refused, Retry
from edge.prompts import OFFICER_NO_MATCH
from edge.roster import Officer

if TYPE_CHECKING:
    from edge.capture_state import Services


@dataclass(frozen=True, slots=True)
class OfficerMatch:
    """An officer's finger that matched the roster."""

    officer: Officer
    position: FingerPosition
    value: float


def officer_position(officer: Officer, fields: Fields) -> FingerPosition:
    """The finger to ask of an officer: the right index, or the enrolled one that was named. Raises Refused."""
    wanted = fields.get("position", str(int(FingerPosition.RIGHT_INDEX)))
    if not wanted.isdigit() or not 1 <= int(wanted) <= FingerPosition.LEFT_LITTLE:
        raise Refused(Refusal.INVALID, "A finger position is a number from 1 to 10.")
    if int(wanted) in officer.templates:
        return FingerPosition(int(wanted))
    if "position" in fields or not officer.templates:
        raise Refused(Refusal.OPERATOR_UNKNOWN, "That finger of the officer is not enrolled.")
    return FingerPosition(min(officer.templates))


async def identify_officer(services: Services, officer: Officer, fields: Fields) -> OfficerMatch:
    """Take an officer's finger and compare it with the roster. Raises Retry where it does not match.

    Where no finger was named, every enrolled one will do, so that a wet or cut finger stops nobody's work; the false
    match rate that the policy allows is then shared among them.
    """
    asked = officer_position(officer, fields)
    frame = await services.sensors.finger(asked)
    examined = await services.examiner.finger(frame, asked)
    positions = [int(asked)] if "position" in fields else sorted(officer.templates)
    scores = await services.examiner.compare(examined.template, [officer.templates[at] for at in positions])
    score, position = max(zip(scores, positions, strict=True), key=lambda found: found[0].value)
    if score.decide(services.policy.sign_fmr / len(positions)) is not Decision.MATCH:
        raise Retry(OFFICER_NO_MATCH)
    return OfficerMatch(officer, FingerPosition(position), score.value)


def sign_off(match: OfficerMatch, digest: bytes) -> SignOff:
    """The officer's signature over a capture's digest. Raises RemoteError for a roster entry without a usable key."""
    try:
        key = serialization.load_der_private_key(match.officer.entry.private_key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise RemoteError("The operator's key in the roster is not a P-256 key.", next_step="Ask the hub for a roster.")
    return SignOff(
        operator=match.officer.operator,
        position=int(match.position),
        value=match.value,
        signature=key.sign(digest, ec.ECDSA(hashes.SHA256())),
    )
