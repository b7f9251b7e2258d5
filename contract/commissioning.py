"""From a sealed box to a unit with a certificate: what travels at provisioning, at renewal and at birth.

After AWS IoT fleet provisioning by claim, with its gaps closed. A unit knocks with its claim, its serial number and its
public keys; a technician binds {site, unit, serial, key digest} with a signature; the unit proves that it holds the
keys over the hub's challenge and gets a certificate, which stays PENDING until the unit has connected with it and
published its birth. Everything is idempotent: the same nonce and keys get the same answer, whatever was cut.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import Field

from contract.certificates import CERTIFICATE_BYTES_MAX, CHALLENGE_BYTES, key_digest
from contract.commissioning_problems import Problem, Refusal
from contract.dispatch import decode, encode
from contract.errors import RemoteError
from contract.packet import Digest, Millis, Model, Name, Text
from contract.seal import StatementKey, StatementPublicKey, sign_statement, verify_statement

MESSAGE_BYTES_MAX = 32 * 1024
CLAIM_BYTES_MAX = 256 * 1024
CLAIM_FILE = "rekam-claim.bin"
# At the broker a claim's nonce is a client id, as names of units and technicians are: it may be none of these.
CLAIM_PREFIX = "c-"
ANSWER_PURPOSE, CONFIRMATION_PURPOSE, RENEWAL_PURPOSE = "commissioning answer", "birth confirmation", "renewal answer"
CLOCK_SKEW_MS_MAX = 5 * 60 * 1000

_CLAIM_MAGIC = b"rekam-claim 1\n"
_CLAIM_HEAD = struct.Struct(f">{len(_CLAIM_MAGIC)}sI32s")

PublicDer = Annotated[bytes, Field(min_length=60, max_length=200)]
CertificateDer = Annotated[bytes, Field(min_length=1, max_length=CERTIFICATE_BYTES_MAX)]
Signature = Annotated[bytes, Field(min_length=8, max_length=80)]
Port = Annotated[int, Field(ge=1, le=65535)]
Host = Annotated[str, Field(min_length=1, max_length=253)]
UnitRole = Literal["kiosk", "desk", "mobile", "handover", "station", "server"]
Sign = Callable[[bytes], bytes]


class Claim(Model):
    """What the depot puts on the media of one box; whoever has it may knock, and nothing else.

    nonce: the certificate's common name; serial: of the only unit that may use it, empty for any; ca: root, DER;
    hub_statement, hub_dispatch: the hub's public keys; update_root: the TUF root, empty until there is a repository.
    """

    nonce: Name
    serial: Annotated[str, Field(max_length=64)]
    certificate: CertificateDer
    key: Annotated[bytes, Field(min_length=1, max_length=1024)]
    ca: CertificateDer
    hub_statement: Annotated[bytes, Field(min_length=30, max_length=200)]
    hub_dispatch: PublicDer
    host: Host
    claim_port: Port
    service_port: Port
    renewal_port: Port
    made_ms: Millis
    expires_ms: Millis
    update_root: Annotated[bytes, Field(max_length=64 * 1024)] = b""


class Knock(Model):
    """A unit says that it is there. tls_key, sign_key, open_key: SubjectPublicKeyInfo DER, P-256.

    key_home: where the private keys live, `tls=software sign=atecc608`; wall_ms: the unit's clock, unbelieved.
    """

    serial: Name
    model: Text
    software: Text
    tls_key: PublicDer
    sign_key: PublicDer
    open_key: PublicDer
    key_home: Annotated[str, Field(pattern=r"^[a-z0-9=. -]{1,100}$")]
    wall_ms: Millis

    def digest(self) -> bytes:
        """What a technician's approval binds: the three public keys."""
        return key_digest(self.tls_key, self.sign_key, self.open_key)


class AnswerState(StrEnum):
    """How far a knock has come at the hub."""

    WAITING = "waiting"
    APPROVED = "approved"
    REFUSED = "refused"
    DONE = "done"


