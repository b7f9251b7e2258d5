"""A COSE key whose private half lives in a part (RFC 9053, 2.1): the library asks it to sign, and the part does.

The library wants key material to believe that a key can sign, so it is given a throwaway pair that signs nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cwt import COSEKey
from cwt.algs.ec2 import EC2Key

from contract.errors import DeviceError

_COORDINATE_BYTES = 32
_ALGORITHM = "ES256"


class PartKey(EC2Key):
    """Signs by `sign` (ECDSA with SHA-256, DER)."""

    def __init__(self, kid: str, sign: Callable[[bytes], bytes]) -> None:
        throwaway = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        super().__init__(COSEKey.from_pem(throwaway, kid=kid, alg=_ALGORITHM).to_dict())
        self._sign_in_part = sign

    def sign(self, msg: bytes) -> bytes:
        """R and S, 32 bytes each. Raises DeviceError."""
        try:
            r, s = utils.decode_dss_signature(self._sign_in_part(msg))
        except ValueError:
            raise DeviceError("The part that holds the packet key gave no signature.") from None
        return r.to_bytes(_COORDINATE_BYTES) + s.to_bytes(_COORDINATE_BYTES)
