"""A character device that is only written to, such as /dev/usb/lp0, without ever holding its caller.

A printer that is out of paper, switched off or busy takes nothing, and a plain write would wait for it for ever. Here
a write waits for a bounded time and then fails.
"""

from __future__ import annotations

import errno
import os
import select

from contract.clock import Clock, SystemClock


class DeviceFile:
    """device: its path. write_timeout_s: of one `_raw`."""

    def __init__(self, device: str, write_timeout_s: float, clock: Clock | None = None) -> None:
        self._device, self._timeout_ms = device, round(write_timeout_s * 1000)
        self._clock = clock or SystemClock()
        self._descriptor = -1

    def open(self) -> None:
        """Open for writing. Raises OSError; a path that is not there becomes no file."""
        self._descriptor = os.open(self._device, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _raw(self, data: bytes) -> None:
        """Write everything, as python-escpos' printers do. Raises OSError, TimeoutError where it takes nothing more."""
        deadline_ms = self._clock.monotonic_ms() + self._timeout_ms
        left = memoryview(data)
        while left:
            wait_s = (deadline_ms - self._clock.monotonic_ms()) / 1000
            if wait_s <= 0 or not select.select([], [self._descriptor], [], wait_s)[1]:
                raise TimeoutError(errno.ETIMEDOUT, "the printer takes nothing more")
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                continue