class Answer(Model):
    """The hub's answer to a knock or a request, signed. unit, site, role: once approved; hub_ms: the hub's clock."""

    nonce: Name
    state: AnswerState
    problem: Problem | None = None
    detail: Text = ""
    hub_ms: Millis
    unit: Annotated[str, Field(max_length=64)] = ""
    site: Annotated[str, Field(max_length=64)] = ""
    role: Annotated[str, Field(max_length=20)] = ""
    challenge: Annotated[bytes, Field(max_length=CHALLENGE_BYTES)] = b""


class CertificateAsk(Model):
    """The unit asks for its certificate. request: PKCS#10 DER with the challenge; binding: by the packet key."""

    request: CertificateDer
    binding: Signature


class Grant(Model):
    """Certificate and surroundings of one unit, sealed to its opening key, so that reading it proves that key too.

    certificate, issuing, ca: DER; hub_packet, recovery, issuer: public keys, PEM; sam: the key of a unit that deals
    with chips, else empty.
    """

    nonce: Name
    unit: Name
    site: Name
    role: UnitRole
    certificate: CertificateDer
    issuing: CertificateDer
    hub_packet: Annotated[bytes, Field(min_length=60, max_length=1000)]
    recovery: Annotated[bytes, Field(min_length=60, max_length=1000)]
    issuer: Annotated[bytes, Field(min_length=60, max_length=1000)]
    sam: Annotated[bytes, Field(max_length=256)] = b""


class Birth(Model):
    """What a unit says of itself when it first connects with a certificate, and at every start after.

    certificate: serial number, hexadecimal; nonce: of the claim, empty after a renewal.
    """

    unit: Name
    serial: Name
    certificate: Annotated[str, Field(pattern=r"^[0-9a-f]{1,40}$")]
    nonce: Annotated[str, Field(max_length=64)] = ""
    software: Text
    key_home: Text
    capabilities: Annotated[tuple[Name, ...], Field(max_length=40)] = ()
    wall_ms: Millis


class SignedBirth(Model):
    """A birth with the proof that the new certificate's key is in the unit that says so."""

    birth: Annotated[bytes, Field(min_length=1, max_length=8192)]
    proof: Signature


class Confirmation(Model):
    """The hub's word on a birth: this certificate is the unit's active one, or why it is not."""

    unit: Name
    certificate: Annotated[str, Field(pattern=r"^[0-9a-f]{1,40}$")]
    problem: Problem | None = None
    detail: Text = ""
    hub_ms: Millis


class Renewal(Model):
    """A unit asks for its next certificate, on the service line or, expired, at the renewal door.

    certificate: the one it has, DER; request: PKCS#10 DER under the same name, with the key to come;
    proof: by the key of the certificate it has.
    """

    certificate: CertificateDer
    request: CertificateDer
    wall_ms: Millis
    proof: Signature


class RenewalAnswer(Model):
    """The next certificate with its issuer, DER, or why there is none. request_sha256: of the request answered."""

    request_sha256: Digest
    problem: Problem | None = None
    detail: Text = ""
    hub_ms: Millis
    certificate: Annotated[bytes, Field(max_length=CERTIFICATE_BYTES_MAX)] = b""
    issuing: Annotated[bytes, Field(max_length=CERTIFICATE_BYTES_MAX)] = b""


class LateQuestion(Model):
    """What is asked at the renewal door. body: a Renewal; with a technician's name, their signed order for one."""

    technician: Annotated[str, Field(max_length=64)] = ""
    body: Annotated[bytes, Field(min_length=1, max_length=MESSAGE_BYTES_MAX)]


def encode_claim(claim: Claim) -> bytes:
    """A claim as its media file: magic | length u32 | SHA-256 | CBOR, so that a torn write shows."""
    body = encode(claim)
    return _CLAIM_HEAD.pack(_CLAIM_MAGIC, len(body), hashlib.sha256(body).digest()) + body


