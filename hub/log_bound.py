"""Bounds the hub's log: whoever sends garbage without end must not fill the disk, nor push out what somebody looks for.

Of lines with the same words PER_MINUTE are written in a minute; the first one after it says how many were left out.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

import structlog

from contract.clock import Clock

PER_MINUTE = 300
MINUTE_MS = 60_000
EVENTS_MAX = 1000  # the words of a line are the program's own, and few; what is put into them are fields


@dataclass(slots=True)
class _Minute:
    begun_ms: int
    lines: int = 0
    left_out: int = 0


class LogBound:
    """A processor of structlog, the first of its chain."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._minutes: dict[str, _Minute] = {}

    def __call__(self, _logger: object, _name: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """The line, or DropEvent."""
        now, event = self._clock.monotonic_ms(), str(line.get("event", ""))
        if len(self._minutes) >= EVENTS_MAX:
            self._minutes.clear()
        minute = self._minutes.setdefault(event, _Minute(now))
        if now - minute.begun_ms >= MINUTE_MS:
            if minute.left_out:
                line["left_out"] = minute.left_out
            minute.begun_ms, minute.lines, minute.left_out = now, 0, 0
        if minute.lines >= PER_MINUTE:
            minute.left_out += 1
            raise structlog.DropEvent
        minute.lines += 1
        return line
