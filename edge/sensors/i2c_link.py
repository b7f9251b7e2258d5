"""One part on an I2C bus as drivers use it: plain writes and reads, and every failure of the bus is a DeviceError.

The kernel says what went wrong in its error number (linux Documentation/i2c/fault-codes.rst); here it becomes a
sentence about wires. The bus is injected: a test gives a twin that takes the same messages as smbus2's `i2c_rdwr`.
"""

from __future__ import annotations

import errno
import fcntl
import time
from collections.abc import Callable
from typing import Any, Protocol

import smbus2

from contract.errors import DeviceError

TRANSFER_TIMEOUT_S = 0.1
READ_BYTES_MAX = 256
_I2C_RETRIES, _I2C_TIMEOUT = 0x0701, 0x0702  # linux/i2c-dev.h; the time-out counts in 10 ms
_NOBODY = (errno.ENXIO, errno.EREMOTEIO, errno.EIO)
_STUCK = (errno.ETIMEDOUT, errno.EAGAIN, errno.EBUSY, errno.EPROTO)


class I2cBus(Protocol):
    """A bus that takes combined messages, as smbus2.SMBus does. Raises OSError."""

    def i2c_rdwr(self, *messages: Any) -> None:
        """Do the messages in one transaction, with repeated starts between them."""
        ...

    def close(self) -> None:
        """Release the bus."""
        ...


BusOpener = Callable[[int], I2cBus]
Sleep = Callable[[float], None]


def open_kernel_bus(number: int) -> I2cBus:
    """`/dev/i2c-<number>` with a bounded time for each transfer. Raises OSError."""
    bus = smbus2.SMBus(number)
    if bus.fd is not None:
        fcntl.ioctl(bus.fd, _I2C_TIMEOUT, round(TRANSFER_TIMEOUT_S * 100))
        fcntl.ioctl(bus.fd, _I2C_RETRIES, 1)
    return bus


class I2cPart:
    """One part at one address. name: what a technician calls it, for messages."""

    def __init__(
        self, name: str, bus: int, address: int, open_bus: BusOpener = open_kernel_bus, sleep: Sleep = time.sleep
    ) -> None:
        if not 0x08 <= address <= 0x77:
            raise DeviceError(f"{address:#x} is no I2C address.", next_step="Give one from 8 (0x08) to 119 (0x77).")
        self._name, self._number, self._address = name, bus, address
        self.sleep = sleep
        try:
            self._bus = open_bus(bus)
        except OSError as error:
            raise self._no_bus(error) from error

    def write(self, data: bytes) -> None:
        """Send bytes to the part."""
        self._transfer(smbus2.i2c_msg.write(self._address, data))

    def read(self, length: int) -> bytes:
        """Take `length` bytes from the part."""
        message = smbus2.i2c_msg.read(self._address, min(length, READ_BYTES_MAX))
        self._transfer(message)
        return bytes(message)

    def write_read(self, data: bytes, length: int) -> bytes:
        """Send bytes, then take `length` bytes in the same transaction: how registers are read."""
        message = smbus2.i2c_msg.read(self._address, min(length, READ_BYTES_MAX))
        self._transfer(smbus2.i2c_msg.write(self._address, data), message)
        return bytes(message)

    def poke(self, address: int) -> None:
        """Hold SDA low for as long as a byte of zeros takes, which wakes a sleeping part.

        Nobody need answer at `address`. Raises DeviceError only where the bus itself is at fault.
        """
        try:
            self._bus.i2c_rdwr(smbus2.i2c_msg.write(address, b"\0"))
        except OSError as error:
            if error.errno not in _NOBODY:
                raise self._failed(error) from error

    def close(self) -> None:
        """Release the bus; never raises, and may be called twice."""
        try:
            self._bus.close()
        except OSError:
            return

    def _transfer(self, *messages: Any) -> None:
        try:
            self._bus.i2c_rdwr(*messages)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> DeviceError:
        where = f"I2C bus {self._number}"
        if error.errno in _NOBODY:
            return NobodyAnswers(
                f"The {self._name} does not answer at {self._address:#04x} on {where}.",
                next_step="Check the part's power, its SDA and SCL wires and its address straps.",
            )
        if error.errno in _STUCK:
            return DeviceError(
                f"{where} is stuck ({errno.errorcode.get(error.errno or 0, '?')}): a line is held low.",
                next_step="Switch the enclosure's power off and on. If it stays, unplug its parts one by one.",
            )
        return DeviceError(
            f"The {self._name} on {where} failed: {error.strerror}.",
            next_step="Plug the part in again; the next call opens it anew.",
        )

    def _no_bus(self, error: OSError) -> DeviceError:
        if error.errno == errno.ENOENT:
            return DeviceError(
                f"There is no I2C bus {self._number}.",
                next_step="Switch I2C on (raspi-config, Interface Options), or correct 'bus' in unit.toml.",
            )
        if error.errno in (errno.EACCES, errno.EPERM):
            return DeviceError(
                f"I2C bus {self._number} may not be opened.", next_step="Add the agent's user to the group i2c."
            )
        return self._failed(error)


class NobodyAnswers(DeviceError):
    """The address was not acknowledged: the part is missing, has no power, or is busy where it says so this way."""
