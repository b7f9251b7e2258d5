"""Driver of Wacom's serial pen tablets (ISDV4, W8001 and their kin).

The tablet is asked for its size and pressure range, so no model is assumed. It reports about 133 times a second; the
time of a point is the time its report was read.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

from contract.clock import Clock, SystemClock
from contract.errors import DeviceError
from edge.sensors.interface import DeviceInfo, PenPoint
from edge.sensors.serial_link import ByteLink, LinkOpener, SerialLink
from edge.sensors.signature_isdv4_frames import QUERY_PEN, START, STOP, PenReport, TabletReader, TabletReply
from edge.sensors.signature_recording import SignatureRecording, record_signature

QUERY_ATTEMPTS = 3
QUERY_TIMEOUT_S = 0.5
STOP_WAIT_S = 0.25
QUIET_S = 0.02
READ_S = 0.05


class Isdv4Pad:
    """A SignaturePad. One thread at a time, besides `preview`.

    port: a tty. baud: 38400, or 19200 for older tablets. settled_s: rest of the pen that ends a signature.
    """

    def __init__(
        self,
        *,
        port: str,
        baud: int = 38400,
        settled_s: float = 1.5,
        open_link: LinkOpener = SerialLink,
        clock: Clock | None = None,
    ) -> None:
        if settled_s <= 0:
            raise DeviceError("settled_s must be positive.")
        self._port, self._baud, self._settled_s = port, baud, settled_s
        self._open_link, self._clock = open_link, clock or SystemClock()
        self._link: ByteLink | None = None
        self._reader = TabletReader()
        self._tablet: TabletReply | None = None
        self._recording: SignatureRecording | None = None

    def open(self) -> DeviceInfo:
        """Open the port and ask the tablet for its ranges. Raises DeviceError."""
        self.close()
        self._link = self._open_link(self._port, self._baud)
        tablet = self._query()
        if tablet.x_max == 0 or tablet.y_max == 0 or tablet.pressure_max == 0:
            raise DeviceError("The signature pad reports an empty range.", next_step="Check that it is a pen tablet.")
        self._tablet = tablet
        size = f"{tablet.x_max / 100:.0f} × {tablet.y_max / 100:.0f} mm"
        return DeviceInfo(
            driver="isdv4",
            model=f"ISDV4 tablet, {size}, {tablet.pressure_max + 1} pressure steps",
            firmware=str(tablet.version),
            capabilities=("pressure", "preview"),
        )

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
        """Record until the pen rests, or until `cancel` asks to finish.

        timeout_s bounds the whole call; a signature still being written then is returned as it is. Raises
        CaptureRetry where nothing was written, DeviceError when the tablet is gone.
        """
        link, tablet = self._opened()
        recording = SignatureRecording(pressure_max=tablet.pressure_max, settled_s=self._settled_s)
        self._recording = recording
        self._reader.reset()
        link.discard_input()
        link.write(START)
        try:
            return record_signature(
                recording, self._read_reports, timeout_s=timeout_s, cancel=cancel, clock=self._clock
            )
        finally:
            self._recording = None
            self._stop(link)

    def _read_reports(self, recording: SignatureRecording) -> None:
        """Add what the pen reported within READ_S; positions outside the tablet are damaged reports."""
        link, tablet = self._opened()
        data = link.read(READ_S)
        now_ms = self._clock.monotonic_ms()
        for event in self._reader.feed(data):
            if isinstance(event, PenReport) and event.x <= tablet.x_max and event.y <= tablet.y_max:
                recording.add(event.x, event.y, event.pressure, down=event.near and event.tip, now_ms=now_ms)

    def _stop(self, link: ByteLink) -> None:
        """End the stream of reports; a tablet that has gone needs no stopping."""
        with suppress(DeviceError):
            link.write(STOP)

    def _query(self) -> TabletReply:
        """Stop the stream, wait for quiet, ask for the ranges."""
        if self._link is None:
            raise DeviceError("The signature pad is not open.")
        for _ in range(QUERY_ATTEMPTS):
            self._link.write(STOP)
            self._drain(self._link)
            self._reader.reset()
            self._link.write(QUERY_PEN)
            deadline_ms = self._clock.monotonic_ms() + round(QUERY_TIMEOUT_S * 1000)
            while (remaining_ms := deadline_ms - self._clock.monotonic_ms()) > 0:
                for event in self._reader.feed(self._link.read(remaining_ms / 1000)):
                    if isinstance(event, TabletReply):
                        return event
        raise DeviceError(
            f"No ISDV4 tablet answers on {self._port} at {self._baud} bit/s.",
            next_step="Check cable and power; older tablets need baud = 19200.",
        )

    def _drain(self, link: ByteLink) -> None:
        """Let the tablet stop: read for STOP_WAIT_S, as its manual asks."""
        end_ms = self._clock.monotonic_ms() + round(STOP_WAIT_S * 1000)
        while (remaining_ms := end_ms - self._clock.monotonic_ms()) > 0:
            link.read(min(QUIET_S, remaining_ms / 1000))

    def _opened(self) -> tuple[ByteLink, TabletReply]:
        if self._link is None or self._tablet is None:
            raise DeviceError("The signature pad is not open.")
        return self._link, self._tablet
