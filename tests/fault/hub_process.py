"""The hub's receiving end as a process of its own: the real ingest over the real database, on the real broker.

What the hub does with a packet afterwards (search, adjudication) is not part of the transfer, so packets are settled
here as soon as they are committed; that writes the second, freeing receipt into the outbox, as the hub's intake does.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from sqlalchemy import select

from contract.channel_mqtt import MqttChannel
from contract.clock import SystemClock
from contract.transfer import Observer, unobserved
from hub.context import HubContext
from hub.ingest import Ingest
from hub.ingest_service import IngestService, hub_will
from hub.packets import PacketBook
from hub.parts import Quota
from hub.schema.tables import Packet
from tests.fault.conductor import StepReporter
from tests.fault.rig import Rig
from tests.fault.rig_hub import hub_context, store_of

SETTLE_INTERVAL_S = 0.1
QUOTA = Quota(parts_max=64)


def settle_all(context: HubContext, book: PacketBook) -> int:
    """Settle every packet that is not settled yet; returns how many."""
    with context.database.transaction() as session:
        waiting = list(session.scalars(select(Packet).where(Packet.settled_ms.is_(None))))
        for packet in waiting:
            book.settle(session, packet)
    return len(waiting)


async def serve(rig: Rig, observe: Observer) -> None:
    """Serve until killed."""
    clock = SystemClock()
    context = hub_context(rig, clock)
    book, keys = store_of(context)
    context.blob_dir.mkdir(exist_ok=True)
    ingest = Ingest(
        context.blob_dir, book, keys, context.keys.packet, context.keys.statement, clock, quota=QUOTA, observe=observe
    )
    channel = MqttChannel(rig.mqtt("hub"), lambda: hub_will(clock))
    service = IngestService(channel, ingest, clock)

    async def settle() -> None:
        while True:
            if await asyncio.to_thread(settle_all, context, book):
                service.publish_receipts()
            await asyncio.sleep(SETTLE_INTERVAL_S)

    async with channel:
        await asyncio.gather(service.run(), settle(), channel.closed())


def main() -> None:
    """Run the hub's end for a world in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--conductor", type=Path)
    arguments = parser.parse_args()
    observe: Observer = StepReporter(arguments.conductor, "hub").report if arguments.conductor else unobserved
    asyncio.run(serve(Rig(arguments.world, arguments.port), observe))


if __name__ == "__main__":
    main()
