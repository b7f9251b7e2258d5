"""Short tones that say done, try again, or alarm. An alarm ends by itself too."""

from firmware.dictionary import BUZZ_ALARM, BUZZ_OFF, BUZZ_OK, BUZZ_RETRY

# (Hz, ms) one after another; 0 Hz is a pause
TUNES = {
    BUZZ_OFF: (),
    BUZZ_OK: ((1760, 80), (2217, 120)),
    BUZZ_RETRY: ((880, 120), (0, 60), (880, 120)),
    BUZZ_ALARM: ((2000, 300), (1500, 300)) * 5,
}


class Buzzer:
    """Plays one tune at a time; a new one replaces it."""

    def __init__(self) -> None:
        self._tune: tuple[tuple[int, int], ...] = ()
        self._started_ms = 0

    def play(self, tune: int, now_ms: int) -> bool:
        """Start a tune of TUNES; False where there is no such."""
        if tune not in TUNES:
            return False
        self._tune, self._started_ms = TUNES[tune], now_ms
        return True

    def hertz(self, now_ms: int) -> int:
        """The tone of now; 0 for silence."""
        passed = now_ms - self._started_ms
        for hertz, length_ms in self._tune:
            if passed < length_ms:
                return hertz
            passed -= length_ms
        self._tune = ()
        return 0
