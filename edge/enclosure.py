"""Lamps, buttons and door switch on the unit's own pins, through gpiozero: pins in, events and light out.

Which lamps are lit follows from the work alone (`lamps_of`). A lamp is set, never blinked, so nothing runs while
nothing happens: edges come from the kernel, on gpiozero's own thread. The only importer of gpiozero.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from contract.errors import DeviceError
from edge.config import EnclosureTable

LAMPS = frozenset({"ready", "turn", "busy", "fault", "camera", "finger", "iris", "signature", "card"})
STEP_LAMP = {
    "photo": "camera", "exception_photo": "camera", "signature": "signature", "attest": "signature",
    "fingers": "finger", "verify": "finger", "sign_off": "finger", "second_officer": "finger", "irises": "iris",
    "card": "card", "receipt": "signature",
}  # fmt: skip
_FACTORIES = {
    "lgpio": "gpiozero.pins.lgpio:LGPIOFactory",
    "rpigpio": "gpiozero.pins.rpigpio:RPiGPIOFactory",
    "native": "gpiozero.pins.native:NativeFactory",
}


class Contact(StrEnum):
    """What somebody did to the box. The values are the kinds of alarms and of diary lines."""

    DOOR_OPENED = "door-opened"
    DOOR_CLOSED = "door-closed"
    HELP = "help-asked"
    CANCEL = "cancel-pressed"


@dataclass(frozen=True, slots=True)
class WorkView:
    """The open work as lamps show it."""

    step: str
    busy: bool
    ended: bool
    problem: bool


def lamps_of(work: WorkView | None) -> frozenset[str]:
    """Which lamps are lit: ready while nobody is served; else whose turn it is, at which device, and trouble."""
    if work is None or work.ended:
        return frozenset({"ready"})
    lit = {"busy" if work.busy else "turn"}
    if work.step in STEP_LAMP:
        lit.add(STEP_LAMP[work.step])
    if work.problem:
        lit.add("fault")
    return frozenset(lit)


class Enclosure:
    """The pins of one unit. on_contact: called on gpiozero's thread."""

    def __init__(
        self, table: EnclosureTable, on_contact: Callable[[Contact], None], *, pin_factory: Any | None = None
    ) -> None:
        """pin_factory: gpiozero's, instead of the table's; for tests. Raises DeviceError for an unknown lamp."""
        unknown = sorted(set(table.lamps) - LAMPS)
        if unknown:
            raise DeviceError(
                f"enclosure.lamps has {', '.join(unknown)}.", next_step=f"Use {', '.join(sorted(LAMPS))}."
            )
        self._table, self._on_contact = table, on_contact
        self._pin_factory = pin_factory
        self._own_factory: Any | None = None
        self._lamps: dict[str, Any] = {}
        self._contacts: list[Any] = []
        self._door: Any | None = None
        self._lock = threading.Lock()

    @property
    def door_open(self) -> bool | None:
        """Whether the door is open; None where there is no switch."""
        return None if self._door is None else not self._door.is_active

    def open(self) -> None:
        """Take the pins: lamps dark, contacts watched. Raises DeviceError."""
        import gpiozero

        self.close()
        table, lock = self._table, self._lock
        try:
            factory = self._pin_factory or self._make_factory()
            with lock:
                for name, pin in table.lamps.items():
                    self._lamps[name] = gpiozero.LED(pin, active_high=table.lamps_active_high, pin_factory=factory)
                for switch, contact in ((table.help, Contact.HELP), (table.cancel, Contact.CANCEL)):
                    if switch is not None:
                        button = gpiozero.DigitalInputDevice(
                            switch, pull_up=True, bounce_time=table.bounce_s, pin_factory=factory
                        )
                        button.when_activated = self._teller(contact)
                        self._contacts.append(button)
                if table.door is not None:
                    self._door = gpiozero.DigitalInputDevice(
                        table.door, pull_up=True, bounce_time=table.bounce_s, pin_factory=factory
                    )
                    self._door.when_deactivated = self._teller(Contact.DOOR_OPENED)
                    self._door.when_activated = self._teller(Contact.DOOR_CLOSED)
                    self._contacts.append(self._door)
        except Exception as error:
            self.close()
            raise _translated(error, table) from error

    def show(self, lit: frozenset[str]) -> None:
        """Light these lamps and no other. Raises DeviceError."""
        with self._lock:
            try:
                for name, lamp in self._lamps.items():
                    lamp.value = name in lit
            except Exception as error:
                raise _translated(error, self._table) from error

    def close(self) -> None:
        """Lamps dark, pins free; never raises, and may be called twice."""
        with self._lock:
            devices = [*self._contacts, *self._lamps.values()]
            self._contacts, self._lamps, self._door = [], {}, None
            factory, self._own_factory = self._own_factory, None
        for device in (*devices, factory):
            if device is not None:
                try:
                    device.close()
                except Exception:  # noqa: BLE001, S112 - each pin library raises its own; the others still have to go
                    continue

    def _make_factory(self) -> Any:
        import importlib

        module, _, name = _FACTORIES[self._table.pin_factory].partition(":")
        self._own_factory = getattr(importlib.import_module(module), name)()
        return self._own_factory

    def _teller(self, contact: Contact) -> Callable[[], None]:
        return lambda: self._on_contact(contact)


def _translated(error: Exception, table: EnclosureTable) -> DeviceError:
    """Each pin library has errors of its own, with no root: their text is what there is."""
    said = " ".join(str(error).split())[:160] or type(error).__name__
    if isinstance(error, ImportError):
        return DeviceError(
            f"The pin factory '{table.pin_factory}' is not installed ({said}).",
            next_step="Install rpi-lgpio (extra 'pi'), or set enclosure.pin_factory.",
        )
    return DeviceError(
        f"The enclosure's pins cannot be used: {said}.",
        next_step="Check [enclosure] against the wiring, that no other program holds a pin, and the group gpio.",
    )
