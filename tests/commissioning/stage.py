"""A world as 'setup' wrote it, with its broker, its hub and technicians on loopback: commissioning is tried on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from contract.channel_mqtt import Backoff, MqttSettings
from contract.clock import Clock
from hub.config import load_settings
from hub.service import HubService
from provisioning.line import HubLine, Patience
from provisioning.setup import set_up
from provisioning.technician_identity import load_identity
from provisioning.world import Listener, Operator, Site, Unit, Updates, World
from tests.empty_databases import empty_sqlite
from tests.fault.rig_world import broker_at
from virtual.broker import PrivateBroker, free_port, free_ports

SITE, OTHER_SITE = "9901-A", "9902-B"
UNIT = "desk-a1"
TECHNICIAN, LOCAL = "tek-andi", "tek-lokal"
FAST = Backoff(first_s=0.05, max_s=0.3)
PATIENCE = Patience(total_s=60, repeat_s=0.5)


@dataclass
class Stage:
    """The folder that setup wrote, and the broker on it."""

    folder: Path
    broker: PrivateBroker
    ports: tuple[int, ...]
    service: HubService | None = None

    def line(self, technician: str = TECHNICIAN, patience: Patience = PATIENCE) -> HubLine:
        """A technician's line."""
        return HubLine(load_identity(self.folder / "technicians" / technician), lambda _: None, patience)

    def unit_settings(self, unit: str = UNIT) -> MqttSettings:
        """How a unit that setup made reaches the broker."""
        folder = self.folder / "units" / unit
        return MqttSettings(
            "127.0.0.1", self.broker.port, folder / "ca.crt", folder / "tls.crt", folder / "tls.key", unit, backoff=FAST
        )

    def hub_settings(self) -> MqttSettings:
        """How the hub reaches the broker."""
        folder = self.folder / "hub"
        return MqttSettings(
            "127.0.0.1",
            self.broker.port,
            folder / "ca.crt",
            folder / "tls.crt",
            folder / "tls.key",
            "hub",
            backoff=FAST,
        )

    @asynccontextmanager
    async def hub(self, clock: Clock | None = None) -> AsyncIterator[HubService]:
        """The hub, running."""
        settings = load_settings(self.folder / "hub" / "hub.toml")
        console = settings.console.model_copy(update={"port": free_port()})
        service = self.service = HubService(settings.model_copy(update={"console": console}), clock)
        task = asyncio.create_task(service.run())
        try:
            yield service
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def make_stage(
    folder: Path, now: datetime | None = None, *, units: tuple[Unit, ...] = (), operators: tuple[Operator, ...] = ()
) -> Stage:
    """Write a world with one unit, two sites and two technicians, one of whom works at one site only; and more."""
    ports = free_ports(4)
    world = World(
        name="Uji",
        broker=broker_at(ports),
        console=Listener(port=free_port()),
        sites=(
            Site(code=SITE, name="Kecamatan Uji", region="9901"),
            Site(code=OTHER_SITE, name="Kecamatan Lain", region="9902"),
        ),
        units=(Unit(id=UNIT, site=SITE, role="desk", screen_port=1), *units),
        operators=(
            Operator(id=TECHNICIAN, name="Andi", roles=("technician",), sites=("*",)),
            Operator(id=LOCAL, name="Lia", roles=("technician",), sites=(OTHER_SITE,)),
            *operators,
        ),
        updates=Updates(targets_keys=2, targets_threshold=1),  # most tests are not about who signs
    )
    set_up(world, folder, folder / "world", now or datetime.now(UTC), lambda _: None)
    (folder / "world" / "hub" / "hub.db").write_bytes(empty_sqlite())
    conf = folder / "world" / "broker" / "mosquitto.conf"
    return Stage(folder / "world", PrivateBroker(conf, folder / "broker.log"), tuple(ports))


async def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> float:
    """Wait until a condition holds; returns the seconds that it took. Fails the test where it never does."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < timeout_s, "it never came to that"
        await asyncio.sleep(0.02)
    return time.monotonic() - start
