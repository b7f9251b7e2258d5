"""Driver of barcode and QR scanners on a serial port or in USB serial mode.

Scanners that type like a keyboard need no driver: the page that asks for the code receives their keys.
"""

from __future__ import annotations

import threading

from contract.clock import Clock, SystemClock
from contract.errors import CaptureRetry, DeviceError
from edge.sensors.code_frames import CodeReader, CodeText, Unreadable
from edge.sensors.interface import DeviceInfo
from edge.sensors.serial_link import ByteLink, LinkOpener, SerialLink

READ_S = 0.05


class SerialCodeScanner:
    """A CodeScanner. port: a tty. baud: as the scanner's set-up sheet set it."""

    def __init__(
        self, *, port: str, baud: int = 9600, open_link: LinkOpener = SerialLink, clock: Clock | None = None
    ) -> None:
        self._port, self._baud = port, baud
        self._open_link, self._clock = open_link, clock or SystemClock()
        self._link: ByteLink | None = None
        self._reader = CodeReader()

    def open(self) -> DeviceInfo:
        """Open the port; such a scanner shows itself only when it reads a code. Raises DeviceError."""
        self.close()
        self._link = self._open_link(self._port, self._baud)
        return DeviceInfo(driver="serial", model="serial code scanner (unidentified)", capabilities=("text",))

    def close(self) -> None:
        """Release the port."""
        link, self._link = self._link, None
        if link is not None:
            link.close()
        self._reader.reset()

    def scan(self, timeout_s: float, cancel: threading.Event) -> str:
        """The text of the next code that is shown; a code shown before the call does not count."""
        if self._link is None:
            raise DeviceError("The code scanner is not open.")
        self._link.discard_input()
        self._reader.reset()
        deadline_ms = self._clock.monotonic_ms() + round(timeout_s * 1000)
        while not cancel.is_set():
            for event in self._reader.feed(self._link.read(READ_S)):
                if isinstance(event, CodeText):
                    return event.text
                if isinstance(event, Unreadable):
                    raise CaptureRetry(
                        "The code was not read well.", next_step="Hold the code still and show it again."
                    )
            if self._clock.monotonic_ms() >= deadline_ms:
                raise CaptureRetry("No code was shown.", next_step="Hold the code in front of the scanner.")
        raise CaptureRetry("The scan was cancelled.")
