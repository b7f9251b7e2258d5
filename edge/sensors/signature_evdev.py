"""Driver of pen tablets that Linux knows as input devices: USB tablets of Wacom, Huion, XP-Pen and others.

The tablet is read from /dev/input and grabbed while it is open, so that the resident's pen does not move the screen's
pointer. Ranges and resolution come from the kernel.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from contract.clock import Clock, SystemClock
from contract.errors import DeviceError
from edge.sensors.evdev_frames import ABS_PRESSURE, ABS_X, ABS_Y, InputReport, ReportReader
from edge.sensors.interface import DeviceInfo, PenPoint
from edge.sensors.signature_recording import SignatureRecording, record_signature

READ_S = 0.05
READ_BYTES = 4096
NAME_BYTES = 256
_ABSINFO = struct.Struct("@6i")
_EVIOCGNAME = 0x80000000 | NAME_BYTES << 16 | 0x45 << 8 | 0x06
_EVIOCGABS = 0x80000000 | _ABSINFO.size << 16 | 0x45 << 8 | 0x40
_EVIOCGRAB = 0x40044590


@dataclass(frozen=True, slots=True)
class Axis:
    """Range of an axis. per_mm: units in a millimetre, 0 where the device does not tell."""

    low: int
    high: int
    per_mm: int = 0


class InputSource(Protocol):
    """An input device as the kernel offers it."""

    @property
    def name(self) -> str:
        """What the device calls itself."""
        ...

    def axis(self, code: int) -> Axis | None:
        """Range of an absolute axis; None where the device has none."""
        ...

    def read(self, timeout_s: float) -> bytes:
        """Events that have come, b"" after timeout_s. Raises DeviceError when the device is gone."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


class InputDevice:
    """A node of /dev/input, grabbed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            name = fcntl.ioctl(self._fd, _EVIOCGNAME, bytes(NAME_BYTES))
            fcntl.ioctl(self._fd, _EVIOCGRAB, 1)
        except OSError as error:
            self.close()
            raise DeviceError(
                f"Input device {path} cannot be opened: {error.strerror}.",
                next_step="Check the USB cable, and that the user is in group input.",
            ) from error
        self._name = name.split(b"\0", 1)[0].decode("utf-8", "replace")

    @property
    def name(self) -> str:
        """What the device calls itself."""
        return self._name

    def axis(self, code: int) -> Axis | None:
        """Range of an absolute axis; None where the device has none."""
        try:
            _, low, high, _, _, per_mm = _ABSINFO.unpack(fcntl.ioctl(self._fd, _EVIOCGABS + code, bytes(_ABSINFO.size)))
        except OSError:
            return None
        return Axis(low, high, per_mm)

    def read(self, timeout_s: float) -> bytes:
        """Events that have come; b"" after timeout_s."""
        try:
            ready, _, _ = select.select([self._fd], [], [], max(0.0, timeout_s))
            return os.read(self._fd, READ_BYTES) if ready else b""
        except (OSError, ValueError) as error:
            raise DeviceError(f"Input device {self._path} is gone.", next_step="Plug the tablet in again.") from error

    def close(self) -> None:
        """Release the device; closing ends the grab."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class EvdevTablet:
    """A SignaturePad. One thread at a time, besides `preview`.

    device: /dev/input/by-id/…-event-mouse or another stable name. width_mm, height_mm: of the active area, needed
    where the device does not tell its resolution. settled_s: rest of the pen that ends a signature.
    """

    def __init__(
        self,
        *,
        device: str,
        width_mm: float = 0.0,
        height_mm: float = 0.0,
        settled_s: float = 1.5,
        open_device: Callable[[str], InputSource] = InputDevice,
        clock: Clock | None = None,
    ) -> None:
        if settled_s <= 0 or width_mm < 0 or height_mm < 0:
            raise DeviceError("settled_s must be positive, width_mm and height_mm not negative.")
        self._path, self._size_mm, self._settled_s = device, (width_mm, height_mm), settled_s
        self._open_device, self._clock = open_device, clock or SystemClock()
        self._source: InputSource | None = None
        self._reader = ReportReader()
        self._x = self._y = (0, 1.0)
        self._pressure = Axis(0, 1)
        self._recording: SignatureRecording | None = None

    def open(self) -> DeviceInfo:
        """Open and grab the tablet, and learn its ranges. Raises DeviceError."""
        self.close()
        source = self._open_device(self._path)
        self._source = source
        self._reader = ReportReader()
        self._x = self._scale(source.axis(ABS_X), self._size_mm[0], "width_mm")
        self._y = self._scale(source.axis(ABS_Y), self._size_mm[1], "height_mm")
        pressure = source.axis(ABS_PRESSURE)
        self._pressure = pressure if pressure is not None and pressure.high > pressure.low else Axis(0, 0)
        capabilities = ("preview", "pressure") if self._pressure.high else ("preview",)
        return DeviceInfo(driver="evdev", model=source.name, capabilities=capabilities)

    def close(self) -> None:
        """Release the tablet."""
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def preview(self) -> Sequence[PenPoint]:
        """The points of the recording in progress; safe beside a running capture."""
        recording = self._recording
        return recording.points() if recording is not None else ()

    def capture(self, timeout_s: float, cancel: threading.Event) -> Sequence[PenPoint]:
        """Record until the pen rests, or until `cancel` asks to finish; timeout_s bounds the whole call.

        Raises CaptureRetry where nothing was written, DeviceError when the tablet is gone.
        """
        if self._source is None:
            raise DeviceError("The tablet is not open.")
        for _ in range(READ_BYTES):  # what the pen did before belongs to nobody; the pen's state is kept
            if not (stale := self._source.read(0)):
                break
            self._reader.feed(stale)
        steps = max(1, self._pressure.high - self._pressure.low)
        recording = SignatureRecording(pressure_max=steps, settled_s=self._settled_s)
        self._recording = recording
        try:
            return record_signature(
                recording, self._read_reports, timeout_s=timeout_s, cancel=cancel, clock=self._clock
            )
        finally:
            self._recording = None

    def _read_reports(self, recording: SignatureRecording) -> None:
        """Add what the pen reported within READ_S."""
        if self._source is None:
            raise DeviceError("The tablet is not open.")
        data = self._source.read(READ_S)
        now_ms = self._clock.monotonic_ms()
        for report in self._reader.feed(data):
            x, y = (round((value - low) * scale) for value, (low, scale) in ((report.x, self._x), (report.y, self._y)))
            recording.add(x, y, self._force(report), down=report.down, now_ms=now_ms)

    def _force(self, report: InputReport) -> int:
        """Pressure in steps above the lowest; the full one where the tablet has no pressure."""
        if not self._pressure.high:
            return 1
        return min(max(report.pressure, self._pressure.low), self._pressure.high) - self._pressure.low

    def _scale(self, axis: Axis | None, size_mm: float, key: str) -> tuple[int, float]:
        """The lowest value of an axis, and 0.01 mm per unit."""
        if axis is None or axis.high <= axis.low:
            self.close()
            raise DeviceError(f"{self._path} has no absolute position.", next_step="Name the tablet's pen device.")
        if size_mm:
            return axis.low, size_mm * 100 / (axis.high - axis.low)
        if axis.per_mm <= 0:
            self.close()
            raise DeviceError(f"{self._path} does not tell its resolution.", next_step=f"Set {key}.")
        return axis.low, 100 / axis.per_mm
