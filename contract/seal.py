"""Closes what leaves a unit or the hub, and opens it in reverse: sign, then encrypt (COSE, RFC 9052 and RFC 9053).

- A packet or dispatch is a COSE_Sign1 (ES256) inside a COSE_Encrypt (ECDH-ES+A256KW, A256GCM), so that whoever holds it
  on the way can neither read it nor learn who captured whom. The signature also covers the list of recipients: a
  recipient cannot encrypt a signed packet again to somebody else and pass it off as addressed to them.
- A statement (receipt, checkpoint) is a COSE_Sign1 (EdDSA) that is meant to be read; its purpose is signed with it.
- Files at rest and site messages are locked with AES-256-GCM under a symmetric key, bound to their context.

Opening raises RemoteError for every byte string that was not closed for this key by a known signer, and nothing else.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cwt import COSE, COSEKey, Recipient
from cwt.cose_key_interface import COSEKeyInterface

from contract.cbor_bounds import bound_items
from contract.errors import DeviceError, RemoteError
from contract.packet import PACKET_BYTES_MAX
from contract.part_key import PartKey
from contract.topics import NAME_PATTERN

RECIPIENTS_MAX = 4
SEAL_OVERHEAD_BYTES_MAX = 4096
SEALED_BYTES_MAX = PACKET_BYTES_MAX + SEAL_OVERHEAD_BYTES_MAX
STATEMENT_BYTES_MAX = 64 * 1024
LOCK_OVERHEAD_BYTES = 1 + 12 + 16
KEY_BYTES = 32

_ALGORITHM, _KEY_ID, _NONCE, _EPHEMERAL_KEY = 1, 4, 5, -1
_ES256, _EDDSA, _A256GCM, _ECDH_ES_A256KW = -7, -8, 3, -31
_TAG_SIGN1, _TAG_ENCRYPT = 18, 96
_PACKET_ALGORITHM, _STATEMENT_ALGORITHM, _ADDRESS_ALGORITHM = "ES256", "EdDSA", "ECDH-ES+A256KW"
_NONCE_BYTES = 12
_WRAPPED_KEY_BYTES = 40
_KEY_ID_BYTES_MAX = 64
_ITEMS_MAX = 100
_NESTING_MAX = 6
_SEAL_CONTEXT = "rekam sealed 1"
_STATEMENT_CONTEXT = "rekam statement 1"
_LOCK_VERSION = b"\x01"
_CONTENT_PROTECTED: Final = cbor2.dumps({_ALGORITHM: _A256GCM})
_RECIPIENT_PROTECTED: Final = cbor2.dumps({_ALGORITHM: _ECDH_ES_A256KW})
_WRAP_CONTEXT: Final = {"alg": "A256KW"}


class UnknownSigner(RemoteError):
    """The bytes opened, but nobody whom we know has signed them; `signer` is who they claim."""

    def __init__(self, signer: str) -> None:
        super().__init__(
            f"The packet is signed by '{signer}', who is not known here.",
            next_step="Keep the bytes; a person decides whether the unit should have been enrolled.",
        )
        self.signer = signer


class WronglyAddressed(RemoteError):
    """The bytes are sealed, but not to this key."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """P-256 private key that signs packets or dispatches; `kid` is the unit's id, or `hub`."""

    kid: str
    cose: COSEKeyInterface = field(repr=False)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """P-256 public key that verifies what `kid` signed."""

    kid: str
    cose: COSEKeyInterface = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpeningKey:
    """P-256 private key that opens what is sealed to `kid`."""

    kid: str
    cose: COSEKeyInterface = field(repr=False)


@dataclass(frozen=True, slots=True)
class RecipientKey:
    """P-256 public key of somebody to whom packets are sealed."""

    kid: str
    cose: COSEKeyInterface = field(repr=False)


@dataclass(frozen=True, slots=True)
class StatementKey:
    """Ed25519 private key that signs receipts and checkpoints."""

    kid: str
    cose: COSEKeyInterface = field(repr=False)


