"""One input of the unit's own pins, as a driver watches it: a finger module's touch output.

gpiozero is imported when a line is opened: a unit without such a line needs no pins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from contract.errors import DeviceError


class InputLine(Protocol):
    """A line that is active or not."""

    def is_active(self) -> bool:
        """How the line stands now."""
        ...

    def close(self) -> None:
        """Let go of the pin; never raises, and may be called twice."""
        ...


LineOpener = Callable[[int, bool], InputLine]


class GpioLine:
    """A pin by its BCM number, through gpiozero. active_low: it is pulled up, and low when active."""

    def __init__(self, pin: int, active_low: bool) -> None:
        try:
            from gpiozero import DigitalInputDevice
            from gpiozero.exc import GPIOZeroError

            self._device = DigitalInputDevice(pin, pull_up=active_low)
        except (ImportError, GPIOZeroError, OSError, ValueError) as error:
            raise DeviceError(
                f"Pin {pin} cannot be used: {type(error).__name__}.",
                next_step="Name a free BCM pin, and check that the user is in group gpio.",
            ) from error

    def is_active(self) -> bool:
        """How the line stands now."""
        return bool(self._device.is_active)

    def close(self) -> None:
        """Let go of the pin."""
        self._device.close()


def open_gpio_line(pin: int, active_low: bool) -> InputLine:
    """The line of one pin. Raises DeviceError."""
    return GpioLine(pin, active_low)
