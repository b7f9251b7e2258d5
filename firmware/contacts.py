"""Switches and light barriers, freed of their bouncing: presence, tamper, door, button, end switches."""

from firmware.dictionary import IN_BUTTON

SETTLE_MS = 30


class Contacts:
    """The inputs as one number of IN_* bits. Starts with everything open-safe: all bits 0."""

    def __init__(self) -> None:
        self.bits = 0
        self._raw = 0
        self._since_ms = 0
        self._pressed_ms = -1

    def tick(self, raw: int, now_ms: int) -> int:
        """Take a reading; returns the bits that have changed for good just now."""
        if raw != self._raw:
            self._raw, self._since_ms = raw, now_ms
        if now_ms - self._since_ms < SETTLE_MS:
            return 0
        changed = self.bits ^ raw
        self.bits = raw
        if changed & IN_BUTTON:
            self._pressed_ms = now_ms if raw & IN_BUTTON else -1
        return changed

    def button_ms(self, now_ms: int) -> int:
        """For how long the button has been held down; 0 where it is not."""
        return now_ms - self._pressed_ms if self._pressed_ms >= 0 else 0
