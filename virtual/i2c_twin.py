"""An I2C bus without wires: takes smbus2's messages, answers register by register, and fails as real buses do.

What it raises is what the kernel raises (linux Documentation/i2c/fault-codes.rst): ENXIO where no address
acknowledges, ETIMEDOUT where a line is held low, EREMOTEIO where a part refuses in the middle.
"""

from __future__ import annotations

import errno
import os
from typing import Any, Protocol

READ_FLAG = 0x0001


class NotAcknowledged(Exception):
    """The part pulls nothing low where the acknowledgement belongs."""


class PartTwin(Protocol):
    """One part, without I/O. Raises NotAcknowledged."""

    def write(self, data: bytes) -> None:
        """Bytes after the part's address, up to the stop or the repeated start."""
        ...

    def read(self, length: int) -> bytes:
        """The next bytes that the part shifts out."""
        ...

    def general_call(self) -> None:
        """SDA was low for the length of address 0: sleeping parts wake."""
        ...


class I2cBusTwin:
    """One bus. parts: by address. A test sets the faults; `writes` counts what reached each address."""

    def __init__(self, parts: dict[int, PartTwin] | None = None) -> None:
        self.parts = dict(parts or {})
        self.stuck = False
        self.unplugged: set[int] = set()
        self.flips: dict[int, int] = {}
        self.transfers = 0
        self.transfers_until_unplugged: int | None = None
        self.open_count = 0

    def open(self, number: int) -> I2cBusTwin:
        """What a driver's `open_bus` calls."""
        if number < 0:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        self.open_count += 1
        return self

    def close(self) -> None:
        """A driver has released the bus."""
        self.open_count -= 1

    def i2c_rdwr(self, *messages: Any) -> None:
        """One transaction of smbus2.i2c_msg."""
        self.transfers += 1
        if self.transfers_until_unplugged is not None:
            self.transfers_until_unplugged -= 1
            if self.transfers_until_unplugged < 0:
                self.unplugged.update(self.parts)
        if self.stuck:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        for message in messages:
            self._transfer(message)

    def _transfer(self, message: Any) -> None:
        if message.addr == 0:
            for address, woken in self.parts.items():
                if address not in self.unplugged:
                    woken.general_call()
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        part = None if message.addr in self.unplugged else self.parts.get(message.addr)
        if part is None:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        try:
            if message.flags & READ_FLAG:
                data = bytearray(part.read(message.len))
                if self.flips.get(message.addr, 0) and data:
                    self.flips[message.addr] -= 1
                    data[-1] ^= 0x10
                for offset, byte in enumerate(data.ljust(message.len, b"\xff")[: message.len]):
                    message.buf[offset] = byte
            else:
                part.write(bytes(message))
        except NotAcknowledged:
            raise OSError(errno.EREMOTEIO, os.strerror(errno.EREMOTEIO)) from None
