"""Driver of LEDs behind a PCA9685: near-infrared for the iris camera, white for the portrait; eye-safe by its limits.

IEC 62471 counts a source of 780–3000 nm as exempt for any length of exposure below 100 W/m² at the cornea. The duty
that stays below it depends on the LEDs, their current and the distance: whoever builds the enclosure measures it and
writes it into `nir_duty_max`; 100 % of the interface is that duty. On top of it a pulse is bounded, and the lamp rests
in between. The chip has no watchdog: an agent that is killed while its light is on leaves it on, at a level that is
safe for ever, until the next start, which first of all makes dark. Where that is not enough, let the controller board
drive the LEDs: its firmware goes dark by itself.
"""

from __future__ import annotations

import threading
import time

from contract.clock import Clock, SystemClock
from contract.errors import DeviceError, TransientError
from edge.sensors.i2c_link import BusOpener, I2cPart, Sleep, open_kernel_bus
from edge.sensors.interface import DeviceInfo
from edge.sensors.pca9685_frames import (
    ALL_LED_ON_L,
    AUTO_INCREMENT,
    CHANNELS,
    MODE1,
    MODE2,
    OUTPUT_INVERTED,
    OUTPUT_PUSH_PULL,
    PRE_SCALE,
    SLEEP,
    WAKE_S,
    duty_bytes,
    led_register,
    prescale_of,
)

WHITE_NM = 0
DURATION_MAX_MS = 5000
REST_SHARE = 0.5  # a pulse of 1 s is followed by at least 0.5 s of dark
DUTY_CEILING = 0.5  # no configuration may ask for more


class Pca9685Lights:
    """An Illumination. Channels are lists such as "0,1"; wavelength 0 means white.

    nir_duty_max, white_duty_max: what 100 % means, measured as above; inverted: LEDs against the supply.
    """

    def __init__(
        self,
        *,
        bus: int = 1,
        address: int = 0x40,
        nir_channels: str = "0,1",
        nir_nm: int = 850,
        nir_duty_max: float = 0.1,
        white_channels: str = "",
        white_duty_max: float = 0.25,
        pwm_hz: int = 1000,
        inverted: bool = False,
        open_bus: BusOpener = open_kernel_bus,
        sleep: Sleep = time.sleep,
        clock: Clock | None = None,
    ) -> None:
        self._bus, self._address = bus, address
        self._lights: dict[int, tuple[tuple[int, ...], float]] = {}
        for name, wavelength_nm, text, duty_max in (
            ("nir", nir_nm, nir_channels, nir_duty_max),
            ("white", WHITE_NM, white_channels, white_duty_max),
        ):
            if channels := _channels(name, text, duty_max):
                self._lights[wavelength_nm] = channels, duty_max
        self._prescale = prescale_of(pwm_hz)
        self._mode2 = OUTPUT_PUSH_PULL | (OUTPUT_INVERTED if inverted else 0)
        self._open_bus, self._sleep = open_bus, sleep
        self._clock = clock or SystemClock()
        self._part: I2cPart | None = None
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        self._lit_until_ms = self._rests_until_ms = 0
        self._pulse = 0

    def open(self) -> DeviceInfo:
        """Make dark, then set the outputs up. Raises DeviceError."""
        self.close()
        with self._lock:
            self._part = part = I2cPart("PCA9685", self._bus, self._address, self._open_bus, self._sleep)
            self._darken()
            part.write(bytes((MODE1, SLEEP | AUTO_INCREMENT)))  # the prescaler takes a value only while asleep
            part.write(bytes((PRE_SCALE, self._prescale)))
            part.write(bytes((MODE2, self._mode2)))
            part.write(bytes((MODE1, AUTO_INCREMENT)))
            part.sleep(WAKE_S)
            found = part.write_read(bytes((PRE_SCALE,)), 1)[0]
        if found != self._prescale:
            raise DeviceError(
                f"The part at {self._address:#04x} does not keep what is written: it is no PCA9685.",
                next_step="Correct 'address' in unit.toml.",
            )
        names = tuple("white" if nm == WHITE_NM else f"{nm} nm" for nm in self._lights)
        return DeviceInfo("pca9685", "NXP PCA9685", capabilities=names)

    def close(self) -> None:
        """Make dark and release the bus."""
        with self._lock:
            part = self._part
            if part is None:
                return
            try:
                self.off()
            except DeviceError:  # gone with its light, or lit at a level that is safe: `open` makes dark
                pass
            self._part = None
            part.close()

    def on(self, wavelength_nm: int, level_percent: int, duration_ms: int) -> None:
        """Light at a part of the safe level, for at most DURATION_MAX_MS, then dark by itself."""
        if wavelength_nm not in self._lights:
            raise DeviceError(
                f"There is no light of {wavelength_nm} nm.",
                next_step=f"This unit has {', '.join(map(str, self._lights)) or 'none'} (0 is white).",
            )
        channels, duty_max = self._lights[wavelength_nm]
        lit_ms = min(DURATION_MAX_MS, max(0, duration_ms))
        with self._lock:
            part = self._opened()
            now_ms = self._clock.monotonic_ms()
            if now_ms < self._rests_until_ms:
                raise TransientError(
                    f"The light rests for {self._rests_until_ms - now_ms} ms more.",
                    next_step="Wait, then light again.",
                )
            self._stop_timer()
            for channel in channels:
                part.write(bytes((led_register(channel),)) + duty_bytes(duty_max * min(100, level_percent) / 100))
            self._lit_until_ms = now_ms + lit_ms
            self._rests_until_ms = self._lit_until_ms + round(lit_ms * REST_SHARE)
            self._timer = threading.Timer(lit_ms / 1000, self._time_is_over, (self._pulse,))
            self._timer.daemon = True
            self._timer.start()

    def off(self) -> None:
        """Dark at once."""
        with self._lock:
            self._stop_timer()
            self._opened()
            self._darken()
            spared_ms = self._lit_until_ms - self._clock.monotonic_ms()
            if spared_ms > 0:
                self._rests_until_ms -= round(spared_ms * (1 + REST_SHARE))
                self._lit_until_ms -= spared_ms

    def _darken(self) -> None:
        self._opened().write(bytes((ALL_LED_ON_L,)) + duty_bytes(0))

    def _opened(self) -> I2cPart:
        if self._part is None:
            raise DeviceError("The lights are not open.")
        return self._part

    def _stop_timer(self) -> None:
        self._pulse += 1
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _time_is_over(self, pulse: int) -> None:
        with self._lock:
            if self._part is None or pulse != self._pulse:
                return  # closed, or lit again meanwhile by a call that set a timer of its own
            try:
                self._darken()
            except DeviceError:  # nobody to tell; the next call meets the same bus and says so
                return


def _channels(name: str, text: str, duty_max: float) -> tuple[int, ...]:
    """A list of outputs. Raises DeviceError."""
    try:
        channels = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        channels = (-1,)
    if not all(0 <= channel < CHANNELS for channel in channels):
        raise DeviceError(f"{name}_channels is {text!r}.", next_step='Write outputs from 0 to 15, such as "0,1".')
    if not 0 < duty_max <= DUTY_CEILING:
        raise DeviceError(
            f"{name}_duty_max is {duty_max}.",
            next_step=f"Measure the irradiance, and give a duty up to {DUTY_CEILING}.",
        )
    return channels
