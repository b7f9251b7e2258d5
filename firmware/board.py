"""What the firmware needs of a board: the one module, with main.py, that touches `machine`.

A port gives its pins by name and what differs (board_rp2.py, board_esp32.py). All inputs read 1 for the state that
matters: somebody is there, tamper or door open, button pressed, switch or barrier reached.
"""

import gc
import math
import os
import time

import machine
import neopixel

from firmware.dictionary import (
    IN_BUTTON,
    IN_DOOR,
    IN_GATE_HOME,
    IN_HOPPER_EXIT,
    IN_HOPPER_HOME,
    IN_PRESENCE,
    IN_TAMPER,
    OTHER_CAUSE,
)
from firmware.lamps import RING_PIXELS

BAUD = 115200
RECEIVE_BYTES = 1024
READ_BYTES_MAX = 512
WATCHDOG_MS = 2000
NIR_HZ = 1000
# What each input means, in the order that a port names them, and whether a low level means it.
INPUTS = (
    (IN_PRESENCE, False),
    (IN_TAMPER, False),
    (IN_DOOR, False),
    (IN_BUTTON, True),
    (IN_HOPPER_HOME, True),
    (IN_HOPPER_EXIT, True),
    (IN_GATE_HOME, True),
)
# A 10 kΩ thermistor to ground, B = 3950, under 10 kΩ to 3.3 V.
NTC_BETA = 3950.0
NTC_KELVIN = 298.15
NTC_RAW_MIN = 1500  # below: shorted
NTC_RAW_MAX = 63500  # above: cut


class Board:
    """The board's hardware. Numbers are GPIO pins.

    thermistor: a converter that reads 0 to 3.3 V as 0 to 65535. axes: (step, direction) of hopper and gate. inputs: in
    the order of INPUTS; unpulled: those of them that have no pull-up of their own.
    """

    def __init__(
        self, uart: "machine.UART", thermistor: "machine.ADC", lamps: tuple[int, ...], nir: tuple[int, ...],
        nir_enable: int, axes: tuple[tuple[int, int], ...], motors: int, buzzer: int, ring: int,
        inputs: tuple[int, ...], unpulled: tuple[int, ...],
    ) -> None:  # fmt: skip
        pin, out = machine.Pin, machine.Pin.OUT
        self._uart = uart
        self._nir_enable = pin(nir_enable, out, value=0)
        self._nir = [machine.PWM(pin(number), freq=NIR_HZ, duty_u16=0) for number in nir]
        self._motors = pin(motors, out, value=1)
        self._axes = [(pin(step, out, value=0), pin(way, out, value=0)) for step, way in axes]
        self._lamps = [pin(number, out, value=0) for number in lamps]
        self._buzzer = machine.PWM(pin(buzzer), freq=1000, duty_u16=0)
        self._ring = neopixel.NeoPixel(pin(ring), RING_PIXELS)
        self._inputs = [
            pin(number, pin.IN) if number in unpulled else pin(number, pin.IN, pin.PULL_UP) for number in inputs
        ]
        self._thermistor = thermistor
        self._watchdog = machine.WDT(timeout=WATCHDOG_MS)
        self._ticks = time.ticks_ms()
        self._now_ms = 0

    def now_ms(self) -> int:
        """Milliseconds since the start, that never go back or wrap. Called at least once an hour."""
        ticks = time.ticks_ms()
        self._now_ms += time.ticks_diff(ticks, self._ticks)
        self._ticks = ticks
        return self._now_ms

    def sleep_ms(self, duration_ms: int) -> None:
        """Give the processor a rest."""
        time.sleep_ms(duration_ms)

    def read(self) -> bytes:
        """What has arrived from the host; b"" where nothing has. Never waits."""
        waiting = self._uart.any()
        return (self._uart.read(min(waiting, READ_BYTES_MAX)) or b"") if waiting else b""

    def write(self, data: bytes) -> None:
        """Send to the host."""
        self._uart.write(data)

    def feed(self) -> None:
        """The loop is alive."""
        self._watchdog.feed()

    def restart(self) -> None:
        """Start the board anew; does not return."""
        machine.reset()

    def reset_cause(self) -> int:
        """Why the board started: POWER_ON, WATCHDOG, SOFTWARE or OTHER_CAUSE."""
        return OTHER_CAUSE

    def unique_id(self) -> bytes:
        """Eight bytes that no other board has."""
        return (machine.unique_id() + bytes(8))[:8]

    def random(self) -> int:
        """32 random bits from the hardware."""
        return int.from_bytes(os.urandom(4), "little")

    def free_bytes(self) -> int:
        """Free heap."""
        return gc.mem_free()

    def inputs(self) -> int:
        """All inputs as IN_* bits."""
        bits = 0
        for pin, (bit, low) in zip(self._inputs, INPUTS):  # noqa: B905 - MicroPython's zip takes no strict
            if bool(pin.value()) != low:
                bits |= bit
        return bits

    def nir_celsius(self) -> int | None:
        """The temperature at the near-infrared LEDs; None where the thermistor is cut or shorted."""
        raw = self._thermistor.read_u16()
        if not NTC_RAW_MIN <= raw <= NTC_RAW_MAX:
            return None
        share = raw / 65535
        kelvin = 1 / (1 / NTC_KELVIN + math.log(share / (1 - share)) / NTC_BETA)
        return int(kelvin - 273.15)

    def nir(self, place: int, duty: int) -> None:
        """Set a near-infrared lamp to duty / 65535; the driver's enable line follows the lamps."""
        self._nir[place].duty_u16(duty)
        self._nir_enable.value(any(lamp.duty_u16() > 0 for lamp in self._nir))

    def lamp(self, place: int, lit: bool) -> None:
        """Switch a lamp."""
        self._lamps[place].value(lit)

    def ring(self, pixels: list[tuple[int, int, int]]) -> None:
        """Show colours on the status ring."""
        for place, colour in enumerate(pixels):
            self._ring[place] = colour
        self._ring.write()

    def buzz(self, hertz: int) -> None:
        """Sound a tone; 0 for silence."""
        if hertz:
            self._buzzer.freq(hertz)
        self._buzzer.duty_u16(32768 if hertz else 0)

    def motors(self, powered: bool) -> None:
        """Power the steppers' coils; the drivers' enable line is active low."""
        self._motors.value(not powered)

    def step(self, axis: int, direction: int) -> None:
        """One step forward (1) or backward (-1)."""
        step, way = self._axes[axis]
        way.value(direction > 0)
        time.sleep_us(2)
        step.value(1)
        time.sleep_us(3)
        step.value(0)
