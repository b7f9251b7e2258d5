"""Near-infrared light with limits that no command can lift: level, duration, rest, temperature.

The reasoning (IEC 62471, infrared hazard of cornea and lens: 100 W/m² for any time, more for less than 1,000 s) and the
measurement that a build has to pass are in the README. Here: never more than half of full current on average, one
wavelength at a time, ten seconds at a stretch, a quarter of the time in the long run, nothing above 60 °C, nothing
where the thermometer is not there. After a start the light rests first, so that restarting gains nothing.
"""

from firmware.dictionary import NO_SUCH_PART, NO_THERMOMETER, OK, RESTING, TOO_HOT, WAVELENGTHS_NM

DUTY_MAX = 32768  # of 65535
ON_MS_MAX = 10_000
REST_PER_LIT = 3
CELSIUS_MAX = 60
CELSIUS_AGAIN = 55


class Illumination:
    """The light's state machine. Times in ms; the owner calls `tick` often and drives the lamps by `duty`."""

    def __init__(self, now_ms: int) -> None:
        self.level = 0
        self.wavelength_nm = 0
        self._hot = False
        self._until_ms = 0
        self._seen_ms = now_ms
        self._credit = 0  # in 1/REST_PER_LIT ms of light, so that it counts in whole numbers

    def on(self, wavelength_nm: int, level: int, duration_ms: int, now_ms: int, celsius: int | None) -> tuple[int, int]:
        """Ask for light; returns (result, ms to rest first). What is asked beyond a limit is refused, not trimmed."""
        self.tick(now_ms, celsius)
        if wavelength_nm not in WAVELENGTHS_NM or not 1 <= level <= 100 or not 1 <= duration_ms <= ON_MS_MAX:
            return NO_SUCH_PART, 0
        if celsius is None:
            return NO_THERMOMETER, 0
        if self._hot:
            return TOO_HOT, 0
        missing = duration_ms * REST_PER_LIT - self._credit
        if missing > 0:
            return RESTING, missing
        self.wavelength_nm, self.level = wavelength_nm, level
        self._until_ms = now_ms + duration_ms
        return OK, 0

    def off(self) -> None:
        """Dark now."""
        self.level = 0

    def tick(self, now_ms: int, celsius: int | None) -> bool:
        """Account for the time since the last call, and end what must end; True when heat has just ended it."""
        passed, self._seen_ms = now_ms - self._seen_ms, now_ms
        if self.level:
            self._credit = max(0, self._credit - passed * REST_PER_LIT)
        else:
            self._credit = min(ON_MS_MAX * REST_PER_LIT, self._credit + passed)
        was_hot = self._hot
        if celsius is None or celsius >= CELSIUS_MAX:
            self._hot = self._hot or celsius is not None
            self.level = 0
        elif celsius < CELSIUS_AGAIN:
            self._hot = False
        if self.level and now_ms >= self._until_ms:
            self.level = 0
        return self._hot and not was_hot

    def duty(self, wavelength_nm: int) -> int:
        """The share of 65535 that the lamp of a wavelength is on now."""
        return self.level * DUTY_MAX // 100 if wavelength_nm == self.wavelength_nm else 0
