"""Pen tablets in software: an ISDV4 tablet, which waits for its start command, and a SigLite pad, which has none."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.sensors.signature_isdv4_frames import (
    PRESSURE_MAX,
    QUERY_PEN,
    START,
    STOP,
    PenReport,
    TabletReply,
    encode_pen,
    encode_reply,
)
from edge.sensors.signature_siglite_frames import COORDINATE_MAX, PadReport, encode_report

REPORT_INTERVAL_S = 0.0075
MARGIN = 500


@dataclass(frozen=True, slots=True)
class Stroke:
    """One moment of the pen. time_s from the start; x, y in 0.01 mm; pressure 0 (hovering) to 1."""

    time_s: float
    x: int
    y: int
    pressure: float


def strokes_of(
    time_ms: NDArray[np.int64], x_mm: NDArray[np.float64], y_mm: NDArray[np.float64], pressure: NDArray[np.float64]
) -> tuple[Stroke, ...]:
    """A time series as strokes at the tablet's report rate. All arrays (N,)."""
    picked, last_s = [], -1.0
    for moment in zip(time_ms / 1000.0, x_mm * 100, y_mm * 100, pressure, strict=True):
        time_s, x, y, force = (float(value) for value in moment)
        if time_s - last_s >= REPORT_INTERVAL_S - 1e-4:
            picked.append(Stroke(time_s, round(x), round(y), force))
            last_s = time_s
    return tuple(picked)


class PenTablet:
    """The tablet, without I/O. `sign` may be called from any thread.

    x_max, y_max: active area in 0.01 mm. time_scale: how many times faster than the person the pen moves.
    """

    def __init__(
        self, *, x_max: int = 10_400, y_max: int = 7_800, pressure_max: int = PRESSURE_MAX, baud: int = 38400,
        time_scale: float = 1.0,
    ) -> None:  # fmt: skip
        self._reply = TabletReply(x_max, y_max, pressure_max, 0x0123)
        self._baud, self.time_scale = baud, time_scale
        self._streaming = False
        self._waiting: deque[Stroke] = deque()
        self._began_s: float | None = None
        self._out = bytearray()
        self._lock = threading.Lock()

    @property
    def baud(self) -> int:
        """The line speed in use."""
        return self._baud

    def sign(self, strokes: tuple[Stroke, ...]) -> None:
        """Write these strokes, now or as soon as the tablet is started; earlier ones that wait are forgotten.

        The strokes are moved so that they begin MARGIN from the top left, and cut at the tablet's edges.
        """
        if not strokes:
            return
        left, top = min(s.x for s in strokes), min(s.y for s in strokes)
        moved = [
            Stroke(s.time_s - strokes[0].time_s, s.x - left + MARGIN, s.y - top + MARGIN, s.pressure) for s in strokes
        ]
        with self._lock:
            self._waiting = deque(moved)
            self._began_s = None

    def receive(self, data: bytes, now_s: float) -> None:
        """Commands of one byte each."""
        for code in (bytes([byte]) for byte in data):
            if code == QUERY_PEN:
                self._out += encode_reply(self._reply)
            elif code in (START, STOP):
                self._streaming = code == START

    def take(self, now_s: float) -> bytes:
        """Replies, and the reports that are due."""
        out = bytes(self._out)
        self._out.clear()
        with self._lock:
            if self._streaming and self._waiting:
                if self._began_s is None:
                    self._began_s = now_s
                while self._waiting and self._due_s(self._waiting[0]) <= now_s:
                    out += self._report(self._waiting.popleft())
                if not self._waiting:
                    out += encode_pen(PenReport(0, 0, 0, near=False, tip=False))
        return out

    def wait_s(self, now_s: float) -> float | None:
        """Seconds to the next report."""
        with self._lock:
            if not self._streaming or not self._waiting:
                return None
            return 0.0 if self._began_s is None else max(0.0, self._due_s(self._waiting[0]) - now_s)

    def _due_s(self, stroke: Stroke) -> float:
        return (self._began_s or 0.0) + stroke.time_s / self.time_scale

    def _report(self, stroke: Stroke) -> bytes:
        x = min(max(stroke.x, 0), self._reply.x_max)
        y = min(max(stroke.y, 0), self._reply.y_max)
        pressure = min(max(round(stroke.pressure * self._reply.pressure_max), 0), self._reply.pressure_max)
        return encode_pen(PenReport(x, y, pressure, near=True, tip=pressure > 0))


class SigLiteTwin:
    """A SigLite pad, without I/O: it has no commands and reports whenever a pen is near."""

    def __init__(self, *, points_per_inch: int = 410, baud: int = 19200, time_scale: float = 1.0) -> None:
        self._steps = points_per_inch / 2540
        self._baud, self.time_scale = baud, time_scale
        self._waiting: deque[Stroke] = deque()
        self._began_s: float | None = None
        self._lock = threading.Lock()

    @property
    def baud(self) -> int:
        """The line speed in use."""
        return self._baud

    def sign(self, strokes: tuple[Stroke, ...]) -> None:
        """Write these strokes now."""
        with self._lock:
            self._waiting, self._began_s = deque(strokes), None

    def receive(self, data: bytes, now_s: float) -> None:
        """The pad hears nothing."""

    def take(self, now_s: float) -> bytes:
        """The reports that are due."""
        out = bytearray()
        with self._lock:
            if self._waiting and self._began_s is None:
                self._began_s = now_s
            while self._waiting and self._due_s(self._waiting[0]) <= now_s:
                stroke = self._waiting.popleft()
                x, y = (min(max(round(v * self._steps), 0), COORDINATE_MAX - 1) for v in (stroke.x, stroke.y))
                out += encode_report(PadReport(x, y, near=True, down=stroke.pressure > 0))
        return bytes(out)

    def wait_s(self, now_s: float) -> float | None:
        """Seconds to the next report."""
        with self._lock:
            if not self._waiting:
                return None
            return 0.0 if self._began_s is None else max(0.0, self._due_s(self._waiting[0]) - now_s)

    def _due_s(self, stroke: Stroke) -> float:
        return (self._began_s or 0.0) + stroke.time_s / self.time_scale
