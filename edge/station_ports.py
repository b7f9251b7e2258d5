"""What the personalisation desk asks of the rest of the station: devices, officers, and who reports its results."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from contract.packet import PersonalisationBody
from edge.procedure import Fields
from edge.sensors.interface import CardReader
from edge.station_card import StationCard

if TYPE_CHECKING:
    from edge.card_printer import CardPrinter

T = TypeVar("T")


class ReaderPort(Protocol):
    """The card reader on its own thread; edge.sensors.worker.DeviceWorker is one."""

    async def run(self, call: Callable[[CardReader, threading.Event], T], timeout_s: float) -> T:
        """Run `call` with the reader. Raises what the call raises, and DeviceError when the deadline passes."""
        ...

    def cancel(self) -> None:
        """End the call that runs."""
        ...


class Officers(Protocol):
    """Who may work here."""

    async def authorise(self, operator: str, role: str, fields: Fields) -> str:
        """The operator's id, once they proved who they are and hold the role. Raises Refused or Retry."""
        ...


Report = Callable[[str, PersonalisationBody], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class About:
    """Whose card a job makes, for the list of jobs: the page shows the end of the NIK only."""

    nik: str
    name: str
    card_number: str

    def shown(self) -> dict[str, str]:
        """What the page may know before the operator has entered the NIK."""
        return {"name": self.name, "nik_end": self.nik[-4:], "card_number": self.card_number}


@dataclass(frozen=True, slots=True)
class StationDevices:
    """What the station works with."""

    reader: ReaderPort
    printer: CardPrinter
    card: StationCard
