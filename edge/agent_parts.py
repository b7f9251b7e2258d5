"""The unit's parts that are made of its configuration alone; edge.agent wires them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any

import structlog

from contract.channel_mqtt import MqttChannel, MqttSettings
from contract.clock import Clock
from contract.credential import Credential
from contract.durable_files import DurableFolder
from edge.chip_desk import ReaderDesk, ReaderProof
from edge.comparison_worker import ComparisonWorker
from edge.config import UnitConfig
from edge.desk import CAPTURE_ROLES, HANDOVER_ROLES, Desk
from edge.device_bench import DeviceBench
from edge.keys import UnitKeys
from edge.presence import Presence
from edge.queue_numbers import QueueNumbers
from edge.remote_test import RemoteTest
from edge.screens.app import make_app
from edge.screens.guard import make_token
from edge.screens.server import PageServer, bind, page_server
from edge.sealed_store import SealedStore
from edge.site_gallery import SiteGallery
from edge.spool import Spool
from edge.standing import Standing, make_standing
from edge.status import UnitStatus
from edge.ticket_desk import TicketDesk
from edge.tickets import Place

log = structlog.get_logger("edge.agent")


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do something long; False where it was cancelled, since the agent was asked to stop meanwhile."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        return working.done()
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def start_search(worker: ComparisonWorker, gallery: SiteGallery) -> None:
    """The worker, which compiles its kernels where nobody has yet, and the site's gallery in it."""
    await worker.start()
    log.info("site gallery loaded", captures=await gallery.load())


def line_settings(config: UnitConfig) -> MqttSettings:
    """How this unit reaches its broker."""
    broker = config.broker
    return MqttSettings(
        host=broker.host,
        port=broker.port,
        ca=broker.ca,
        certificate=broker.certificate,
        key=broker.key,
        client_id=config.unit.id,
        keepalive_s=broker.keepalive_s,
    )


def make_line(
    config: UnitConfig, presence: Presence, keys: UnitKeys, clock: Clock, software: str
) -> tuple[MqttChannel, Standing]:
    """The line to the broker, and what keeps the unit's certificate good for it."""
    credential = Credential(line_settings(config), clock, DurableFolder(config.broker.certificate.parent))
    channel = MqttChannel(credential.settings, presence.will)
    return channel, make_standing(config, channel, credential, keys.hub_statement, clock, software)


def open_spool(config: UnitConfig, keys: UnitKeys, clock: Clock) -> Spool:
    """The unit's spool; what was set aside before this start gets another chance."""
    spool = Spool(config.unit.data_dir / "spool", keys.store, clock, config.spool.bytes_max, config.spool.packets_max)
    if released := spool.release_held():
        log.info("packets that were set aside are tried again", count=released)
    return spool


def make_chip_desk(config: UnitConfig, keys: UnitKeys, bench: DeviceBench) -> ReaderDesk | None:
    """The handover's reader, where this unit has one and the key to read chips with."""
    if keys.sam is None or bench.card is None or config.unit.role == "station":
        return None
    return ReaderDesk(bench.card, keys.sam, keys.issuer, config.policy.card_timeout_s)


def make_remote_test(
    config: UnitConfig, bench: DeviceBench, worker: ComparisonWorker, desk: Desk, status: UnitStatus, clock: Clock
) -> RemoteTest:
    """The self-test for a technician who is not here, on what this unit has."""
    watches = {"enclosure": status.enclosure, "controller": status.controller}
    return RemoteTest(config.devices, bench, worker, desk.held_by, clock, watches=watches)


def make_card_proof(config: UnitConfig, keys: UnitKeys, bench: DeviceBench) -> ReaderProof | None:
    """Officers' own cards as proof of who they are, where this unit has a reader for people and the key to it."""
    if keys.sam is None or bench.card is None or config.unit.role == "station":
        return None
    return ReaderProof(bench.card, keys.sam, keys.issuer, config.policy.card_timeout_s)


def make_ticket_desk(config: UnitConfig, bench: DeviceBench, store: SealedStore, clock: Clock) -> TicketDesk | None:
    """Queue numbers and the ticket printer, where people come to this unit."""
    prefixes = {
        service: prefix
        for service, prefix, roles in (
            ("capture", config.queue.capture_prefix, CAPTURE_ROLES),
            ("handover", config.queue.handover_prefix, HANDOVER_ROLES),
        )
        if config.unit.role in roles
    }
    if not prefixes:
        return None
    place = Place(config.unit.site, config.unit.id, config.queue.utc_offset_h)
    return TicketDesk(bench.ticket, place, QueueNumbers(store, clock, prefixes, place.day))


def make_web_server(config: UnitConfig, desk: Desk) -> tuple[PageServer, socket.socket]:
    """The pages' server and its bound socket. Raises DeviceError where the port is taken."""
    listener = bind(config.screen.host, config.screen.port, "screen.port in unit.toml")
    return page_server(make_app(desk, make_token(config.unit.data_dir))), listener
