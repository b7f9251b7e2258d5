"""What time it is, as far as rights may depend on it (M67): the hub's signed checkpoints, and time that has passed.

A unit's own clock can be set by anybody and may be a year off. So:

- Once two checkpoints came since this start, the hub is ticking now: its time counts, and what has passed since on the
  monotonic clock. The unit's own clock is not asked any more. (One alone may be days old: the broker keeps it.)
- Before that the unit's clock counts, but never below the mark: the latest time that was believed before, at rest, or
  that the hub has signed. A clock that is set back revives nothing that had ended.
- A clock that runs ahead ends leases too early, and the mark stays ahead with it; two checkpoints put both right.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from contract.checkpoint import Checkpoint
from contract.clock import Clock
from edge.sealed_store import SealedStore

KIND, NAME = "trusted-time", "mark"
KEPT_EVERY_MS = 60_000


class TrustedTime:
    """The time for leases and for waits. Thread-safe. `keep` writes to disk: call it off the event loop."""

    def __init__(self, store: SealedStore, clock: Clock, end_doubt: Callable[[], None] | None = None) -> None:
        """end_doubt: given where the disk may be an older copy of itself; makes durable that the hub was heard."""
        self._end_doubt = end_doubt
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._kept_ms = self._mark_ms = int.from_bytes(store.get(KIND, NAME) or b"", "big")
        self._mark_at_ms = clock.monotonic_ms()
        self._heard = self._is_told = False

    @property
    def is_told(self) -> bool:
        """Whether the hub has told the time since this start."""
        return self._is_told

    @property
    def is_doubted(self) -> bool:
        """Whether what lies on this disk counts for nothing before the hub has told the time."""
        return self._end_doubt is not None and not self._is_told

    def now_ms(self) -> int:
        """Milliseconds since 1970 (UTC), by the best evidence there is."""
        with self._lock:
            return self._now_ms()

    def hear(self, checkpoint: Checkpoint) -> None:
        """The hub has published a checkpoint that is newer than every one before."""
        with self._lock:
            if self._heard:
                self._is_told = True
                self._set(checkpoint.time_ms)
            else:
                self._heard = True
                self._set(max(checkpoint.time_ms, self._passed_ms()))

    def is_at_least(self, signed_ms: int) -> None:
        """The hub has signed something at this time, so it is not earlier now."""
        with self._lock:
            self._set(max(signed_ms, self._passed_ms()))

    def keep(self, *, at_once: bool = False) -> None:
        """Make the time durable, where enough has passed since the last time. at_once: something has just ended."""
        with self._lock:
            now_ms = self._now_ms()
            if self._end_doubt is not None and self._is_told:
                self._end_doubt()
                self._end_doubt = None
            if not at_once and abs(now_ms - self._kept_ms) < KEPT_EVERY_MS:
                return
            self._store.put(KIND, NAME, now_ms.to_bytes(8, "big"))
            self._kept_ms = now_ms
            self._set(now_ms)

    async def run(self) -> None:
        """Keep the time now and then, until cancelled. Raises DeviceError where the disk does not take it."""
        while True:
            await asyncio.to_thread(self.keep)
            await asyncio.sleep(KEPT_EVERY_MS / 1000)

    def _now_ms(self) -> int:
        return self._passed_ms() if self._is_told else max(self._passed_ms(), self._clock.wall_ms())

    def _passed_ms(self) -> int:
        """The mark, and what has passed since it was set."""
        return self._mark_ms + max(0, self._clock.monotonic_ms() - self._mark_at_ms)

    def _set(self, mark_ms: int) -> None:
        self._mark_ms, self._mark_at_ms = mark_ms, self._clock.monotonic_ms()
