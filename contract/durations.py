"""Durations as people write them on a command line: `90s`, `15m`, `2h`, `3d`."""

from __future__ import annotations

import re

from contract.errors import DeviceError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_WRITTEN = re.compile(r"(\d{1,6})\s*([smhd])")
DURATION_S_MAX = 366 * 86_400


def duration_s(text: str) -> int:
    """The seconds of a written duration, at most a year. Raises DeviceError."""
    found = _WRITTEN.fullmatch(text.strip().lower())
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 0 < seconds <= DURATION_S_MAX:
        raise DeviceError(f"'{text[:20]}' is no duration.", next_step="Write it as 90s, 15m, 2h or 3d.")
    return seconds
