"""Driver of Topaz SigLite signature pads on a serial port.

The pad cannot be asked who it is: it reports whenever the pen is near. Its size in steps and millimetres is therefore
configuration. It knows no pressure: a point that is down carries the full one.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import serial

from contract.clock import Clock, SystemClock
from contract.errors import DeviceError
from edge.sensors.interface import DeviceInfo, PenPoint
from edge.sensors.serial_link import ByteLink, LinkOpener, SerialLink
from edge.sensors.signature_recording import SignatureRecording, record_signature
from edge.sensors.signature_siglite_frames import PadReader, PadReport

READ_S = 0.05
HUNDREDTHS_PER_INCH = 2540


def open_odd_parity(port: str, baud: int) -> ByteLink:
    """The pad's line: 8 data bits, odd parity."""
    return SerialLink(port, baud, parity=serial.PARITY_ODD)


class SigLitePad:
    """A SignaturePad. One thread at a time, besides `preview`.

    port: a tty. points_per_inch: resolution of the pad. left, top: the pad's steps at the upper left corner of its
    field. settled_s: rest of the pen that ends a signature.
    """

    def __init__(
        self,
        *,
        port: str,
        baud: int = 19200,
        points_per_inch: int = 410,
        left: int = 0,
        top: int = 0,
        settled_s: float = 1.5,
        open_link: LinkOpener = open_odd_parity,
        clock: Clock | None = None,
    ) -> None:
        if points_per_inch <= 0 or settled_s <= 0:
            raise DeviceError("points_per_inch and settled_s must be positive.")
        self._port, self._baud, self._settled_s = port, baud, settled_s
        self._points_per_inch, self._left, self._top = points_per_inch, left, top
        self._open_link, self._clock = open_link, clock or SystemClock()
        self._link: ByteLink | None = None
        self._reader = PadReader()
        self._recording: SignatureRecording | None = None

    def open(self) -> DeviceInfo:
        """Open the port; the pad itself shows only when the pen comes near. Raises DeviceError."""
        self.close()
        self._link = self._open_link(self._port, self._baud)
        return DeviceInfo(driver="siglite", model="SigLite pad (unidentified)", capabilities=("preview",))

    def close(self) -> None:
        """Release the port."""
        link, self._link = self._link, None
        if link is not None:
            link.close()
        self._reader.reset()

    def preview(self) -> Sequence[PenPoint]:
        """The points of the recording in progress; safe beside a running capture."""
        recording = self._recording
        return recording.points() if recording is not None else ()

    def capture(self, timeout_s: float, cancel: threading.Event) -> Sequence[PenPoint]:
        """Record until the pen rests, or until `cancel` asks to finish; timeout_s bounds the whole call.

        Raises CaptureRetry where nothing was written, DeviceError when the port is gone.
        """
        if self._link is None:
            raise DeviceError("The signature pad is not open.")
        recording = SignatureRecording(pressure_max=1, settled_s=self._settled_s)
        self._recording = recording
        self._reader.reset()
        self._link.discard_input()
        try:
            return record_signature(
                recording, self._read_reports, timeout_s=timeout_s, cancel=cancel, clock=self._clock
            )
        finally:
            self._recording = None

    def _read_reports(self, recording: SignatureRecording) -> None:
        """Add what the pen reported within READ_S."""
        if self._link is None:
            raise DeviceError("The signature pad is not open.")
        data = self._link.read(READ_S)
        now_ms = self._clock.monotonic_ms()
        for event in self._reader.feed(data):
            if isinstance(event, PadReport):
                x, y = self._hundredths(event.x - self._left), self._hundredths(event.y - self._top)
                recording.add(x, y, 1, down=event.down, now_ms=now_ms)

    def _hundredths(self, steps: int) -> int:
        """Steps of the pad as 0.01 mm."""
        return round(steps * HUNDREDTHS_PER_INCH / self._points_per_inch)
