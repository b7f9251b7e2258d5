"""How much of the line updates may take: a bucket of bytes for each unit, and one for all, so that captures keep it.

An ask costs its bytes and something for itself, so that many small ones are no way around. Who asks too early is told
when to come back, later where many wait; who does not keep to it is answered no more for that time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

ASK_COST_BYTES = 1024
BURST_BYTES_MIN = 4 * 65536
UNITS_MAX = 20_000
WAIT_MS_MAX = 60_000
REMINDERS_MAX = 8
CROWD_MS = 10_000
SILENCE = -1


@dataclass(slots=True)
class _Bucket:
    """level: bytes that may be had at once; at_ms: when that was so."""

    bytes_per_s: int
    level: float
    at_ms: int

    def wait_ms(self, cost: int, now_ms: int) -> int:
        """How long until `cost` may be had; 0 for now. Nothing is taken."""
        burst = max(self.bytes_per_s, BURST_BYTES_MIN)
        self.level = min(burst, self.level + self.bytes_per_s * max(0, now_ms - self.at_ms) / 1000)
        self.at_ms = now_ms
        return 0 if self.level >= cost else int((cost - self.level) * 1000 / self.bytes_per_s) + 1


@dataclass(slots=True)
class _Asker:
    bucket: _Bucket
    back_ms: int = 0
    reminders: int = 0


class LineShare:
    """Who may have how many bytes now. now_ms: monotonic. uniform: draws from an interval, for spreading a crowd."""

    def __init__(self, bytes_per_s: int, unit_bytes_per_s: int, uniform: Callable[[float, float], float]) -> None:
        self._unit_bytes_per_s = unit_bytes_per_s
        self._all = _Bucket(bytes_per_s, max(bytes_per_s, BURST_BYTES_MIN), 0)
        self._uniform = uniform
        self._askers: dict[str, _Asker] = {}
        self._crowd: dict[str, int] = {}

    def ask(self, unit: str, length: int, now_ms: int) -> int:
        """0: give it now; above: milliseconds after which to ask again; SILENCE: say nothing."""
        asker = self._asker(unit, now_ms)
        if now_ms < asker.back_ms:
            asker.reminders += 1
            return asker.back_ms - now_ms if asker.reminders <= REMINDERS_MAX else SILENCE
        cost = length + ASK_COST_BYTES
        own_ms, all_ms = asker.bucket.wait_ms(cost, now_ms), self._all.wait_ms(cost, now_ms)
        if not own_ms and not all_ms:
            asker.bucket.level -= cost
            self._all.level -= cost
            self._crowd.pop(unit, None)
            return 0
        if all_ms:
            self._crowd[unit] = now_ms
            self._crowd = {name: at for name, at in self._crowd.items() if now_ms - at < CROWD_MS}
            spread_ms = len(self._crowd) * cost * 1000 / self._all.bytes_per_s
            all_ms += int(self._uniform(0.0, spread_ms))
        wait_ms = min(max(own_ms, all_ms), WAIT_MS_MAX)
        asker.back_ms, asker.reminders = now_ms + wait_ms, 0
        return wait_ms

    def _asker(self, unit: str, now_ms: int) -> _Asker:
        found = self._askers.get(unit)
        if found is None:
            if len(self._askers) >= UNITS_MAX:
                self._askers.pop(min(self._askers, key=lambda name: self._askers[name].bucket.at_ms))
            burst = max(self._unit_bytes_per_s, BURST_BYTES_MIN)
            found = self._askers[unit] = _Asker(_Bucket(self._unit_bytes_per_s, burst, now_ms))
        return found
