"""Lamps and the status ring as patterns over time: the same moment always looks the same, nothing is stored."""

from firmware.dictionary import LAMP_BLINK, LAMP_ON, RING_BREATHE, RING_OFF, RING_TURN

BLINK_MS = 500
BREATHE_MS = 2000
TURN_MS = 1200
RING_PIXELS = 12
BRIGHTNESS_MAX = 96  # of 255 per colour: twelve pixels stay below 150 mA


def lamp_lit(mode: int, now_ms: int) -> bool:
    """Whether a lamp in this mode is lit now."""
    return mode == LAMP_ON or (mode == LAMP_BLINK and now_ms // BLINK_MS % 2 == 0)


class Ring:
    """The ring's pattern and colour; `pixels` gives what to show, or None where that has not changed."""

    def __init__(self) -> None:
        self.mode = RING_OFF
        self._colour = (0, 0, 0)
        self._shown: tuple[int, int] | None = None

    def show(self, mode: int, red: int, green: int, blue: int) -> None:
        """Set pattern and colour; what is brighter than BRIGHTNESS_MAX is scaled down in all three."""
        brightest = max(red, green, blue)
        if brightest > BRIGHTNESS_MAX:
            red, green, blue = (part * BRIGHTNESS_MAX // brightest for part in (red, green, blue))
        self.mode, self._colour, self._shown = mode, (red, green, blue), None

    def pixels(self, now_ms: int) -> list[tuple[int, int, int]] | None:
        """RING_PIXELS colours, once for each change."""
        turn = RING_PIXELS * (now_ms % TURN_MS) // TURN_MS if self.mode == RING_TURN else 0
        share = 16
        if self.mode == RING_OFF:
            share = 0
        elif self.mode == RING_BREATHE:
            phase = 32 * (now_ms % BREATHE_MS) // BREATHE_MS
            share = min(phase, 32 - phase)
        if self._shown == (turn, share):
            return None
        self._shown = (turn, share)
        red, green, blue = self._colour
        lit = (red * share // 16, green * share // 16, blue * share // 16)
        if self.mode != RING_TURN:
            return [lit] * RING_PIXELS
        return [lit if (place - turn) % RING_PIXELS < 4 else (0, 0, 0) for place in range(RING_PIXELS)]
