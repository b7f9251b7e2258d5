"""A unit's answer to one command as the tool hears it: the key that alone opens it, and the parts so far, in order."""

from __future__ import annotations

import asyncio

from contract.certificates import new_key, private_pem, public_der
from contract.errors import RemoteError
from contract.seal import PublicKey, load_opening_key
from contract.unit_command import Part, open_part


class UnitAnswer:
    """What is awaited from one unit. The key is made here, lives in memory, and goes with the command."""

    def __init__(self, unit: str, command: str) -> None:
        key = new_key()
        self.unit = unit
        self.command = command
        self.public = public_der(key.public_key())
        self.sign_key: PublicKey | None = None
        self.heard = 0
        self._key = load_opening_key(private_pem(key), command)
        self._coming: asyncio.Queue[Part] = asyncio.Queue()

    def take(self, sealed: bytes) -> None:
        """A part that came. What came before, or too early, is left: it is asked for again. Raises RemoteError."""
        if self.sign_key is None:
            raise RemoteError("A part came before the hub said who signs it.")
        part = open_part(sealed, self._key, self.sign_key)
        if part.number == self.heard:
            self.heard += 1
            self._coming.put_nowait(part)

    async def next(self) -> Part:
        """The next part."""
        return await self._coming.get()
