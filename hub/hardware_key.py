"""A P-256 key in a hardware module as the X.509 builder takes it: the module signs, the key never leaves it (PKCS#11).

The module is named by a PKCS#11 URI (RFC 7512). A lost session is opened again once, because modules close them.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from contract.errors import DeviceError

SCHEME = "pkcs11:"
_COORDINATE_BYTES = 32
_CHECK = "Check the module's path, token, label and pin-source in hub.toml, and that the module is plugged in."


@dataclass(frozen=True, slots=True)
class ModuleUri:
    """What a PKCS#11 URI names: the library, the token, the key's label, and the file that holds the PIN."""

    library: str
    token: str
    label: str
    pin_file: Path

    @classmethod
    def parse(cls, uri: str) -> ModuleUri:
        """Raises DeviceError for a URI that leaves one of the four out."""
        path, _, query = uri.removeprefix(SCHEME).partition("?")
        attributes = {key: unquote(value) for key, _, value in (part.partition("=") for part in path.split(";"))}
        options = dict(parse_qsl(query))
        try:
            pin_file = Path(options["pin-source"].removeprefix("file:"))
            return cls(options["module-path"], attributes["token"], attributes["object"], pin_file)
        except KeyError as error:
            raise DeviceError(f"The PKCS#11 URI names no {error.args[0]}.", next_step=_CHECK) from None


class HardwareKey(ec.EllipticCurvePrivateKey):
    """A private key that can sign and say its public part, and nothing else."""

    def __init__(self, uri: ModuleUri) -> None:
        """Find the key pair. Raises DeviceError where module, token or key are missing."""
        self._uri = uri
        self._lock = threading.Lock()
        self._private: Any = None
        self._public = self._open()

    @classmethod
    def generate(cls, uri: ModuleUri) -> HardwareKey:
        """Make a key pair in the module under the URI's label. Raises DeviceError where there is one already."""
        import pkcs11
        from pkcs11.util.ec import encode_named_curve_parameters

        try:
            session = _session(uri, writable=True)
            if list(session.get_objects({pkcs11.Attribute.LABEL: uri.label})):
                raise DeviceError(f"The module holds a key '{uri.label}' already.", next_step="Choose another label.")
            parameters = session.create_domain_parameters(
                pkcs11.KeyType.EC,
                {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")},
                local=True,
            )
            parameters.generate_keypair(store=True, label=uri.label)
            session.close()
        except pkcs11.PKCS11Error as error:
            raise _failed(error) from None
        return cls(uri)

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """ECDSA with SHA-256, DER. Raises DeviceError where the module does not answer."""
        import pkcs11

        if not isinstance(signature_algorithm.algorithm, hashes.SHA256):
            raise DeviceError("The module is asked for a hash that the bus does not use.")
        digest = hashlib.sha256(data).digest()
        with self._lock:
            try:
                raw = self._signed(digest)
            except pkcs11.PKCS11Error:
                self._open()
                try:
                    raw = self._signed(digest)
                except pkcs11.PKCS11Error as error:
                    raise _failed(error) from None
        return utils.encode_dss_signature(
            int.from_bytes(raw[:_COORDINATE_BYTES]), int.from_bytes(raw[_COORDINATE_BYTES:])
        )

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public part."""
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        """P-256."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """256."""
        return self._public.key_size

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        """An authority's key signs and does nothing else."""
        raise _stays()

    def private_numbers(self) -> NoReturn:
        """The key does not leave the module."""
        raise _stays()

    def private_bytes(self, *_: object) -> NoReturn:
        """The key does not leave the module."""
        raise _stays()

    def __copy__(self) -> HardwareKey:
        return self

    def __deepcopy__(self, _memo: object) -> HardwareKey:
        return self

    def _signed(self, digest: bytes) -> bytes:
        import pkcs11

        signature: bytes = self._private.sign(digest, mechanism=pkcs11.Mechanism.ECDSA)
        return signature

    def _open(self) -> ec.EllipticCurvePublicKey:
        import pkcs11
        from pkcs11.util.ec import encode_ec_public_key

        try:
            session = _session(self._uri, writable=False)
            self._private = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=self._uri.label)
            stored: Any = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label=self._uri.label)
            public = serialization.load_der_public_key(encode_ec_public_key(stored))
        except (pkcs11.PKCS11Error, ValueError) as error:
            raise _failed(error) from None
        if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
            raise DeviceError("The module's key is not P-256.", next_step=_CHECK)
        return public


def _session(uri: ModuleUri, *, writable: bool) -> Any:
    import pkcs11

    try:
        pin = uri.pin_file.read_text(encoding="utf-8").strip()
        token = pkcs11.lib(uri.library).get_token(token_label=uri.token)
        try:
            return token.open(user_pin=pin, rw=writable)
        except pkcs11.UserAlreadyLoggedIn:  # the log-in is the process's, not the session's (PKCS#11 v2.40, 2.6)
            return token.open(rw=writable)
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        raise _failed(error) from None


def _failed(error: Exception) -> DeviceError:
    return DeviceError(f"The hardware module refuses ({type(error).__name__}).", next_step=_CHECK)


def _stays() -> DeviceError:
    return DeviceError("The issuing key stays in its module.", next_step="Use it for signing certificates only.")
