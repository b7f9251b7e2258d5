"""Injected time: nothing in the product reads a clock that a test cannot set."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for people and records, monotonic time for intervals."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC; may jump."""
        ...

    def monotonic_ms(self) -> int:
        """Milliseconds that never go back within one boot."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC from the operating system."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Milliseconds from the operating system's monotonic clock."""
        return time.monotonic_ns() // 1_000_000


def utc(wall_ms: int) -> datetime:
    """A wall time in milliseconds as an aware datetime."""
    return datetime.fromtimestamp(wall_ms / 1000, tz=UTC)
