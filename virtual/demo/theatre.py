"""All the demo runs on, started in order and taken down again: broker, hub, agents, devices, readers, printer."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from contract.errors import DeviceError
from virtual.broker import PrivateBroker
from virtual.card_box import CardBox
from virtual.card_reader_rig import CardReaderRig, missing_for_rig
from virtual.card_slot import SlotControl
from virtual.demo.cast import HANDOVER, STATION, Cast
from virtual.demo.chronicle import Chronicle
from virtual.demo.hub_client import HubClient
from virtual.demo.processes import Processes, accepts, until
from virtual.demo.stage import Stage
from virtual.demo.unit_client import UnitClient
from virtual.demo.world import BLANKS, UNITS, Ports, choose_ports, write_devices, write_world
from virtual.link import Link
from virtual.printer import PrinterRig

START_TIMEOUT_S = 40.0
# A scanner window that holds what optical scanners give; real prints of another size are centred in it.
WINDOW_PX = (374, 388)


class Theatre:
    """The running world of one demo. An asynchronous context manager."""

    def __init__(self, cast: Cast, folder: Path, seed: int, chronicle: Chronicle) -> None:
        self.cast = cast
        self.folder = folder
        self.seed = seed
        self.chronicle = chronicle
        self.ports: Ports = choose_ports()
        self.world = folder / "world"
        self.wire = Path(tempfile.mkdtemp(prefix="rekam-"))
        self.processes = Processes(folder / "logs")
        self.links: dict[str, Link] = {}
        self.units: dict[str, UnitClient] = {}
        self.slots: dict[str, SlotControl] = {}
        self.box = CardBox(folder / "cards")
        self.printer = PrinterRig(self.wire / "printer", self.ports.printer)
        self._stack = AsyncExitStack()
        self.broker: PrivateBroker
        self.stage: Stage
        self.hub: HubClient

    async def __aenter__(self) -> Self:
        try:
            await self._raise_curtain()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def start_hub(self) -> None:
        """Start the hub, again after a kill, and wait until its console answers."""
        self.processes.start_module("hub", "hub", "run", "--config", str(self.world / "hub" / "hub.toml"))
        await until("the hub's console", lambda: accepts(self.ports.console), START_TIMEOUT_S, self.processes)

    def papers(self, unit: str) -> list[Path]:
        """What a unit's ticket printer has printed, in its order."""
        return sorted((self.folder / "papers" / unit).glob("[0-9]*.png"))

    def kill_hub(self) -> None:
        """SIGKILL the hub; it is expected to be away until `start_hub`."""
        self.processes.running.pop("hub").kill()

    async def _raise_curtain(self) -> None:
        self._stack.callback(shutil.rmtree, self.wire, ignore_errors=True)
        self._stack.callback(self.processes.stop_all)
        self._set_up(self._start_readers())
        self._start_devices()
        self._stack.enter_context(self.printer)
        self.broker = PrivateBroker(self.world / "broker" / "mosquitto.conf", self.folder / "logs" / "broker.log")
        self.broker.start()
        self._stack.callback(self.broker.stop)
        for unit in UNITS:
            link = self.links[unit] = Link(self.ports.links[unit], self.ports.broker[0])
            await link.start()
            self._stack.push_async_callback(link.stop)
        await self.start_hub()
        self.hub = await self._stack.enter_async_context(HubClient(self.ports.console, self.folder))
        for unit in UNITS:
            self.processes.start_module(unit, "edge", "run", "--config", str(self.world / f"units/{unit}/unit.toml"))
        for unit in UNITS:
            await self._meet(unit)

    def _start_readers(self) -> Mapping[str, Mapping[str, str]]:
        """A card reader at the station and at the handover desk; returns their [devices.card] tables."""
        without = missing_for_rig()
        tables: dict[str, Mapping[str, str]] = {}
        for unit in (STATION, HANDOVER):
            place = self.wire / unit
            if without:
                tables[unit] = {"driver": "virtual.card_direct:DirectCardReader", "socket": str(place / "slot.direct")}
                continue
            place.mkdir(parents=True)
            rig = self._stack.enter_context(CardReaderRig(f"demo-{unit}", place, self.folder / "cards"))
            self.slots[unit] = rig.control
            tables[unit] = {"driver": "pcsc", "reader": rig.reader, "socket": str(rig.socket)}
        how = "pcscd with vsmartcard's virtual reader, in a network namespace a unit; the card is a program of its own"
        if without:
            how = f"attached directly over a socket, without pcscd ({without}); the card is a program of its own"
            for unit in (STATION, HANDOVER):
                self._start_direct_slot(unit)
        self.chronicle.simulated.append(("smart card and reader", how))
        return tables

    def _start_direct_slot(self, unit: str) -> None:
        place = self.wire / unit
        place.mkdir(parents=True, exist_ok=True)
        arguments = ("--cards", str(self.folder / "cards"), "--control", str(place / "slot.control"))
        self.processes.start_module(
            f"slot-{unit}", "virtual.card_slot", "serve", *arguments, "--direct", str(place / "slot.direct")
        )
        self.slots[unit] = SlotControl(place / "slot.control")
        self.slots[unit].wait_until_up(START_TIMEOUT_S)

    def _set_up(self, cards: Mapping[str, Mapping[str, str]]) -> None:
        world_file = write_world(self.cast, self.folder, self.wire, self.ports, cards, WINDOW_PX[1])
        done = subprocess.run(
            (sys.executable, "-m", "provisioning", "setup", str(world_file), "--out", str(self.world)),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise DeviceError(f"The setup command failed.\n{done.stderr}", next_step=f"Look at {world_file}.")
        self.box.add_blanks(BLANKS, (self.world / "hub" / "sam.key").read_bytes(), self.seed)

    def _start_devices(self) -> None:
        path = self.folder / "devices.toml"
        write_devices(self.wire, self.ports, path, WINDOW_PX, self.folder / "papers")
        self.processes.start_module("devices", "virtual.devices", "--config", str(path))
        self.stage = Stage(self.wire / "devices.sock", self.cast, self.slots)

    async def _meet(self, unit: str) -> None:
        """Wait until an agent answers and knows its register and its operators."""
        port, data = self.ports.screens[unit], self.world / "units" / unit / "data"
        up = lambda: (data / "screen.token").exists() and accepts(port)  # noqa: E731 - a condition, named for its reader
        await until(f"the screen of {unit}", up, START_TIMEOUT_S, self.processes)
        client = self.units[unit] = await self._stack.enter_async_context(UnitClient(unit, port, data))
        await client.wait_for_roster(START_TIMEOUT_S)
