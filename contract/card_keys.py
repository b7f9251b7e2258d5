"""Who may open a chip: the card's own keys, diversified by UID, behind the interface of a SAM.

The master key is 32 bytes (AES-256). Each role has a master of its own, derived from it, and each card and role a
pair of keys, derived from that and the chip's UID (NIST SP 800-108), so that a card that is taken apart gives away
itself only, and a unit that only reads holds only the reader's master. Where a hardware SAM is fitted, it takes the
place of `SoftSam` and no key is ever in the unit's memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Protocol

from contract.card_session import (
    CHALLENGE_BYTES,
    KEY_BYTES,
    KEYING_BYTES,
    KeyPair,
    ReaderHandshake,
    SecureMessaging,
    derive,
    start_handshake,
)
from contract.errors import RekamError

MASTER_BYTES = 32
UID_BYTES_MIN, UID_BYTES_MAX = 4, 10
_REPLACE = "Replace the key file by the one that provisioning issued for this unit."


class CardRole(IntEnum):
    """What a holder of the role's key may do; the number is P2 of MUTUAL AUTHENTICATE, the key reference."""

    READER = 1
    PERSONALISER = 2


class Handshake(Protocol):
    """A mutual authentication in progress."""

    @property
    def token(self) -> bytes:
        """What MUTUAL AUTHENTICATE carries to the card."""
        ...

    def finish(self, answer: bytes) -> SecureMessaging:
        """The secure session. Raises RemoteError where the card is not genuine."""
        ...


class Sam(Protocol):
    """A secure access module: it knows the keys, and only lets sessions out."""

    def authenticate(self, role: CardRole, uid: bytes, card_challenge: bytes) -> Handshake:
        """Begin a session with the chip `uid`. Raises RekamError for a role that this module does not hold."""
        ...


class SoftSam:
    """A SAM in software, from the unit's `sam.key`."""

    def __init__(self, role_masters: Mapping[CardRole, bytes], random: Callable[[int], bytes] = os.urandom) -> None:
        self._role_masters = dict(role_masters)
        self._random = random

    @classmethod
    def load(cls, key_file: bytes, random: Callable[[int], bytes] = os.urandom) -> SoftSam:
        """From a key file: 32 bytes are the master for every role; 33 bytes are one role and that role's master."""
        if len(key_file) == MASTER_BYTES:
            return cls({role: role_master(key_file, role) for role in CardRole}, random)
        if len(key_file) == MASTER_BYTES + 1 and key_file[0] in tuple(CardRole):
            return cls({CardRole(key_file[0]): key_file[1:]}, random)
        raise RekamError(f"The SAM key file has {len(key_file)} bytes and is none.", next_step=_REPLACE)

    def authenticate(self, role: CardRole, uid: bytes, card_challenge: bytes) -> ReaderHandshake:
        """Begin a session with the chip `uid` under fresh random bytes."""
        if role not in self._role_masters:
            raise RekamError(f"This unit holds no {role.name.lower()} key.", next_step=_REPLACE)
        keys = card_keys(self._role_masters[role], uid)
        return start_handshake(keys, card_challenge, self._random(CHALLENGE_BYTES), self._random(KEYING_BYTES))


def role_master(master: bytes, role: CardRole) -> bytes:
    """The 32-byte master of one role."""
    if len(master) != MASTER_BYTES:
        raise RekamError(f"The card master key has {len(master)} bytes, not {MASTER_BYTES}.", next_step=_REPLACE)
    return derive(master, b"rekam card role", bytes((role,)), MASTER_BYTES)


def role_key_file(master: bytes, role: CardRole) -> bytes:
    """A key file for a unit that has this role only: a handover desk reads and never writes."""
    return bytes((role,)) + role_master(master, role)


def card_keys(role_master_key: bytes, uid: bytes) -> KeyPair:
    """The keys of one chip for the role of `role_master_key`."""
    if not UID_BYTES_MIN <= len(uid) <= UID_BYTES_MAX:
        raise RekamError(f"A chip's UID has 4, 7 or 10 bytes, not {len(uid)}.", next_step="Use another blank.")
    keys = derive(role_master_key, b"rekam card", uid, 2 * KEY_BYTES)
    return KeyPair(keys[:KEY_BYTES], keys[KEY_BYTES:])
