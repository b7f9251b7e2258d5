"""Pass phrases and PINs at rest: `scrypt$n$r$p$salt$digest` (RFC 7914), salt and digest in base64.

A PIN has six digits, so its digest protects it from a glance and from chance, not from a machine that guesses for
days: it travels and rests sealed all the same, and tries are counted (edge.pin_tries).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from itertools import pairwise
from typing import Annotated

from pydantic import Field

SCRYPT_R, SCRYPT_P = 8, 1
PIN_COST = 2**15  # 32 MiB
COST_MAX = 2**17
SALT_BYTES, DIGEST_BYTES = 16, 32
SECRET_CHARACTERS_MAX = 200
PIN_DIGITS = 6
_MEMORY_BYTES_MAX = 256 * 1024 * 1024
_FORM = r"scrypt\$[0-9]{1,7}\$[0-9]{1,2}\$[0-9]{1,2}\$[A-Za-z0-9+/=]{24}\$[A-Za-z0-9+/=]{44}"

SecretHash = Annotated[str, Field(pattern=f"^(|{_FORM})$")]


def hash_secret(secret: str, salt: bytes, cost: int) -> str:
    """What may be kept of a secret. cost: scrypt's n, a power of two; memory is 1 KiB times it."""
    digest = _scrypt(secret, salt, cost, SCRYPT_R, SCRYPT_P)
    return f"scrypt${cost}${SCRYPT_R}${SCRYPT_P}${_text(salt)}${_text(digest)}"


def secret_matches(secret: str, stored: str) -> bool:
    """Whether this is the secret; False for a record that is none, or that would cost too much to compare."""
    if len(secret) > SECRET_CHARACTERS_MAX or not re.fullmatch(_FORM, stored):
        return False
    _, n, r, p, salt, digest = stored.split("$")
    if int(n) * int(r) * int(p) > COST_MAX * SCRYPT_R:
        return False
    try:
        expected = base64.b64decode(digest, validate=True)
        found = _scrypt(secret, base64.b64decode(salt, validate=True), int(n), int(r), int(p))
    except ValueError:  # not base64, or parameters that scrypt refuses
        return False
    return hmac.compare_digest(found, expected)


def is_weak_pin(pin: str) -> bool:
    """Whether a PIN is no PIN, or one of those that are tried first: one digit, or digits in a row."""
    if not re.fullmatch(rf"[0-9]{{{PIN_DIGITS}}}", pin):
        return True
    steps = {(int(b) - int(a)) % 10 for a, b in pairwise(pin)}
    return steps in ({0}, {1}, {9})


def _scrypt(secret: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, n=n, r=r, p=p, dklen=DIGEST_BYTES, maxmem=_MEMORY_BYTES_MAX)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
