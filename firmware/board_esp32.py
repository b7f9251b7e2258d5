"""The ESP32 port (WROOM-32 boards): pins, serial line, causes of a reset.

Pins 6–11 belong to the flash and 12 chooses its voltage at the start, so they are left alone. Pins 34–39 only read and
have no pull-ups: end switches there need 10 kΩ to 3.3 V. Lamps sit on the starting pins 2, 5 and 15, where a lamp
that flickers at power-on does no harm; the button is the board's own on pin 0.
"""

import machine

from firmware.board import BAUD, RECEIVE_BYTES, Board
from firmware.dictionary import OTHER_CAUSE, POWER_ON, SOFTWARE, WATCHDOG

# GPIO numbers
UART_TX = 17
UART_RX = 16
LAMP_RED = 2
LAMP_AMBER = 5
LAMP_GREEN = 15
RING = 18
BUZZER = 19
NIR_850 = 21
NIR_940 = 22
NIR_ENABLE = 23
PRESENCE = 4
TAMPER = 32
DOOR = 33
BUTTON = 0
HOPPER_STEP = 13
HOPPER_DIRECTION = 14
HOPPER_HOME = 34
HOPPER_EXIT = 35
GATE_STEP = 25
GATE_DIRECTION = 26
GATE_HOME = 36
MOTORS = 27
THERMISTOR = 39


class Esp32Board(Board):
    """A WROOM-32 board."""

    def reset_cause(self) -> int:
        """POWER_ON, WATCHDOG or SOFTWARE."""
        causes = {machine.PWRON_RESET: POWER_ON, machine.WDT_RESET: WATCHDOG, machine.SOFT_RESET: SOFTWARE}
        return causes.get(machine.reset_cause(), OTHER_CAUSE)


def make_board() -> Board:
    """The board with its serial line open."""
    tx, rx = machine.Pin(UART_TX), machine.Pin(UART_RX)
    uart = machine.UART(2, BAUD, tx=tx, rx=rx, rxbuf=RECEIVE_BYTES, txbuf=RECEIVE_BYTES, timeout=0)
    thermistor = machine.ADC(machine.Pin(THERMISTOR), atten=machine.ADC.ATTN_11DB)
    return Esp32Board(
        uart, thermistor, (LAMP_RED, LAMP_AMBER, LAMP_GREEN), (NIR_850, NIR_940), NIR_ENABLE,
        ((HOPPER_STEP, HOPPER_DIRECTION), (GATE_STEP, GATE_DIRECTION)), MOTORS, BUZZER, RING,
        (PRESENCE, TAMPER, DOOR, BUTTON, HOPPER_HOME, HOPPER_EXIT, GATE_HOME), (HOPPER_HOME, HOPPER_EXIT, GATE_HOME),
    )  # fmt: skip
