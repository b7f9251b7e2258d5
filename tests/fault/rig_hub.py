"""The hub's side of a world for transfer faults: its database, migrated and with the fleet in it, and its keys."""

from __future__ import annotations

from contract.clock import Clock, SystemClock
from hub.config import load_settings
from hub.context import HubContext, load_keys
from hub.fleet import load_fleet
from hub.packets import PacketBook, UnitKeys
from hub.records import Records
from hub.register import merge_fleet
from hub.schema.database import Database, Durability
from hub.vault import Vault
from tests.fault.rig import Rig


def hub_context(rig: Rig, clock: Clock | None = None, durability: Durability = "FULL") -> HubContext:
    """The hub's database, migrated and with the fleet in it, and its keys."""
    settings = load_settings(rig.folder / "hub" / "hub.toml")
    keys = load_keys(settings)
    database = Database(settings.database_url, durability)
    database.upgrade()
    context = HubContext(settings, database, Vault(keys.blob), keys, clock or SystemClock())
    with database.transaction() as session:
        merge_fleet(session, context, load_fleet(settings.path(settings.fleet.fleet)))
    return context


def store_of(context: HubContext) -> tuple[PacketBook, UnitKeys]:
    """The hub's own packet book and key ring over a context."""
    return PacketBook(context, Records(context.clock)), UnitKeys(context)
