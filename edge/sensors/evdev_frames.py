"""Input events of Linux (evdev), without I/O: from the bytes of /dev/input/event* to reports of a pen.

Source: linux/input.h and Documentation/input/event-codes.rst. An event is a time (two long), type, code (u16) and
value (s32); a report ends with SYN_REPORT. After SYN_DROPPED the kernel has lost events: everything up to the next
SYN_REPORT is to be ignored.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

EVENT = struct.Struct("@llHHi")
EV_SYN, EV_KEY, EV_ABS = 0x00, 0x01, 0x03
SYN_REPORT, SYN_DROPPED = 0, 3
ABS_X, ABS_Y, ABS_PRESSURE = 0x00, 0x01, 0x18
BTN_TOOL_PEN, BTN_TOUCH = 0x140, 0x14A


@dataclass(frozen=True, slots=True)
class InputReport:
    """The pen after one SYN_REPORT, in the device's own units."""

    x: int
    y: int
    pressure: int
    near: bool
    down: bool


def encode_event(event_type: int, code: int, value: int, time_us: int = 0) -> bytes:
    """One event as the kernel writes it on this machine."""
    return EVENT.pack(time_us // 1_000_000, time_us % 1_000_000, event_type, code, value)


def encode_report(report: InputReport, time_us: int = 0) -> bytes:
    """The events of one whole report."""
    events = (
        (EV_KEY, BTN_TOOL_PEN, int(report.near)),
        (EV_ABS, ABS_X, report.x),
        (EV_ABS, ABS_Y, report.y),
        (EV_ABS, ABS_PRESSURE, report.pressure),
        (EV_KEY, BTN_TOUCH, int(report.down)),
        (EV_SYN, SYN_REPORT, 0),
    )
    return b"".join(encode_event(event_type, code, value, time_us) for event_type, code, value in events)


class ReportReader:
    """Takes bytes as they come and gives a report at each SYN_REPORT. Holds less than one event."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._axes = {ABS_X: 0, ABS_Y: 0, ABS_PRESSURE: 0}
        self._keys = {BTN_TOOL_PEN: 0, BTN_TOUCH: 0}
        self._dropped = False
        self.reports_dropped = 0

    def feed(self, data: bytes) -> list[InputReport]:
        """What `data` completes, in order."""
        self._held += data
        whole = len(self._held) - len(self._held) % EVENT.size
        reports = []
        for _, _, event_type, code, value in EVENT.iter_unpack(bytes(self._held[:whole])):
            report = self._take(event_type, code, value)
            if report is not None:
                reports.append(report)
        del self._held[:whole]
        return reports

    def _take(self, event_type: int, code: int, value: int) -> InputReport | None:
        if event_type == EV_SYN and code == SYN_DROPPED:
            self._dropped = True
        elif event_type == EV_SYN and code == SYN_REPORT:
            if self._dropped:
                self._dropped = False
                self.reports_dropped += 1
                return None
            axes, keys = self._axes, self._keys
            down = bool(keys[BTN_TOUCH])
            return InputReport(
                axes[ABS_X], axes[ABS_Y], axes[ABS_PRESSURE], near=down or bool(keys[BTN_TOOL_PEN]), down=down
            )
        elif event_type == EV_ABS and code in self._axes:
            self._axes[code] = value
        elif event_type == EV_KEY and code in self._keys:
            self._keys[code] = value
        return None
