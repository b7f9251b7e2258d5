"""How often one claim is heard: a box knocks every two seconds, a thief of its claim could as fast as the line goes.

One message of a claim is worked on at a time, BURST may come at once and PER_SECOND after that; what is more is
dropped, since a box that gets no answer asks again. So a claim costs the office little and keeps nobody else waiting.
"""

from __future__ import annotations

from dataclasses import dataclass

from contract.clock import Clock

BURST, PER_SECOND = 60, 2
_FULL_AFTER_MS = BURST * 1000 // PER_SECOND
_LOOK_EVERY = 1000


@dataclass(slots=True)
class _Heard:
    left: float
    at_ms: int
    is_worked_on: bool = False


class ClaimGate:
    """Token buckets, one a claim."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heard: dict[str, _Heard] = {}
        self._looks = 0

    def __len__(self) -> int:
        return len(self._heard)

    def enter(self, nonce: str) -> bool:
        """Whether this message of the claim is worked on; then `leave` has to follow."""
        now = self._clock.monotonic_ms()
        self._forget(now)
        heard = self._heard.setdefault(nonce, _Heard(BURST, now))
        heard.left = min(BURST, heard.left + (now - heard.at_ms) * PER_SECOND / 1000)
        heard.at_ms = now
        if heard.is_worked_on or heard.left < 1:
            return False
        heard.left -= 1
        heard.is_worked_on = True
        return True

    def leave(self, nonce: str) -> None:
        """The message was answered."""
        if nonce in self._heard:
            self._heard[nonce].is_worked_on = False

    def _forget(self, now_ms: int) -> None:
        """Drop, now and then, whoever was silent for so long that the bucket is full again."""
        self._looks += 1
        if self._looks % _LOOK_EVERY == 0:
            self._heard = {
                nonce: heard
                for nonce, heard in self._heard.items()
                if heard.is_worked_on or now_ms - heard.at_ms < _FULL_AFTER_MS
            }
