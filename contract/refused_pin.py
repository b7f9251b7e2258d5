"""The PIN that a hardware module refused last, remembered over restarts: a module locks itself after a few wrong ones.

What is kept beside the PIN's own file is its digest under a random salt (scrypt, RFC 7914), and when that file was
written. A PIN that was changed is another one; one that was written again is tried again, since the token may have been
put right instead. Where nothing can be written, it is remembered as long as the process lives.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from pathlib import Path

from contract.channel_disk import write_whole

SUFFIX = ".refused"
_RECORD = struct.Struct(">16s32sq")  # salt | digest | when the PIN's file was written, ns
_COST, _BLOCK, _PARALLEL = 2**14, 8, 1  # 16 MiB and some ten milliseconds


class RefusedPin:
    """Of the token whose PIN lies in `pin_file`. Methods block."""

    def __init__(self, pin_file: Path) -> None:
        self._pin_file = pin_file
        self._path = pin_file.with_name(pin_file.name + SUFFIX)
        self._unwritten: bytes | None = None

    def holds(self, token: str, pin: str) -> bool:
        """Whether this token has refused this PIN since it was written."""
        content = self._unwritten or self._kept()
        if len(content) != _RECORD.size:
            return False
        salt, digest, written_ns = _RECORD.unpack(content)
        same = hmac.compare_digest(digest, _digest(salt, token, pin))
        return same and written_ns == self._written_ns()

    def remember(self, token: str, pin: str) -> None:
        """The token has just refused it."""
        salt = secrets.token_bytes(16)
        content = _RECORD.pack(salt, _digest(salt, token, pin), self._written_ns())
        try:
            write_whole(self._path, content)
            self._unwritten = None
        except OSError:
            self._unwritten = content

    def forget(self) -> None:
        """A PIN was taken."""
        self._unwritten = None
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            pass  # it is about a PIN that is not used any more

    def _kept(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                return file.read(_RECORD.size + 1)
        except OSError:
            return b""

    def _written_ns(self) -> int:
        return self._pin_file.stat().st_mtime_ns


def _digest(salt: bytes, token: str, pin: str) -> bytes:
    text = f"{len(token)} {token} {pin}".encode()
    return hashlib.scrypt(text, salt=salt, n=_COST, r=_BLOCK, p=_PARALLEL, dklen=32)
