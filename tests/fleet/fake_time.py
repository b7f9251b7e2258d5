"""Months in minutes: processes that see a wall clock which the campaign sets forward, and every other clock as it is.

libfaketime (Debian: faketime) reads an offset from a file at every look at the wall clock. Monotonic clocks run on, so
timeouts, keep-alives and waits are real. What waits an hour by the monotonic clock would miss days of the wall clock:
the processes here are started with those few periods shortened, and are otherwise the product's.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

DAY_S = 86_400
LIBRARY = next(
    (path for path in sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), Path("libfaketimeMT.so.1")
)


class FakeTime:
    """The wall clock of the processes that run in `environment`."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "offset"
        self.offset_s = 0.0
        self.begun_s = time.time()
        self.set(0.0)

    @property
    def environment(self) -> dict[str, str]:
        """For a process that should live in this time."""
        return {
            **os.environ,
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Its repair for older C libraries makes every wait on a condition by the monotonic clock wrong with glibc
            # 2.36: threads then hand over Python's lock forty times as slowly.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "NO_FAKE_STAT": "1",
        }

    def set(self, day: float) -> None:
        """Let it be so many days after the beginning, or a moment later."""
        self.offset_s = day * DAY_S
        draft = self._file.with_suffix(".draft")
        draft.write_text(f"{self.offset_s:+.0f}\n", encoding="ascii")
        draft.replace(self._file)

    def now_s(self) -> float:
        """The processes' wall clock."""
        return time.time() + self.offset_s

    def day_of(self, wall_s: float) -> float:
        """A moment as days since the beginning."""
        return (wall_s - self.begun_s) / DAY_S
