"""A box of virtual cards: one file each, so that a card keeps its memory and can be carried from reader to reader.

A card that lies on a reader is locked, so that it cannot lie on two. Files are replaced whole and flushed, as
EEPROM keeps what it was told. They hold the cards' own keys in the open: these are simulated cards.
"""

from __future__ import annotations

import fcntl
import os
import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import cbor2

from contract.card_keys import CardRole, card_keys, role_master
from contract.card_session import KEY_BYTES, KeyPair
from contract.chip_layout import ChipFile
from contract.errors import RemoteError
from virtual.card import CardMemory, LifeCycle

UID_BYTES = 7
_NXP = b"\x04"  # manufacturer code of the first UID byte (ISO/IEC 7816-6)


class CardBox:
    """The cards of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add_blanks(self, count: int, master: bytes, seed: int) -> list[str]:
        """Put `count` new blanks in, keyed as the card maker delivers them; returns their UIDs in order."""
        source = random.Random(f"blanks {seed}")
        made: list[str] = []
        while len(made) < count:
            uid = _NXP + source.randbytes(UID_BYTES - 1)
            if not self._path(uid.hex().upper()).exists():
                self.save(CardMemory(uid, {role: card_keys(role_master(master, role), uid) for role in CardRole}))
                made.append(uid.hex().upper())
        return made

    def uids(self) -> Sequence[str]:
        """All cards, in the order of their UIDs."""
        return sorted(path.stem for path in self._folder.glob("*.card"))

    def blanks(self) -> Sequence[str]:
        """Cards that nothing was written to yet."""
        return [uid for uid in self.uids() if self.load(uid).is_blank]

    def load(self, uid: str) -> CardMemory:
        """The memory of one card. Raises RemoteError where there is no such card or its file is none."""
        try:
            fields = cbor2.loads(self._path(uid).read_bytes())
            files = {ChipFile(number): bytearray(content) for number, content in fields["files"].items()}
            keys = {
                CardRole(role): KeyPair(pair[:KEY_BYTES], pair[KEY_BYTES:]) for role, pair in fields["keys"].items()
            }
            return CardMemory(fields["uid"], keys, LifeCycle(fields["life_cycle"]), fields["failures"], files)
        except (OSError, KeyError, TypeError, ValueError, AttributeError, cbor2.CBORDecodeError) as error:
            raise RemoteError(f"There is no virtual card {uid[:20]} ({type(error).__name__}).") from None

    def save(self, memory: CardMemory) -> None:
        """Keep a card's memory, flushed."""
        path = self._path(memory.uid.hex().upper())
        fields = {
            "uid": memory.uid,
            "life_cycle": int(memory.life_cycle),
            "failures": memory.failures,
            "keys": {int(role): pair.encryption + pair.mac for role, pair in memory.keys.items()},
            "files": {int(file): bytes(content) for file, content in memory.files.items()},
        }
        scratch = path.with_suffix(".new")
        with scratch.open("wb") as file:
            file.write(cbor2.dumps(fields))
            file.flush()
            os.fdatasync(file.fileno())
        scratch.replace(path)

    def hold(self, uid: str) -> IO[bytes]:
        """Lock a card for one reader until the returned file is closed. Raises RemoteError where another has it."""
        self.load(uid)
        lock = self._path(uid).with_suffix(".lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise RemoteError(f"Card {uid} lies on another reader.", next_step="Take it off there first.") from None
        return lock

    def discard(self, uid: str) -> None:
        """Destroy a card."""
        for suffix in (".card", ".lock"):
            with suppress(FileNotFoundError):
                self._path(uid).with_suffix(suffix).unlink()

    def _path(self, uid: str) -> Path:
        if not uid.isalnum():
            raise RemoteError("A card's UID is hexadecimal.")
        return self._folder / f"{uid}.card"
