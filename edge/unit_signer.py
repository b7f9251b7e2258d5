"""One interface to the key that signs a unit's packets, wherever it lives: a file, or a part that never gives it away.

Where it lives goes into the unit's certificate, so that the centre knows which units hold their keys in software.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec, utils

from contract.certificates import public_der
from contract.errors import DeviceError
from edge.sensors.drivers import open_driver
from edge.sensors.interface import IdentityChip

_COORDINATE_BYTES = 32


class UnitSigner(Protocol):
    """Signs with P-256. home: `software`, or the name of the part that holds the key."""

    @property
    def home(self) -> str:
        """Where the key lives."""
        ...

    def public(self) -> bytes:
        """SubjectPublicKeyInfo DER. Raises DeviceError."""
        ...

    def sign(self, text: bytes) -> bytes:
        """ECDSA with SHA-256, DER. Raises DeviceError."""
        ...


class ChipSigner:
    """A key in an identity chip, which is open already."""

    def __init__(self, chip: IdentityChip, home: str) -> None:
        self._chip = chip
        self.home = home

    def public(self) -> bytes:
        """See UnitSigner."""
        point = b"\x04" + self._chip.public_key()
        try:
            return public_der(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point))
        except ValueError:
            raise DeviceError(
                "The identity chip's key is no point of P-256.", next_step="Replace the chip, or its slot's key."
            ) from None

    def sign(self, text: bytes) -> bytes:
        """See UnitSigner."""
        raw = self._chip.sign(hashlib.sha256(text).digest())
        return utils.encode_dss_signature(
            int.from_bytes(raw[:_COORDINATE_BYTES]), int.from_bytes(raw[_COORDINATE_BYTES:])
        )


def open_chip_signer(identity: Mapping[str, object]) -> ChipSigner:
    """The signer in the identity chip of this table of settings, opened. Raises DeviceError."""
    device = open_driver("identity", identity)
    info = device.open()
    if not isinstance(device, IdentityChip):
        raise DeviceError(f"'{info.driver}' is no identity chip.", next_step="Correct the identity table.")
    return ChipSigner(device, info.driver)
