"""A serial port as drivers use it: bounded reads, and every failure of the port is a DeviceError.

Drivers talk to the `ByteLink` Protocol, so that a session can also be played in memory with its time injected.
"""

from __future__ import annotations

import os
import select
import termios
from collections.abc import Callable
from typing import Protocol

import serial

from contract.errors import DeviceError

READ_BYTES_MAX = 65_536
WRITE_TIMEOUT_S = 2.0
UNPLUGGED_NEXT_STEP = "Plug the device in again; the next capture opens it anew."


class ByteLink(Protocol):
    """A two-way stream of bytes with a time-out on each read."""

    def read(self, timeout_s: float) -> bytes:
        """What has arrived, at most READ_BYTES_MAX; waits up to timeout_s for the first byte, then gives b""."""
        ...

    def write(self, data: bytes) -> None:
        """Send all bytes."""
        ...

    def set_baud(self, baud: int) -> None:
        """Go on at another line speed, in bit/s."""
        ...

    def discard_input(self) -> None:
        """Forget what has arrived and was not read."""
        ...

    def close(self) -> None:
        """Release the port; never raises, and may be called twice."""
        ...


LinkOpener = Callable[[str, int], ByteLink]


class SerialLink:
    """A tty: a UART, a USB adapter or a pseudo-terminal. Opened exclusively, 8 data bits and 1 stop bit."""

    def __init__(self, port: str, baud: int, *, parity: str = serial.PARITY_NONE) -> None:
        self._port = port
        try:
            self._serial = serial.Serial(
                port, baud, parity=parity, timeout=0, write_timeout=WRITE_TIMEOUT_S, exclusive=True
            )
        except (serial.SerialException, OSError, ValueError, termios.error) as error:
            number = getattr(error, "errno", None)  # pyserial's own text names the port and the reason twice
            raise DeviceError(
                f"Serial port {port} cannot be opened: {os.strerror(number) if number else error}.",
                next_step="Check cable and power, and that no other program holds the port.",
            ) from error

    def read(self, timeout_s: float) -> bytes:
        """What has arrived; b"" after timeout_s. Raises DeviceError when the device is gone."""
        try:
            ready, _, _ = select.select([self._serial.fileno()], [], [], max(0.0, timeout_s))
            if not ready:
                return b""
            data = os.read(self._serial.fileno(), READ_BYTES_MAX)
        except (serial.SerialException, OSError, ValueError, termios.error) as error:
            raise self._gone(error) from error
        if not data:
            raise self._gone(None)
        return data

    def write(self, data: bytes) -> None:
        """Send all bytes; DeviceError when the port is gone or takes nothing for WRITE_TIMEOUT_S."""
        try:
            self._serial.write(data)
        except (serial.SerialException, OSError, termios.error) as error:
            raise self._gone(error) from error

    def set_baud(self, baud: int) -> None:
        """Change the line speed at once."""
        try:
            self._serial.baudrate = baud
        except (serial.SerialException, OSError, ValueError, termios.error) as error:
            raise self._gone(error) from error

    def discard_input(self) -> None:
        """Forget what has arrived and was not read."""
        try:
            self._serial.reset_input_buffer()
        except (serial.SerialException, OSError, termios.error) as error:
            raise self._gone(error) from error

    def close(self) -> None:
        """Release the port."""
        try:
            self._serial.close()
        except (serial.SerialException, OSError, termios.error):
            return

    def _gone(self, error: BaseException | None) -> DeviceError:
        reason = f": {error}" if error else ""
        return DeviceError(f"The device on {self._port} is gone{reason}.", next_step=UNPLUGGED_NEXT_STEP)
