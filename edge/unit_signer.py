"""One interface to the key that signs a unit's packets, wherever it lives: a file, or a part that never gives it away.

Where it lives goes into the unit's certificate, so that the centre knows which units hold their keys in software.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from cryptography.hazmat.primitives.asymmetric import ec, utils

from contract.certificates import public_der
from contract.errors import DeviceError
from edge.sensors.drivers import open_driver
from edge.sensors.interface import IdentityChip, KeyMaker

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


class PartSigner(UnitSigner, Protocol):
    """A key in a part; some parts make it themselves."""

    def make(self) -> None:
        """Make the key where the part makes keys and holds none: only before anything relies on it."""
        ...


@runtime_checkable
class StartCounter(Protocol):
    """An identity chip that counts upwards and cannot be made to forget: it counts the unit's starts."""

    def starts(self) -> int:
        """How many there were. Raises DeviceError."""
        ...

    def count_start(self) -> int:
        """Count one more; how many there were then. Raises DeviceError."""
        ...


class ChipSigner:
    """A key in an identity chip, which is open already."""

    def __init__(self, chip: IdentityChip, home: str) -> None:
        self._chip = chip
        self.home = home

    @property
    def counter(self) -> StartCounter | None:
        """The same chip, where it counts."""
        return self._chip if isinstance(self._chip, StartCounter) else None

    def make(self) -> None:
        """See PartSigner."""
        if isinstance(self._chip, KeyMaker):
            self._chip.make_key()

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

    def close(self) -> None:
        """Let the chip go. Never raises."""
        self._chip.close()


class BoxChip:
    """The chip of a box that is no unit yet: opened when it is needed, and again where that failed.

    So a box without its part has a page that says so, and goes on by itself once the part is there.
    """

    def __init__(self, identity: Mapping[str, object]) -> None:
        self._identity = identity
        self._signer: ChipSigner | None = None

    @property
    def home(self) -> str:
        """See UnitSigner. Raises DeviceError."""
        return self._open().home

    def make(self) -> None:
        """See PartSigner."""
        self._open().make()

    def public(self) -> bytes:
        """See UnitSigner."""
        return self._open().public()

    def sign(self, text: bytes) -> bytes:
        """See UnitSigner."""
        return self._open().sign(text)

    def close(self) -> None:
        """Let the chip go. Never raises."""
        signer, self._signer = self._signer, None
        if signer is not None:
            signer.close()

    def _open(self) -> ChipSigner:
        if self._signer is None:
            self._signer = open_chip_signer(self._identity)
        return self._signer


def open_chip_signer(identity: Mapping[str, object]) -> ChipSigner:
    """The signer in the identity chip of this table of settings, opened. Raises DeviceError."""
    device = open_driver("identity", identity)
    info = device.open()
    if not isinstance(device, IdentityChip):
        raise DeviceError(f"'{info.driver}' is no identity chip.", next_step="Correct the identity table.")
    return ChipSigner(device, info.driver)
