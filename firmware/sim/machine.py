"""`machine` for the MicroPython VM on a computer: pins, converters, PWM, a serial line, a watchdog that bites.

It stands before the VM's own module on MICROPYPATH, so the very modules of the board run on it unchanged. The world
outside the chip is the process that started the VM (virtual/controller_twin.py), in words on two pipes. It says

    pin NUMBER LEVEL        adc NUMBER RAW        hang        (and ends the chip's life by closing the pipe)

and hears `pin NUMBER LEVEL`, `pwm NUMBER DUTY HZ`, `ring COLOURS`, `watchdog MS`, `fed`. The serial line is the file
descriptor UART, which does not block. Small on purpose: it lives in the heap that the firmware is measured in.
"""

import os
import select
import sys
import time

PWRON_RESET, WDT_RESET, SOFT_RESET = 1, 3, 5
RESET_EXIT_CODE = 3
FED_MS = 100

_levels: dict[object, int] = {}
_poll = select.poll()
_poll.register(sys.stdin, 1)


def _look(key, otherwise):
    """What the outside has last said of a pin or converter; it is heard at most once a millisecond."""
    now = time.ticks_ms()
    if now != _levels.get(0):
        _levels[0] = now
        while _poll.poll(0):
            words = sys.stdin.readline().split()
            if not words:
                sys.exit(0)
            while words[0] == "hang":
                time.sleep_ms(1000)
            _levels[words[0], int(words[1])] = int(words[2])
    return _levels.get(key, otherwise)


class Pin:
    """A pin. Inputs are pulled up until the outside sets them."""

    IN, OUT, PULL_UP = 0, 1, 2

    def __init__(self, number, mode=0, pull=0, value=None):
        self.number = number
        if value is not None:
            self.value(value)

    def value(self, level=None):
        """Read or drive the pin."""
        if level is None:
            return _look(("pin", self.number), 1)
        print("pin", self.number, int(bool(level)))
        return None


class PWM:
    """A pulse-width output."""

    def __init__(self, pin, freq=0, duty_u16=0):
        self.number, self.hertz = pin.number, freq
        self.duty_u16(duty_u16)

    def freq(self, hertz):
        """Set the frequency in Hz."""
        self.hertz = hertz

    def duty_u16(self, duty=None):
        """Read or set the share of 65535."""
        if duty is not None:
            self.level = duty
            print("pwm", self.number, duty, self.hertz)
        return self.level


class ADC(Pin):
    """A converter; 32768 until the outside sets it: a 10 kΩ thermistor at 25 °C."""

    ATTN_11DB = 3

    def __init__(self, pin, atten=None):
        self.number = pin.number

    def read_u16(self):
        """The voltage as a share of 65535."""
        return _look(("adc", self.number), 32768)


class UART:
    """The serial line, on a descriptor that the twin has given."""

    def __init__(self, number, baud, tx=None, rx=None, rxbuf=0, txbuf=0, timeout=0):
        self.number = open(int(os.getenv("UART")), "r+b", 0)
        self.level = select.poll()
        self.level.register(self.number, 1)

    def any(self):
        """How many bytes can be read without waiting: an upper bound, for the VM does not know."""
        return 256 if self.level.poll(0) else 0

    def read(self, count):
        """What has arrived, at most count bytes."""
        data = self.number.read(count)
        if data == b"":
            sys.exit(0)
        return data

    def write(self, data):
        """Send; what does not fit into the line's buffer is lost, as on the wire."""
        try:
            self.number.write(data)
        except OSError:
            return


class WDT:
    """A watchdog: says that it was started and, now and then, that it was fed; the twin does the biting."""

    def __init__(self, timeout):
        self.level = 0
        print("watchdog", timeout)

    def feed(self):
        """The loop is alive."""
        now = time.ticks_ms()
        if time.ticks_diff(now, self.level) >= FED_MS:
            self.level = now
            print("fed")


def reset():
    """Start anew: the twin does."""
    sys.exit(RESET_EXIT_CODE)


def reset_cause():
    """What the twin says that it was."""
    return int(os.getenv("RESET_CAUSE"))


def unique_id():
    """What the twin says that it is."""
    return bytes.fromhex(os.getenv("UNIQUE_ID"))
