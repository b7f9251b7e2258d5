"""The product's identifiers: UUIDv7 for captures and rows (RFC 9562, 5.7), SHA-256 of the sealed bytes for packets.

A capture keeps its id for ever; sealing it again gives a new pid. Ingest is idempotent on both.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from uuid import UUID

from contract.clock import Clock
from contract.errors import RemoteError

PID_PATTERN = re.compile(r"^[0-9a-f]{64}$")
PACKET_FILE_SUFFIX = ".rekam-packet"  # of a sealed packet on removable media, behind its id


def uuid7(clock: Clock, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A UUIDv7 as text: 48 bits of wall milliseconds, then 74 random bits, so that ids sort by the time of making.

    random_bytes: source of randomness; a seeded one (`random.Random(seed).randbytes`) makes the ids repeatable.
    """
    noise = int.from_bytes(random_bytes(10))
    milliseconds = clock.wall_ms() & ((1 << 48) - 1)
    version_and_noise = 0x7000 | (noise >> 62) & 0x0FFF
    variant_and_noise = (0b10 << 62) | noise & ((1 << 62) - 1)
    return str(UUID(int=(milliseconds << 80) | (version_and_noise << 64) | variant_and_noise))


def pid_of(sealed: bytes) -> str:
    """The packet id: SHA-256 of the sealed bytes, 64 hexadecimal digits in lower case."""
    return hashlib.sha256(sealed).hexdigest()


def checked_pid(text: str) -> str:
    """`text` where it is a packet id; raises RemoteError where it is not, before it can become a file name."""
    if not PID_PATTERN.fullmatch(text):
        raise RemoteError("A packet id is 64 hexadecimal digits in lower case.")
    return text