@dataclass(frozen=True, slots=True)
class StatementPublicKey:
    """Ed25519 public key that verifies receipts and checkpoints."""

    kid: str
    cose: COSEKeyInterface = field(repr=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """What was in a seal, and the key id of who signed it."""

    payload: bytes
    signer: str


def load_signing_key(pem: bytes, kid: str) -> SigningKey:
    """A P-256 private key from PEM. Raises DeviceError."""
    return SigningKey(kid, _load_private(pem, kid, _PACKET_ALGORITHM))


def signing_key_in_a_part(kid: str, sign: Callable[[bytes], bytes]) -> SigningKey:
    """A packet key that never leaves its part. sign: ECDSA with SHA-256 over a text, DER; raises DeviceError."""
    return SigningKey(kid, PartKey(kid, sign))


def load_public_key(encoded: bytes, kid: str) -> PublicKey:
    """A P-256 public key from PEM or SubjectPublicKeyInfo DER. Raises DeviceError."""
    return PublicKey(kid, _load_public(encoded, kid, _PACKET_ALGORITHM))


def load_opening_key(pem: bytes, kid: str) -> OpeningKey:
    """A P-256 private key from PEM. Raises DeviceError."""
    return OpeningKey(kid, _load_private(pem, kid, _ADDRESS_ALGORITHM))


def load_recipient_key(encoded: bytes, kid: str) -> RecipientKey:
    """A P-256 public key from PEM or SubjectPublicKeyInfo DER. Raises DeviceError."""
    return RecipientKey(kid, _load_public(encoded, kid, _ADDRESS_ALGORITHM))


def load_statement_key(pem: bytes, kid: str = "hub") -> StatementKey:
    """An Ed25519 private key from PEM. Raises DeviceError."""
    return StatementKey(kid, _load_private(pem, kid, _STATEMENT_ALGORITHM))


def load_statement_public_key(encoded: bytes, kid: str = "hub") -> StatementPublicKey:
    """An Ed25519 public key from PEM or SubjectPublicKeyInfo DER. Raises DeviceError."""
    return StatementPublicKey(kid, _load_public(encoded, kid, _STATEMENT_ALGORITHM))


def seal(payload: bytes, signer: SigningKey, recipients: Sequence[RecipientKey]) -> bytes:
    """`payload` signed by `signer` and encrypted to every one of `recipients` (1 to RECIPIENTS_MAX)."""
    if not 1 <= len(recipients) <= RECIPIENTS_MAX:
        raise ValueError(f"a packet has 1 to {RECIPIENTS_MAX} recipients")
    if len(payload) > PACKET_BYTES_MAX:
        raise RemoteError(f"The payload has {len(payload)} bytes, more than {PACKET_BYTES_MAX}.")
    kids = [recipient.kid.encode() for recipient in recipients]
    signed: bytes = COSE.new().encode_and_sign(
        payload,
        signer.cose,
        protected={_ALGORITHM: _ES256, _KEY_ID: signer.kid.encode()},
        external_aad=_addressed_to(kids),
    )
    wraps = [
        Recipient.new(
            protected={_ALGORITHM: _ECDH_ES_A256KW},
            unprotected={_KEY_ID: recipient.kid.encode()},
            recipient_key=recipient.cose,
            context=_WRAP_CONTEXT,
        )
        for recipient in recipients
    ]
    sealed: bytes = COSE.new().encode_and_encrypt(
        signed,
        COSEKey.generate_symmetric_key(alg="A256GCM"),
        protected={_ALGORITHM: _A256GCM},
        unprotected={_NONCE: secrets.token_bytes(_NONCE_BYTES)},
        recipients=wraps,
    )
    return sealed


def open_sealed(sealed: bytes, key: OpeningKey, find_signer: Callable[[str], PublicKey | None]) -> Opened:
    """What `sealed` holds, once decrypted with `key` and verified with the key that `find_signer` gives for its signer.

    Raises WronglyAddressed, UnknownSigner, or another RemoteError for whatever else is wrong with the bytes.
    """
    outer = _parse(sealed, SEALED_BYTES_MAX, _TAG_ENCRYPT, "packet")
    kids = _check_outer(outer.value)
    if key.kid.encode() not in kids:
        raise WronglyAddressed(f"The packet is not sealed to '{key.kid}'.")
    signed = _decode(outer, key.cose, b"", "packet cannot be decrypted", context=_WRAP_CONTEXT)
    inner = _parse(signed, SEALED_BYTES_MAX, _TAG_SIGN1, "signed packet")
    signer = _signer_of(inner.value, _ES256)
    public = find_signer(signer)
    if public is None:
        raise UnknownSigner(signer)
    return Opened(_decode(inner, public.cose, _addressed_to(kids), "packet's signature is wrong"), signer)


def sign_statement(payload: bytes, key: StatementKey, purpose: str) -> bytes:
    """`payload` in a COSE_Sign1 by the hub; `purpose` is signed too, and must be named again to verify it."""
    if len(payload) > STATEMENT_BYTES_MAX - SEAL_OVERHEAD_BYTES_MAX:
        raise ValueError("a statement is short; large payloads are sealed")
    signed: bytes = COSE.new().encode_and_sign(
        payload,
        key.cose,
        protected={_ALGORITHM: _EDDSA, _KEY_ID: key.kid.encode()},
        external_aad=_for_purpose(purpose),
    )
    return signed


def verify_statement(signed: bytes, public: StatementPublicKey, purpose: str) -> bytes:
    """The payload of a statement made by `public` for exactly this `purpose`. Raises RemoteError."""
    statement = _parse(signed, STATEMENT_BYTES_MAX, _TAG_SIGN1, "statement")
    if _signer_of(statement.value, _EDDSA) != public.kid:
        raise RemoteError(f"The statement is not signed by '{public.kid}'.")
    return _decode(statement, public.cose, _for_purpose(purpose), f"statement is no genuine {purpose}")


def lock(payload: bytes, key: bytes, context: bytes) -> bytes:
    """`payload` under AES-256-GCM: version (1) | nonce (12) | ciphertext and tag; opens only in the same `context`."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return _LOCK_VERSION + nonce + _cipher(key).encrypt(nonce, payload, context)


def unlock(locked: bytes, key: bytes, context: bytes) -> bytes:
    """The payload of `lock`. Raises RemoteError where key, context or a single bit differ."""
    if len(locked) < LOCK_OVERHEAD_BYTES or locked[:1] != _LOCK_VERSION:
        raise RemoteError("The locked bytes are too short or of an unknown version.")
    try:
        return _cipher(key).decrypt(locked[1 : 1 + _NONCE_BYTES], locked[1 + _NONCE_BYTES :], context)
    except InvalidTag:
        raise RemoteError("The locked bytes do not open with this key in this place.") from None


def _cipher(key: bytes) -> AESGCM:
    if len(key) != KEY_BYTES:
        raise DeviceError(f"A store or site key has {KEY_BYTES} bytes, not {len(key)}.")
    return AESGCM(key)


def _load_private(pem: bytes, kid: str, algorithm: str) -> COSEKeyInterface:
    """A private key as cwt wants it. Raises DeviceError."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise _unusable_key(kid, algorithm) from None
    _check_kind(key.public_key(), kid, algorithm)
    pkcs8 = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return COSEKey.from_pem(pkcs8, kid=kid, alg=algorithm)


def _load_public(encoded: bytes, kid: str, algorithm: str) -> COSEKeyInterface:
    """A public key (PEM or DER) as cwt wants it. Raises DeviceError."""
    try:
        is_pem = encoded.startswith(b"-----BEGIN")
        key = serialization.load_pem_public_key(encoded) if is_pem else serialization.load_der_public_key(encoded)
    except (ValueError, TypeError):
        raise _unusable_key(kid, algorithm) from None
    _check_kind(key, kid, algorithm)
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return COSEKey.from_pem(pem, kid=kid, alg=algorithm)


def _check_kind(public: object, kid: str, algorithm: str) -> None:
    if algorithm == _STATEMENT_ALGORITHM:
        right = isinstance(public, ed25519.Ed25519PublicKey)
    else:
        right = isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1)
    if not right or not 1 <= len(kid.encode()) <= _KEY_ID_BYTES_MAX:
        raise _unusable_key(kid, algorithm)