def decode_claim(encoded: bytes) -> Claim:
    """A claim from its media file. Raises Refusal where the file is torn or is something else."""
    if len(encoded) < _CLAIM_HEAD.size:
        raise Refusal(Problem.CLAIM_INCOMPLETE)
    magic, length, digest = _CLAIM_HEAD.unpack_from(encoded)
    body = encoded[_CLAIM_HEAD.size :]
    if magic != _CLAIM_MAGIC or len(body) != length or hashlib.sha256(body).digest() != digest:
        raise Refusal(Problem.CLAIM_INCOMPLETE)
    try:
        return decode(Claim, body, CLAIM_BYTES_MAX)
    except RemoteError:
        raise Refusal(Problem.CLAIM_INCOMPLETE, "It was written by another version.") from None


def sign_answer(answer: Answer, key: StatementKey) -> bytes:
    """The answer as the hub publishes it."""
    return sign_statement(encode(answer), key, ANSWER_PURPOSE)


def verify_answer(signed: bytes, public: StatementPublicKey, nonce: str) -> Answer:
    """The hub's answer to this nonce. Raises RemoteError."""
    answer = decode(Answer, verify_statement(signed, public, ANSWER_PURPOSE), MESSAGE_BYTES_MAX)
    if answer.nonce != nonce:
        raise RemoteError("The answer is for another claim than its topic says.")
    return answer


def sign_confirmation(confirmation: Confirmation, key: StatementKey) -> bytes:
    """The confirmation as the hub publishes it."""
    return sign_statement(encode(confirmation), key, CONFIRMATION_PURPOSE)


def verify_confirmation(signed: bytes, public: StatementPublicKey, unit: str) -> Confirmation:
    """The hub's confirmation for this unit. Raises RemoteError."""
    found = decode(Confirmation, verify_statement(signed, public, CONFIRMATION_PURPOSE), MESSAGE_BYTES_MAX)
    if found.unit != unit:
        raise RemoteError("The confirmation is for another unit than its topic says.")
    return found


def sign_renewal_answer(answer: RenewalAnswer, key: StatementKey) -> bytes:
    """The answer as the hub publishes it."""
    return sign_statement(encode(answer), key, RENEWAL_PURPOSE)


def verify_renewal_answer(signed: bytes, public: StatementPublicKey, request: bytes) -> RenewalAnswer:
    """The hub's answer to this request. Raises RemoteError for any other."""
    answer = decode(RenewalAnswer, verify_statement(signed, public, RENEWAL_PURPOSE), MESSAGE_BYTES_MAX)
    if answer.request_sha256 != hashlib.sha256(request).digest():
        raise RemoteError("The answer is for another request.")
    return answer


def binding_text(nonce: str, unit: str, challenge: bytes, digest: bytes) -> bytes:
    """What the packet key signs in a CertificateAsk: these keys belong together, now, under this name."""
    return _text(b"rekam binding 1", nonce.encode(), unit.encode(), challenge, digest)


def renewal_text(certificate: bytes, request: bytes, wall_ms: int) -> bytes:
    """What the present key signs in a Renewal."""
    return _text(b"rekam renewal 1", certificate, request, wall_ms.to_bytes(8))


def birth_text(birth: bytes) -> bytes:
    """What the certificate's key signs of a birth."""
    return _text(b"rekam birth 1", birth)


def make_signed_birth(birth: Birth, sign: Sign) -> bytes:
    """A birth with its proof, as the unit publishes it. sign: ECDSA with SHA-256, DER, by the certificate's key."""
    body = encode(birth)
    return encode(SignedBirth(birth=body, proof=sign(birth_text(body))))


def is_signed(public: ec.EllipticCurvePublicKey, signature: bytes, text: bytes) -> bool:
    """Whether `signature` (DER) is this key's over `text`, ECDSA with SHA-256."""
    try:
        public.verify(signature, text, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def _text(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4) + part for part in parts)
