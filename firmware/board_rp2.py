"""The RP2040 port (Raspberry Pi Pico): pins, serial line, causes of a reset."""

import machine

from firmware.board import BAUD, RECEIVE_BYTES, Board
from firmware.dictionary import OTHER_CAUSE, POWER_ON, WATCHDOG

# GPIO numbers
UART_TX = 0
UART_RX = 1
LAMP_RED = 2
LAMP_AMBER = 3
LAMP_GREEN = 4
RING = 6
BUZZER = 5  # PWM pins 2n and 2n+1 share their frequency: never beside a near-infrared lamp
NIR_850 = 7
NIR_940 = 8
NIR_ENABLE = 9
PRESENCE = 10
TAMPER = 11
DOOR = 12
BUTTON = 13
HOPPER_STEP = 14
HOPPER_DIRECTION = 15
HOPPER_HOME = 16
HOPPER_EXIT = 17
GATE_STEP = 18
GATE_DIRECTION = 19
GATE_HOME = 20
MOTORS = 21
THERMISTOR = 26


class Rp2Board(Board):
    """A Pico. A wanted restart goes through the watchdog too; slots.py remembers that it was wanted."""

    def reset_cause(self) -> int:
        """POWER_ON or WATCHDOG."""
        cause = machine.reset_cause()
        return WATCHDOG if cause == machine.WDT_RESET else POWER_ON if cause == machine.PWRON_RESET else OTHER_CAUSE


def make_board() -> Board:
    """The board with its serial line open."""
    tx, rx = machine.Pin(UART_TX), machine.Pin(UART_RX)
    uart = machine.UART(0, BAUD, tx=tx, rx=rx, rxbuf=RECEIVE_BYTES, txbuf=RECEIVE_BYTES, timeout=0)
    thermistor = machine.ADC(machine.Pin(THERMISTOR))
    return Rp2Board(
        uart, thermistor, (LAMP_RED, LAMP_AMBER, LAMP_GREEN), (NIR_850, NIR_940), NIR_ENABLE,
        ((HOPPER_STEP, HOPPER_DIRECTION), (GATE_STEP, GATE_DIRECTION)), MOTORS, BUZZER, RING,
        (PRESENCE, TAMPER, DOOR, BUTTON, HOPPER_HOME, HOPPER_EXIT, GATE_HOME), (),
    )  # fmt: skip
