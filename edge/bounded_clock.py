"""The unit's own judgement of the time, which nobody on the unit or its network can move out of bounds (M28).

A Pi has no clock that runs while it is off, and its time comes from a network without signatures. So:
- The time is never before the newest time the unit can be sure of: when its software was built, and every checkpoint
  that the hub has signed.
- A start without a set clock goes on from the time that was kept last.
- Steps forward by more than STEP_MAX in all are not followed until the hub's signed word comes near; the time goes on
  by the monotonic clock meanwhile. A unit may have been off for up to OFF_MAX: a start that shows more is such a step.
- A step back is followed as long as it stays above what is sure: a clock that was wrong can be put right.

`BoundedTime` decides and does no I/O; `BoundedClock` reads the machine's clocks and keeps the last time in a file.
TLS looks at the machine's own clock, which the service's time-out and systemd's clock epoch bound.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Literal

import structlog

from contract.clock import Clock
from contract.commissioning_problems import Refusal
from contract.durable_files import DurableFolder

KEPT = "time.txt"
BUILT = Path(__file__).with_name("built.txt")
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
JITTER_MS = 2_000  # two clocks read one after the other, on a busy machine
STEP_MAX_MS = 24 * HOUR_MS
OFF_MAX_MS = 180 * DAY_MS  # as long as the renewal door takes a certificate that has ended
LATEST_MS = 253_402_300_799_000  # 9999-12-31: what does not fit is no time
KEEP_PERIOD_S = 600.0
Pause = Callable[[float], Awaitable[object]]
State = Literal["follows", "kept", "refuses"]
# What a technician reads where the machine's clock is not followed: Indonesian, English.
PROBLEMS: dict[State, tuple[str, str]] = {
    "kept": (
        "Jam mesin ini tertinggal. Unit memakai waktu terakhir yang pasti. Periksa server waktu dan jaringan.",
        "This machine's clock is behind. The unit goes on from the last sure time. Check time servers and network.",
    ),
    "refuses": (
        "Jam mesin ini terlalu maju. Unit tidak mengikutinya sebelum pusat memastikan waktu. Periksa server waktu.",
        "This machine's clock is too far ahead. It is not followed before the hub confirms it. Check the time servers.",
    ),
}
log = structlog.get_logger("clock")


class BoundedTime:
    """The rules: what the machine's clocks say in, the time out. All times in ms; wall since 1970, mono since boot."""

    def __init__(self, sure: int, kept: int, wall: int, mono: int) -> None:
        """sure: nothing is before; kept: the last time of the run before, 0 for none; wall, mono: as they read now."""
        self._sure = sure
        self._wall, self._mono = wall, mono
        self._offset = 0  # what is added to the machine's wall clock
        self.state: State = "follows"
        newest = max(sure, kept)
        if wall < newest - JITTER_MS:
            self._hold(newest, "kept")
        elif kept and wall > newest + OFF_MAX_MS:
            self._hold(newest, "refuses")
        self._base = wall + self._offset  # goes on by the monotonic clock and by the hub's word alone

    def now(self, wall: int, mono: int) -> int:
        """The time, where the machine's clocks read so."""
        passed = max(0, mono - self._mono)
        was_set = abs(wall - self._wall - passed) > JITTER_MS
        expected = self._wall + self._offset + passed
        self._wall, self._mono, self._base = wall, mono, self._base + passed
        if was_set and not self._follow():
            self._hold(expected, "refuses" if wall > expected else "kept")
        if wall + self._offset < self._sure:
            self._hold(self._sure, "kept")
        return wall + self._offset

    def hear(self, said: int, wall: int, mono: int) -> None:
        """A time that the hub has signed: it is now, or was."""
        self.now(wall, mono)
        self._sure, self._base = max(self._sure, said), max(self._base, said)
        if self.state != "follows":
            self._follow()
        self.now(wall, mono)

    def _follow(self) -> bool:
        """Take the machine's clock for right, where it is within bounds."""
        if not self._sure <= self._wall <= self._base + STEP_MAX_MS:
            return False
        self._offset, self.state = 0, "follows"
        return True

    def _hold(self, now: int, state: State) -> None:
        self._offset, self.state = now - self._wall, state


class BoundedClock:
    """A Clock within bounds, for the agent. Thread-safe."""

    def __init__(self, machine: Clock, folder: Path, built: Path = BUILT) -> None:
        """folder: keeps the last time. built: the time of the software, s, where it was built as a release."""
        self._machine = machine
        self._files = DurableFolder(folder)
        self._lock = threading.Lock()
        self._rules = BoundedTime(
            _read(built.read_bytes() if built.exists() else None) * 1000,
            _read(self._files.read(KEPT)), machine.wall_ms(), machine.monotonic_ms(),
        )  # fmt: skip
        if self.state != "follows":
            log.warning("the machine's clock is not followed", state=self.state)

    def wall_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC, within bounds."""
        with self._lock:
            before = self._rules.state
            found = self._rules.now(self._machine.wall_ms(), self._machine.monotonic_ms())
            after = self._rules.state
        if after != before:
            log.warning("the machine's clock was set", state=after)
        return found

    def monotonic_ms(self) -> int:
        """Milliseconds that never go back within one boot."""
        return self._machine.monotonic_ms()

    def hear(self, signed_ms: int) -> None:
        """The hub has signed this time."""
        with self._lock:
            self._rules.hear(signed_ms, self._machine.wall_ms(), self._machine.monotonic_ms())

    @property
    def state(self) -> State:
        """follows: the machine's clock; kept: that is behind, the time goes on from the last; refuses: it is ahead."""
        return self._rules.state

    async def keep_on(self, pause: Pause = asyncio.sleep) -> None:
        """Keep the time every ten minutes, as long as the agent runs."""
        while True:
            await asyncio.to_thread(self.keep)
            await pause(KEEP_PERIOD_S)

    def status(self) -> Mapping[str, str]:
        """For the unit's page and `rekam-edge status`, in both languages."""
        state = self.state
        problem_id, problem_en = PROBLEMS.get(state, ("", ""))
        return {"state": state, "problem_id": problem_id, "problem_en": problem_en}

    def keep(self) -> None:
        """Keep the time for a start without a set clock. Blocks on the disk."""
        try:
            self._files.write(KEPT, str(self.wall_ms()).encode())
        except Refusal as refusal:
            log.warning("the time was not kept", **refusal.diagnostics())


def _read(content: bytes | None) -> int:
    """A time from a file; 0 where there is none that can be."""
    try:
        found = int(content or b"0")
    except ValueError:
        return 0
    return found if 0 <= found <= LATEST_MS else 0
