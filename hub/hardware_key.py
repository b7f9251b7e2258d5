"""A P-256 key in a hardware module as the X.509 builder takes it: the module signs, the key never leaves it (PKCS#11).

The module is named by a PKCS#11 URI (RFC 7512).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qsl, unquote

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from contract.errors import DeviceError

if TYPE_CHECKING:
    from contract.channel_pkcs11 import KeyPlace, ModuleKey

SCHEME = "pkcs11:"
_COORDINATE_BYTES = 32
_CHECK = "Check the module's path, token, label and pin-source in hub.toml, and that the module is plugged in."


class HardwareKey(ec.EllipticCurvePrivateKey):
    """A private key that can sign and say its public part, and nothing else."""

    def __init__(self, uri: str) -> None:
        """Find the key pair. Raises DeviceError where module, token or key are missing."""
        self._key = _module_key(uri)
        self._key.open()
        self._public = self._key.public()

    @classmethod
    def generate(cls, uri: str) -> HardwareKey:
        """Make a key pair in the module under the URI's label. Raises DeviceError where there is one already."""
        key = _module_key(uri)
        key.open()
        if not key.make():
            raise DeviceError("The module holds a key of that label already.", next_step="Choose another label.")
        return cls(uri)

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """ECDSA with SHA-256, DER. Raises DeviceError where the module does not answer."""
        if not isinstance(signature_algorithm.algorithm, hashes.SHA256):
            raise DeviceError("The module is asked for a hash that the bus does not use.")
        raw = self._key.sign(hashlib.sha256(data).digest())
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


def _module_key(uri: str) -> ModuleKey:
    """The key that a URI names; the PKCS#11 library is loaded only here. Raises DeviceError."""
    from contract.channel_pkcs11 import ModuleKey

    return ModuleKey(parse_uri(uri), _CHECK)


def parse_uri(uri: str) -> KeyPlace:
    """What a PKCS#11 URI names. Raises DeviceError for one that leaves out library, token, label or the PIN's file."""
    from contract.channel_pkcs11 import KeyPlace

    path, _, query = uri.removeprefix(SCHEME).partition("?")
    attributes = {key: unquote(value) for key, _, value in (part.partition("=") for part in path.split(";"))}
    options = dict(parse_qsl(query))
    try:
        pin_file = Path(options["pin-source"].removeprefix("file:"))
        return KeyPlace(options["module-path"], attributes["token"], attributes["object"], pin_file)
    except KeyError as error:
        raise DeviceError(f"The PKCS#11 URI names no {error.args[0]}.", next_step=_CHECK) from None


def _stays() -> DeviceError:
    return DeviceError("The issuing key stays in its module.", next_step="Use it for signing certificates only.")
