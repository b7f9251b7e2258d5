"""The box around the unit, tied to its work: lamps follow the step, contacts become events, the temperature is watched.

A box that fails shows as such in the status and stops nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from contract.errors import DeviceError, RekamError
from edge.alarms import AlarmBook
from edge.config import EnclosureTable
from edge.enclosure import Contact, Enclosure, WorkView, lamps_of
from edge.sensors.interface import Climate, ClimateSensor
from edge.sensors.worker import DeviceWorker

CLIMATE_TIMEOUT_S = 5.0
COOLED_C = 5.0
SOURCE = "enclosure"
ALARMING = frozenset({Contact.DOOR_OPENED, Contact.DOOR_CLOSED, Contact.HELP})

log = structlog.get_logger("edge.enclosure")


class EnclosureWatch:
    """Made and used on the event loop. note: a line for the diary; cancel: what the cancel button does."""

    def __init__(
        self,
        table: EnclosureTable,
        alarms: AlarmBook,
        climate: DeviceWorker[ClimateSensor] | None,
        *,
        note: Callable[[str], None],
        cancel: Callable[[], None],
        pin_factory: Any | None = None,
    ) -> None:
        self._table, self._alarms, self._climate_sensor = table, alarms, climate
        self._note, self._cancel = note, cancel
        self._loop = asyncio.get_running_loop()
        self._enclosure = Enclosure(table, self._from_pins, pin_factory=pin_factory) if table.has_pins else None
        self._contacts: asyncio.Queue[Contact] = asyncio.Queue(maxsize=100)
        self._problem = ""
        self._climate: Climate | None = None
        self._hot = False

    def open(self) -> None:
        """Take the pins; what fails is kept for the status."""
        if self._enclosure is None:
            return
        try:
            self._enclosure.open()
            self._enclosure.show(lamps_of(None))
        except DeviceError as error:
            self._fail(error)
        else:
            self._problem = ""
            if self._enclosure.door_open:  # opened while nobody looked
                self._take(Contact.DOOR_OPENED)

    def show(self, work: WorkView | None) -> None:
        """Light the lamps of the work as it stands."""
        if self._enclosure is not None and not self._problem:
            try:
                self._enclosure.show(lamps_of(work))
            except DeviceError as error:
                self._fail(error)

    def close(self) -> None:
        """Lamps dark, pins free."""
        if self._enclosure is not None:
            self._enclosure.close()

    def status(self) -> dict[str, Any]:
        """For the status page; nothing where no box is configured."""
        climate = self._climate
        return {
            "configured": self._enclosure is not None or self._climate_sensor is not None,
            "door": {None: "", True: "open", False: "closed"}[self._enclosure.door_open if self._enclosure else None],
            "temperature_c": round(climate.temperature_c, 1) if climate else None,
            "humidity_percent": round(climate.humidity_percent) if climate else None,
            "alarms_waiting": self._alarms.waiting,
            "problem": self._problem,
        }

    async def run(self) -> None:
        """Serve contacts and watch the temperature until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._serve_contacts())
            if self._climate_sensor is not None:
                tasks.create_task(self._watch_climate(self._climate_sensor))

    async def _serve_contacts(self) -> None:
        while True:
            contact = await self._contacts.get()
            self._note(contact.value)
            if contact is Contact.CANCEL:
                self._cancel()
            if contact in ALARMING:
                await self._alarm(contact.value)

    async def _watch_climate(self, sensor: DeviceWorker[ClimateSensor]) -> None:
        while True:
            await self.measure(sensor)
            await asyncio.sleep(self._table.climate_period_s)

    async def measure(self, sensor: DeviceWorker[ClimateSensor]) -> None:
        """Measure once; one alarm when it gets too hot, the next only after it has cooled down."""
        try:
            found = await sensor.run(lambda device, _cancel: device.read(), CLIMATE_TIMEOUT_S)
        except RekamError as error:
            self._climate = None
            log.warning("temperature not measured", **error.diagnostics())
            return
        self._climate = found
        if not self._hot and found.temperature_c > self._table.temperature_max_c:
            self._hot = True
            self._note("too-hot")
            await self._alarm("too-hot", f"{found.temperature_c:.1f} °C")
        elif found.temperature_c < self._table.temperature_max_c - COOLED_C:
            self._hot = False

    async def _alarm(self, kind: str, detail: str = "") -> None:
        try:
            await self._alarms.note(kind, SOURCE, detail)
        except RekamError as error:
            log.warning("alarm not kept", **error.diagnostics())

    def _from_pins(self, contact: Contact) -> None:
        """On gpiozero's thread."""
        try:
            self._loop.call_soon_threadsafe(self._take, contact)
        except RuntimeError:  # the loop has ended: so has the agent
            return

    def _take(self, contact: Contact) -> None:
        try:
            self._contacts.put_nowait(contact)
        except asyncio.QueueFull:
            log.warning("contact dropped: the queue is full", contact=contact.value)

    def _fail(self, error: DeviceError) -> None:
        self._problem = f"{error.message} {error.next_step}"
        log.warning("enclosure failed", **error.diagnostics())