def _unusable_key(kid: str, algorithm: str) -> DeviceError:
    return DeviceError(
        f"The key file for '{kid[:_KEY_ID_BYTES_MAX]}' holds no key for {algorithm}.",
        next_step="Run the setup or commissioning command for this machine again.",
    )


def _addressed_to(kids: Sequence[bytes]) -> bytes:
    return cbor2.dumps([_SEAL_CONTEXT, list(kids)])


def _for_purpose(purpose: str) -> bytes:
    return cbor2.dumps([_STATEMENT_CONTEXT, purpose])


def _parse(encoded: bytes, bytes_max: int, tag: int, what: str) -> cbor2.CBORTag:
    """One tagged COSE array of four, bounded before anything is built from it. Raises RemoteError."""
    if len(encoded) > bytes_max:
        raise RemoteError(f"The {what} has {len(encoded)} bytes, more than {bytes_max}.")
    bound_items(encoded, items_max=_ITEMS_MAX, nesting_max=_NESTING_MAX, tags=(tag,))
    try:
        value = cbor2.loads(encoded)
    except Exception as error:  # noqa: BLE001 - text that is not UTF-8, maps as keys: the decoder raises what it likes
        raise RemoteError(f"The {what} is not CBOR ({type(error).__name__}).") from None
    if not isinstance(value, cbor2.CBORTag) or not isinstance(value.value, list) or len(value.value) != 4:
        raise RemoteError(f"The {what} is not the COSE message it should be.")
    return value


