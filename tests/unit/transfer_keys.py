"""Keys for tests of seal, transfer, spool and ingest: made once, from no file."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from contract.seal import (
    OpeningKey,
    PublicKey,
    RecipientKey,
    SigningKey,
    StatementKey,
    StatementPublicKey,
    load_opening_key,
    load_public_key,
    load_recipient_key,
    load_signing_key,
    load_statement_key,
    load_statement_public_key,
)

STORE_KEY = bytes(range(32))


def private_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    """PKCS#8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    """SubjectPublicKeyInfo PEM."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_der(key: ec.EllipticCurvePrivateKey) -> bytes:
    """SubjectPublicKeyInfo DER."""
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


class Party:
    """Somebody with a P-256 key: signs, opens, and is known to others by the public half."""

    def __init__(self, kid: str) -> None:
        self.kid = kid
        self.key = ec.generate_private_key(ec.SECP256R1())

    @property
    def signing(self) -> SigningKey:
        return load_signing_key(private_pem(self.key), self.kid)

    @property
    def opening(self) -> OpeningKey:
        return load_opening_key(private_pem(self.key), self.kid)

    @property
    def public(self) -> PublicKey:
        return load_public_key(public_der(self.key), self.kid)

    @property
    def recipient(self) -> RecipientKey:
        return load_recipient_key(public_pem(self.key), self.kid)


DESK = Party("desk-a1")
HUB = Party("hub")
RECOVERY = Party("recovery")
STRANGER = Party("stranger")
_STATEMENT = ed25519.Ed25519PrivateKey.generate()
STATEMENT_KEY: StatementKey = load_statement_key(private_pem(_STATEMENT))
STATEMENT_PUBLIC: StatementPublicKey = load_statement_public_key(public_pem(_STATEMENT))
OTHER_STATEMENT_KEY: StatementKey = load_statement_key(private_pem(ed25519.Ed25519PrivateKey.generate()))


def find_signer(kid: str) -> PublicKey | None:
    """The fleet of these tests: one desk."""
    return DESK.public if kid == DESK.kid else None


class SetClock:
    """A clock that a test sets."""

    def __init__(self, now_ms: int = 1_800_000_000_000) -> None:
        self.now_ms = now_ms

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        return self.now_ms
