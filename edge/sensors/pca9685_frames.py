"""NXP PCA9685 (16 PWM outputs, 12 bit), without I/O: registers and what is written into them.

Source: NXP data sheet PCA9685 rev. 4: registers in table 4, MODE1 in 7.3.1, MODE2 in 7.3.2, LEDn in 7.3.3, prescale
in 7.3.5 (0x1E gives 200 Hz from the internal 25 MHz oscillator). Bit 4 of LEDn_OFF_H means fully off and wins over
fully on.
"""

from __future__ import annotations

MODE1, MODE2, LED0_ON_L, ALL_LED_ON_L, PRE_SCALE = 0x00, 0x01, 0x06, 0xFA, 0xFE
SLEEP, AUTO_INCREMENT, RESTART = 0x10, 0x20, 0x80
OUTPUT_PUSH_PULL, OUTPUT_INVERTED = 0x04, 0x10
OSCILLATOR_HZ = 25_000_000
STEPS = 4096
CHANNELS = 16
WAKE_S = 0.0005  # the oscillator needs 500 µs, 7.3.1.1
_FULL = 0x10


def prescale_of(frequency_hz: float) -> int:
    """The prescaler for a PWM frequency of 24 to 1526 Hz."""
    return min(255, max(3, round(OSCILLATOR_HZ / (STEPS * frequency_hz)) - 1))


def led_register(channel: int) -> int:
    """The first of a channel's four registers."""
    return LED0_ON_L + 4 * channel


def duty_bytes(duty: float) -> bytes:
    """ON_L, ON_H, OFF_L, OFF_H for a duty of 0 to 1; the ends are fully off and fully on."""
    steps = round(min(1.0, max(0.0, duty)) * STEPS)
    if steps == 0:
        return bytes((0, 0, 0, _FULL))
    if steps == STEPS:
        return bytes((0, _FULL, 0, 0))
    return bytes((0, 0, steps & 0xFF, steps >> 8))


def duty_of(registers: bytes) -> float:
    """The duty that a channel's four registers mean."""
    on_h, off_l, off_h = registers[1], registers[2], registers[3]
    if off_h & _FULL:
        return 0.0
    if on_h & _FULL:
        return 1.0
    on = registers[0] | (on_h & 0x0F) << 8
    return ((off_l | (off_h & 0x0F) << 8) - on) % STEPS / STEPS
