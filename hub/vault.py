"""What may lie at rest at the hub: a NIK as a keyed digest, everything personal locked under the blob key.

The two keys are derived from `blob.key` by HKDF (RFC 5869), so that a digest tells nothing about the lock. Each locked
value is bound to its place: copied into another row it does not open.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from contract.packet import Biodata
from contract.seal import KEY_BYTES, lock, unlock


class Vault:
    """Digests and locks under the hub's blob key. Holds no state but the keys."""

    def __init__(self, blob_key: bytes) -> None:
        self._digest_key = _derived(blob_key, b"rekam nik digest 1")
        self._lock_key = _derived(blob_key, b"rekam lock at rest 1")

    def nik_digest(self, nik: str) -> str:
        """HMAC-SHA-256 of the NIK, 64 hexadecimal digits: the only form in which it is a database key."""
        return hmac.new(self._digest_key, nik.encode(), hashlib.sha256).hexdigest()

    def lock(self, payload: bytes, table: str, row: str) -> bytes:
        """`payload` locked for one row of one table."""
        return lock(payload, self._lock_key, f"{table}/{row}".encode())

    def unlock(self, locked: bytes, table: str, row: str) -> bytes:
        """What was locked for this row. Raises RemoteError where the bytes were changed or moved."""
        return unlock(locked, self._lock_key, f"{table}/{row}".encode())

    def lock_biodata(self, biodata: Biodata) -> bytes:
        """A resident's biodata for the register's row of their NIK."""
        return self.lock(biodata.model_dump_json().encode(), "resident", self.nik_digest(biodata.nik))

    def unlock_biodata(self, locked: bytes, nik_digest: str) -> Biodata:
        """The biodata of the register's row."""
        return Biodata.model_validate_json(self.unlock(locked, "resident", nik_digest))


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose).derive(key)
