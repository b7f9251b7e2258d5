"""Sets up a world for transfer faults with the product's own setup command."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from provisioning.setup import set_up
from provisioning.world import Broker, Listener, Site, Unit, World
from tests.fault.rig import OTHER_UNIT, SITE, UNIT, Rig
from virtual.broker import free_port, free_ports


def broker_at(ports: Sequence[int]) -> Broker:
    """A broker with its four doors at these ports."""
    service, claims, renewals, control = ports
    return Broker(port=service, claim_port=claims, renewal_port=renewals, control_port=control)


def make_world(folder: Path, *, packet_bytes_max: int | None = None) -> Rig:
    """Run the setup for two units at one site. packet_bytes_max: a broker that takes less than usual."""
    ports = free_ports(4)
    world = World(
        name="Transfer",
        broker=broker_at(ports),
        console=Listener(port=free_port()),
        sites=(Site(code=SITE, name="Kecamatan Contoh", region="9901"),),
        units=tuple(Unit(id=name, site=SITE, role="desk", screen_port=1) for name in (UNIT, OTHER_UNIT)),
        operators=(),
    )
    set_up(world, folder, folder / "world", datetime.now(UTC), lambda _progress: None)
    rig = Rig(folder / "world", ports[0])
    if packet_bytes_max is not None:
        limit_broker(rig, packet_bytes_max)
    return rig


def limit_broker(rig: Rig, packet_bytes_max: int) -> None:
    """Make the broker take packets of at most so many bytes."""
    configuration = rig.folder / "broker" / "mosquitto.conf"
    lines = [
        f"max_packet_size {packet_bytes_max}" if line.startswith("max_packet_size") else line
        for line in configuration.read_text(encoding="utf-8").splitlines()
    ]
    configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
