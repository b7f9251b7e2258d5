"""Driver of a TPM 2.0 behind PKCS#11 (tpm2-pkcs11): a unit's identity in a part that never gives its private key away.

The token is made once by a technician (`tpm2_ptool`); the key pair is made by the unit, in the TPM, when it is first
asked to. The library is told where its store lies, and how the TPM is reached, by the process's environment alone, and
reads it when it is loaded: `store` and `tcti` are put there when this device is opened.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contract.channel_pkcs11 import CALL_TIMEOUT_S, KeyPlace, ModuleInfo, ModuleKey
from contract.errors import DeviceError
from edge.sensors.interface import DeviceInfo

DIGEST_BYTES = 32
STORE, TCTI = "TPM2_PKCS11_STORE", "TPM2_PKCS11_TCTI"
_LIBRARY = "TPM2"  # how tpm2-pkcs11 describes itself: a key in another module may not be called a TPM's
_OTHERS = 0o077
_CHECK = (
    "Check that /dev/tpmrm0 is there, that the agent's user is in group tss, and store, token, label and pin_file of "
    "the identity table."
)


class Tpm:
    """An IdentityChip, and a KeyMaker.

    pin_file: the token's user PIN, readable by its owner only. label: of the unit's signing key. module: tpm2-pkcs11's
    library. store: its folder; tcti: how the TPM is reached, `device:/dev/tpmrm0` (None: as the environment says).
    """

    def __init__(
        self,
        *,
        pin_file: str,
        token: str = "rekam",  # noqa: S107 - a token's name, no secret
        label: str = "sign",
        module: str = "libtpm2_pkcs11.so.1",
        store: str | None = None,
        tcti: str | None = None,
        call_timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        self._pin_file = Path(pin_file)
        self._environment = {name: value for name, value in ((STORE, store), (TCTI, tcti)) if value is not None}
        self._key = ModuleKey(KeyPlace(module, token, label, self._pin_file), _CHECK, call_timeout_s)
        self._info: ModuleInfo | None = None

    def open(self) -> DeviceInfo:
        """Log in at the token and read who the TPM is. Raises DeviceError."""
        self.close()
        self._check_pin_file()
        os.environ.update(self._environment)
        try:
            info = self._key.open()
            if not info.library.startswith(_LIBRARY):
                raise DeviceError(
                    f"The module is no TPM: it calls itself '{info.library[:60]}'.",
                    next_step="Leave module out, or name the library of tpm2-pkcs11.",
                )
            has_key = self._key.has_key()
        except DeviceError:
            self._key.close()
            raise
        self._info = info
        return DeviceInfo(
            "tpm",
            f"{info.manufacturer} {info.model}",
            serial=info.serial,
            firmware=info.firmware,
            capabilities=("key",) if has_key else ("no key",),
        )

    def close(self) -> None:
        """Let the TPM go."""
        self._info = None
        self._key.close()

    def serial(self) -> str:
        """The token's serial number; tpm2-pkcs11 has zeros for all."""
        return self._opened().serial

    def make_key(self) -> bool:
        """Make the key pair in the TPM where there is none; whether it was made. Raises DeviceError."""
        self._opened()
        return self._key.make(over_a_half=True)

    def public_key(self) -> bytes:
        """The key's public half: X and Y, 32 bytes each. Raises DeviceError where there is no key that stays."""
        self._opened()
        public = self._key.public()
        if not self._key.stays():
            raise DeviceError(
                "The key was not made in the TPM, or may leave it.",
                next_step="Name another label: the unit makes a key of its own when it is commissioned.",
            )
        return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]

    def sign(self, digest: bytes) -> bytes:
        """ECDSA over a SHA-256 digest: R and S, 32 bytes each. Raises DeviceError."""
        self._opened()
        if len(digest) != DIGEST_BYTES:
            raise DeviceError(f"A digest has 32 bytes, not {len(digest)}.")
        return self._key.sign(digest)

    def _opened(self) -> ModuleInfo:
        if self._info is None:
            raise DeviceError("The TPM is not open.")
        return self._info

    def _check_pin_file(self) -> None:
        try:
            mode = self._pin_file.stat().st_mode
        except OSError as error:
            raise DeviceError(
                f"The TPM's PIN cannot be read from {self._pin_file} ({error.strerror}).",
                next_step="Write the token's PIN into it, readable by the agent's user only.",
            ) from None
        if mode & _OTHERS:
            raise DeviceError(f"{self._pin_file} can be read by others.", next_step=f"chmod 600 {self._pin_file}")
