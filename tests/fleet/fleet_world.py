"""Worlds of many units, written by the product's own setup; their hub knows a configuration for each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from contract.certificates import certify_client, new_key
from contract.clock import SystemClock
from hub import certificates
from hub.central import assemble
from hub.certificates import CertificateState
from hub.config import load_settings
from hub.context import HubContext, load_keys
from hub.fleet import load_fleet, load_register
from hub.issuers import load_issuers
from hub.schema.database import Database
from hub.schema.tables import Unit
from hub.unit_setup import UnitSetups
from hub.vault import Vault
from provisioning.setup import set_up
from provisioning.world import Listener, Operator, Site, World
from provisioning.world import Unit as WorldUnit
from tests.commissioning.stage import Stage
from tests.fault.rig_world import broker_at
from virtual.broker import PrivateBroker, free_ports

UNITS_A_SITE = 10
TECHNICIAN, SELDOM, OFFICER, SECRET = "tek-andi", "tek-budi", "dc-1", "rahasia kampanye"


def make_fleet(folder: Path, units: int, say: Callable[[str], None], now: datetime | None = None) -> Stage:
    """A world with that many units, ten a site, an officer and a technician; nothing runs yet."""
    *ports, console = free_ports(5)
    sites = [f"99{1 + number // 20:02d}-{number % 20:02d}" for number in range(-(-units // UNITS_A_SITE))]
    (folder / "secret.txt").write_text(SECRET, encoding="utf-8")
    world = World(
        name="Armada",
        broker=broker_at(ports),
        console=Listener(port=console),
        sites=tuple(
            Site(
                code=code,
                name=f"Kecamatan {code}",
                region=code[:4],
                latitude=-6.5 + 0.11 * (number % 10),
                longitude=106.0 + 0.17 * (number // 10) + 0.05 * (number % 3),
            )
            for number, code in enumerate(sites)
        ),
        units=tuple(
            WorldUnit(id=f"unit-{number:04d}", site=sites[number // UNITS_A_SITE], role="desk", screen_port=1)
            for number in range(units)
        ),
        operators=(
            Operator(id=TECHNICIAN, name="Andi", roles=("technician",), sites=("*",)),
            Operator(id=SELDOM, name="Budi", roles=("technician",), sites=("*",)),
            Operator(
                id=OFFICER, name="Dewi", roles=("dc-officer",), sites=("*",), console_secret_file=Path("secret.txt")
            ),
            Operator(id="op", name="Siti", roles=("operator",), sites=("*",)),
        ),
    )
    say(f"keys and certificates of {units} units")
    set_up(world, folder, folder / "world", now or datetime.now(UTC), lambda _: None)
    conf = folder / "world" / "broker" / "mosquitto.conf"
    return Stage(folder / "world", PrivateBroker(conf, folder / "broker.log"), tuple(ports))


def prepare_hub(stage: Stage, certificates_each: int, say: Callable[[str], None]) -> None:
    """Fill the hub's database before it starts: the fleet, a configuration for each unit, its former certificates."""
    settings = load_settings(stage.folder / "hub" / "hub.toml")
    keys = load_keys(settings)
    context = HubContext(settings, Database(settings.database_url), Vault(keys.blob), keys, SystemClock())
    context.database.upgrade()
    central = assemble(context)
    say("the hub's database")
    fleet = load_fleet(settings.path(settings.fleet.fleet))
    central.enrol_fleet(fleet, load_register(settings.path(settings.fleet.register_file)))
    setups = UnitSetups(context, central.fleet)
    with context.database.transaction() as session:
        for unit in session.query(Unit).order_by(Unit.id):
            setups.desire(session, unit, {"spool": {"packets_max": 1000}}, f"S-{unit.id}")
    _add_former(context, certificates_each - 1)
    context.database.close()


def _add_former(context: HubContext, each: int) -> None:
    """Certificates that each unit had before the present one, twenty days apart, as renewal leaves them."""
    settings, now = context.settings, datetime.now(UTC)
    assert settings.authority is not None
    issuer = load_issuers(settings, settings.authority).issuing
    key = new_key().public_key()
    with context.database.transaction() as session:
        for (unit,) in session.query(Unit.id):
            for age in range(1, each + 1):
                former = certify_client(issuer, unit, key, now - age * timedelta(days=20))
                row = certificates.enter(session, former, CertificateState.SUPERSEDED, context.clock.wall_ms())
                row.issued_ms -= age * 20 * 86_400_000
                row.ended_ms = row.issued_ms + 20 * 86_400_000
