"""A serial barcode scanner in software: sends the text of every code that is shown to it."""

from __future__ import annotations

import threading

from edge.sensors.code_frames import encode_code


class CodeScannerTwin:
    """The scanner, without I/O. `show` may be called from any thread."""

    def __init__(self, *, baud: int = 9600) -> None:
        self._baud = baud
        self._out = bytearray()
        self._lock = threading.Lock()

    @property
    def baud(self) -> int:
        """The line speed in use."""
        return self._baud

    def show(self, text: str) -> None:
        """Hold a code in front of the scanner."""
        with self._lock:
            self._out += encode_code(text)

    def receive(self, data: bytes, now_s: float) -> None:
        """The scanner hears nothing."""

    def take(self, now_s: float) -> bytes:
        """What was read since the last time."""
        with self._lock:
            out = bytes(self._out)
            self._out.clear()
        return out

    def wait_s(self, now_s: float) -> float | None:
        """Only a code that is shown causes bytes."""
        return 0.0 if self._out else None