def _check_outer(parts: list[Any]) -> list[bytes]:
    """The recipients' key ids of a COSE_Encrypt that is built exactly as `seal` builds it. Raises RemoteError."""
    protected, unprotected, ciphertext, recipients = parts
    nonce = unprotected.get(_NONCE) if isinstance(unprotected, dict) and len(unprotected) == 1 else None
    if protected != _CONTENT_PROTECTED or not isinstance(nonce, bytes) or len(nonce) != _NONCE_BYTES:
        raise RemoteError("The packet is not encrypted as this version demands.")
    if not isinstance(ciphertext, bytes) or not isinstance(recipients, list):
        raise RemoteError("The packet is not encrypted as this version demands.")
    if not 1 <= len(recipients) <= RECIPIENTS_MAX:
        raise RemoteError(f"The packet has {len(recipients)} recipients, allowed are 1 to {RECIPIENTS_MAX}.")
    return [_check_recipient(recipient) for recipient in recipients]


def _check_recipient(recipient: object) -> bytes:
    if isinstance(recipient, list) and len(recipient) == 3:
        protected, unprotected, wrapped = recipient
        if (
            protected == _RECIPIENT_PROTECTED
            and isinstance(unprotected, dict)
            and set(unprotected) == {_KEY_ID, _EPHEMERAL_KEY}
            and isinstance(unprotected[_EPHEMERAL_KEY], dict)
            and isinstance(wrapped, bytes)
            and len(wrapped) == _WRAPPED_KEY_BYTES
        ):
            kid = unprotected[_KEY_ID]
            if isinstance(kid, bytes) and 1 <= len(kid) <= _KEY_ID_BYTES_MAX:
                return kid
    raise RemoteError("A recipient of the packet is not described as this version demands.")


def _signer_of(parts: list[Any], algorithm: int) -> str:
    """The signer's key id from the protected header of a COSE_Sign1. Raises RemoteError."""
    protected, unprotected, payload, signature = parts
    if not all(isinstance(part, bytes) for part in (protected, payload, signature)) or unprotected != {}:
        raise RemoteError("The signature is not built as this version demands.")
    bound_items(protected, items_max=_ITEMS_MAX, nesting_max=1)
    try:
        headers = cbor2.loads(protected)
    except Exception as error:  # noqa: BLE001 - see _parse
        raise RemoteError(f"The signature's header is not CBOR ({type(error).__name__}).") from None
    kid = headers.get(_KEY_ID) if isinstance(headers, dict) and set(headers) == {_ALGORITHM, _KEY_ID} else None
    if not isinstance(kid, bytes) or len(kid) > _KEY_ID_BYTES_MAX or headers[_ALGORITHM] != algorithm:
        raise RemoteError("The signature is not of the kind that this version demands.")
    name = kid.decode(errors="replace")
    if not NAME_PATTERN.fullmatch(name):
        # A key id becomes a topic, a log line and a row: what is no name goes no further.
        raise RemoteError("The signer's key id is no name.")
    return name


def _decode(
    message: cbor2.CBORTag,
    key: COSEKeyInterface,
    external_aad: bytes,
    problem: str,
    context: dict[str, Any] | None = None,
) -> bytes:
    try:
        payload: bytes = COSE.new().decode(message, key, context=context, external_aad=external_aad)
    except Exception as error:  # noqa: BLE001 - cwt raises ValueError, TypeError, KeyError and its own on hostile bytes
        raise RemoteError(f"The {problem} ({type(error).__name__}).") from None
    if not isinstance(payload, bytes):
        raise RemoteError(f"The {problem}.")
    return payload
