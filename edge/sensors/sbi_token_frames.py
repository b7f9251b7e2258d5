"""JSON web signatures of SBI devices (RFC 7515, RS256), without I/O; client and twin share this file.

The signer's certificate chain travels in the header (x5c) and must end at a certificate of the trust store; every
certificate on the way must be valid now, and every issuer an authority.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from contract.clock import utc
from contract.errors import RemoteError

CHAIN_MAX = 5
# What the library raises for a certificate that is none, or of a kind that it does not know.
_BROKEN = (
    ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, binascii.Error, x509.InvalidVersion,
    x509.DuplicateExtension, x509.UnsupportedGeneralNameType,
)  # fmt: skip
RSA_BITS_MIN = 2048


def sign_token(payload: Mapping[str, Any], key: rsa.RSAPrivateKey, chain: Sequence[x509.Certificate]) -> str:
    """A JSON web signature with its certificate chain, the signer's own first."""
    certificates = [base64.b64encode(c.public_bytes(Encoding.DER)).decode() for c in chain]
    header = base64url(json.dumps({"alg": "RS256", "typ": "JWT", "x5c": certificates}).encode())
    body = base64url(json.dumps(dict(payload)).encode())
    signature = key.sign(f"{header}.{body}".encode(), padding.PKCS1v15(), SHA256())
    return f"{header}.{body}.{base64url(signature)}"


def verify_token(token: str, trust: Sequence[x509.Certificate], now_ms: int) -> dict[str, Any]:
    """The payload of a JSON web signature whose chain ends at one of the trusted certificates. Raises RemoteError."""
    parts = token.split(".")
    if len(parts) != 3:
        raise RemoteError("The device's token has no three parts.")
    header = json_object(from_base64url(parts[0]), "token header")
    if header.get("alg") != "RS256":
        raise RemoteError(f"The device's token is signed by {str(header.get('alg'))[:20]!r} instead of RS256.")
    key = _trusted_key(header.get("x5c"), trust, now_ms)
    try:
        key.verify(from_base64url(parts[2]), f"{parts[0]}.{parts[1]}".encode(), padding.PKCS1v15(), SHA256())
    except InvalidSignature as error:
        raise RemoteError("The device's signature is wrong.") from error
    return json_object(from_base64url(parts[1]), "token")


def _trusted_key(x5c: object, trust: Sequence[x509.Certificate], now_ms: int) -> rsa.RSAPublicKey:
    """The signer's key, once every certificate up to a trusted one is valid now and issued by the next."""
    if not isinstance(x5c, list) or not 1 <= len(x5c) <= CHAIN_MAX:
        raise RemoteError("The device's token carries no certificate chain.")
    now = utc(now_ms)
    try:
        chain = [x509.load_der_x509_certificate(base64.b64decode(str(item), validate=True)) for item in x5c]
        for certificate in chain:
            if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
                raise RemoteError(
                    "A certificate of the device is not valid now.",
                    next_step="Set the unit's clock; if it is right, renew the device's key.",
                )
        for certificate, issuer in pairwise(chain):
            _check_may_issue(issuer)
            certificate.verify_directly_issued_by(issuer)
        if not any(_ends_at(chain[-1], anchor) for anchor in trust):
            raise RemoteError("The device's certificate is not in the trust store.")
        key = chain[0].public_key()
    except RemoteError:
        raise
    except _BROKEN as error:
        raise RemoteError(f"The device's certificate chain is broken: {type(error).__name__}.") from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < RSA_BITS_MIN:
        raise RemoteError(f"The device's key is no RSA key of {RSA_BITS_MIN} bits or more.")
    return key


def _check_may_issue(issuer: x509.Certificate) -> None:
    """That a certificate is one of an authority: a device may not vouch for another device."""
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = None
    if constraints is None or not constraints.ca:
        raise RemoteError("The device's certificate was issued by one that may not issue any.")


def _ends_at(last: x509.Certificate, anchor: x509.Certificate) -> bool:
    if last == anchor:
        return True
    try:
        last.verify_directly_issued_by(anchor)
    except _BROKEN:
        return False
    return True


def base64url(data: bytes) -> str:
    """base64url without padding, as RFC 7515 wants it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """The bytes of a base64url text with or without padding. Raises RemoteError."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise RemoteError("The device sent something that is no base64url.") from error


def json_object(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object of the device. Raises RemoteError."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RemoteError(f"The device's {what} is no JSON.") from error
    if not isinstance(found, dict):
        raise RemoteError(f"The device's {what} is no JSON object.")
    return found
