"""A signature while it is written: from pen reports to points, and when it has ended. The same for every pad.

A recording starts at the first touch of the pen and ends when the pen has rested for the settled time. Points between
strokes, while the pen hovers, are kept with `down` false: ISO/IEC 19794-7 keeps them too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from contract.clock import Clock
from contract.errors import CaptureRetry
from edge.sensors.interface import PenPoint

PRESSURE_FULL = 65_535
POINTS_MAX = 60_000


class SignatureRecording:
    """Points since the first touch. `points` may be read from another thread.

    pressure_max: the pad's own full scale, mapped to 65535. settled_s: rest that ends the signature.
    """

    def __init__(self, *, pressure_max: int, settled_s: float) -> None:
        self._pressure_max = max(1, pressure_max)
        self._settled_ms = round(settled_s * 1000)
        self._lock = threading.Lock()
        self._points: list[PenPoint] = []
        self._started_ms: int | None = None
        self._last_down_ms = 0

    @property
    def started(self) -> bool:
        """Whether the pen has touched."""
        return self._started_ms is not None

    def points(self) -> tuple[PenPoint, ...]:
        """What was written until now; hovering after the last stroke is left out."""
        with self._lock:
            last = max((i for i, point in enumerate(self._points) if point.down), default=-1)
            return tuple(self._points[: last + 1])

    def add(self, x: int, y: int, pressure: int, *, down: bool, now_ms: int) -> None:
        """One report. x, y in 0.01 mm from the top left; pressure in the pad's own steps; now_ms: monotonic."""
        if self._started_ms is None:
            if not down:
                return
            self._started_ms = now_ms
        if down:
            self._last_down_ms = now_ms
        scaled = min(PRESSURE_FULL, pressure * PRESSURE_FULL // self._pressure_max) if down else 0
        with self._lock:
            if len(self._points) < POINTS_MAX:
                self._points.append(PenPoint(x, y, scaled, now_ms - self._started_ms, down))

    def withdraw_stroke(self) -> None:
        """Forget the stroke in progress, or the last one where the pen is up: it was no writing."""
        with self._lock:
            while self._points and not self._points[-1].down:
                self._points.pop()
            while self._points and self._points[-1].down:
                self._points.pop()
            if not any(point.down for point in self._points):
                self._points.clear()
                self._started_ms = None

    def settled(self, now_ms: int) -> bool:
        """Whether the pen rested long enough after the last stroke, or the recording is full."""
        if self._started_ms is None:
            return False
        return len(self._points) >= POINTS_MAX or now_ms - self._last_down_ms >= self._settled_ms


def record_signature(
    recording: SignatureRecording,
    read_reports: Callable[[SignatureRecording], None],
    *,
    timeout_s: float,
    cancel: threading.Event,
    clock: Clock,
) -> tuple[PenPoint, ...]:
    """Fill a recording until the pen rests, `cancel` asks to finish, or the time is over; what was written then counts.

    read_reports: waits a short while for reports of the pad and adds them. Raises CaptureRetry where nothing was
    written, and what read_reports raises.
    """
    deadline_ms = clock.monotonic_ms() + round(timeout_s * 1000)
    while not cancel.is_set():
        read_reports(recording)
        now_ms = clock.monotonic_ms()
        if recording.settled(now_ms) or now_ms >= deadline_ms:
            break
    points = recording.points()
    if not points:
        raise CaptureRetry("Nothing was written.", next_step="Sign with the pen inside the field.")
    return points
