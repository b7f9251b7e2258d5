"""The unit's own touch screen as a signature pad: the page that shows the field brings the pointer's reports.

What comes from the page is bounded and in order, or it is not taken: a page that was loaded anew in the middle of a
signature starts it again, a batch that is sent twice counts once. Screens that know no pressure say 0 or 0.5.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from contract.clock import Clock, SystemClock
from contract.errors import DeviceError
from edge.sensors.interface import DeviceInfo, PenPoint, PointerBatch, PointerState
from edge.sensors.signature_recording import PRESSURE_FULL, SignatureRecording, record_signature

READ_S = 0.05
CSS_PX_HUNDREDTHS_MM = 2540 / 96  # a CSS pixel where nobody measured the screen
BATCHES_MAX = 1000
REPORTS_MAX = 500
PRESSURE_UNKNOWN = 0.5


class ScreenPad:
    """A SignaturePad and PointerPad. `write` and `preview` may be called beside a capture.

    width_mm: of the screen's picture, with a ruler; 0 takes a CSS pixel for 1/96 inch. settled_s: rest of the finger
    or pen that ends a signature.
    """

    def __init__(self, *, width_mm: float = 0.0, settled_s: float = 1.5, clock: Clock | None = None) -> None:
        if settled_s <= 0 or not 0 <= width_mm <= 5000:
            raise DeviceError("settled_s must be positive, width_mm between 0 and 5000.")
        self._width_mm, self._settled_s, self._clock = width_mm, settled_s, clock or SystemClock()
        self._is_open = False
        self._changed = threading.Condition()
        self._waiting: deque[PointerBatch] = deque()
        self._recording: SignatureRecording | None = None
        self._stream, self._next = -1, 0
        self._zero_ms = 0.0  # from the page's clock to ours
        self._last_ms = 0

    def open(self) -> DeviceInfo:
        """Ready at once: the screen is the browser's."""
        self._is_open = True
        return DeviceInfo(driver="screen", model="touch screen of the unit", capabilities=("preview", "pressure"))

    def close(self) -> None:
        """Nothing more is taken."""
        self._is_open = False

    def preview(self) -> Sequence[PenPoint]:
        """The points of the recording in progress; safe beside a running capture."""
        recording = self._recording
        return recording.points() if recording is not None else ()

    def write(self, batch: PointerBatch) -> bool:
        """Take a page's reports; False while nothing is being recorded."""
        with self._changed:
            if self._recording is None or not self._is_open or len(self._waiting) >= BATCHES_MAX:
                return False
            self._waiting.append(batch)
            self._changed.notify()
        return True

    def capture(self, timeout_s: float, cancel: threading.Event) -> Sequence[PenPoint]:
        """Record until the finger or pen rests, or until `cancel` asks to finish; timeout_s bounds the whole call.

        Raises CaptureRetry where nothing was written.
        """
        if not self._is_open:
            raise DeviceError("The screen's signature field is not open.")
        with self._changed:
            self._waiting.clear()
            self._stream, self._next = -1, 0
            self._recording = recording = SignatureRecording(pressure_max=PRESSURE_FULL, settled_s=self._settled_s)
        try:
            return record_signature(
                recording, self._read_reports, timeout_s=timeout_s, cancel=cancel, clock=self._clock
            )
        finally:
            with self._changed:
                self._recording = None

    def _read_reports(self, recording: SignatureRecording) -> None:
        """Add what pages brought within READ_S."""
        with self._changed:
            if not self._waiting:
                self._changed.wait(READ_S)
            batches = list(self._waiting)
            self._waiting.clear()
        for batch in batches:
            self._add(recording, batch)

    def _add(self, recording: SignatureRecording, batch: PointerBatch) -> None:
        if batch.stream != self._stream:
            if batch.sequence != 0:
                return  # the rest of a page that is gone
            while recording.started:
                recording.withdraw_stroke()
            self._stream, self._next = batch.stream, 0
            self._last_ms = self._clock.monotonic_ms()
            self._zero_ms = self._last_ms - (batch.reports[0].time_ms if batch.reports else 0.0)
        if batch.sequence < self._next:
            return
        self._next = batch.sequence + 1
        scale = self._width_mm * 100 / batch.screen_px if self._width_mm else CSS_PX_HUNDREDTHS_MM
        now_ms = self._clock.monotonic_ms()
        for report in batch.reports[:REPORTS_MAX]:
            if report.state is PointerState.WITHDRAWN:
                recording.withdraw_stroke()
                continue
            self._last_ms = min(max(round(self._zero_ms + report.time_ms), self._last_ms), now_ms)
            down = report.state is PointerState.DOWN
            force = report.pressure or (PRESSURE_UNKNOWN if down else 0.0)
            pressure = round(min(max(force, 0.0), 1.0) * PRESSURE_FULL)
            x, y = round(report.x_px * scale), round(report.y_px * scale)
            recording.add(x, y, pressure, down=down, now_ms=self._last_ms)
