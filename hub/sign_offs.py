"""An officer's signature under what a unit sent: ECDSA over P-256 with SHA-256, by the key that the roster carries."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key


def is_signed(digest: bytes, signature: bytes, public_der: bytes) -> bool:
    """Whether this key signed the digest; False for a key of another kind."""
    key = load_der_public_key(public_der)
    if not isinstance(key, EllipticCurvePublicKey):
        return False
    try:
        key.verify(signature, digest, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
