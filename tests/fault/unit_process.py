"""A unit that captures and sends: the real spool and uplink as a process of its own.

It asks the campaign which capture comes next and reports each one as soon as the spool has acknowledged it. After a
restart it looks into the spool for captures that became durable just before it died, as the agent does.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path

from contract.channel_mqtt import MqttChannel
from contract.clock import SystemClock
from contract.identifiers import pid_of
from edge.presence import Presence
from edge.spool import Spool
from edge.uplink import Uplink
from edge.uplink_settings import UplinkSettings
from tests.fault.conductor import StepReporter
from tests.fault.rig import SITE, UNIT, Rig, capture_id, payload_sizes, sealed_capture

PENDING_MAX = 6
POLL_INTERVAL_S = 0.01
SETTINGS = UplinkSettings(
    unit=UNIT,
    site=SITE,
    backoff_first_s=0.05,
    backoff_max_s=0.4,
    answer_timeout_s=1.0,
    release_check_s=1.0,
    idle_s=0.2,
)


async def capture_all(rig: Rig, spool: Spool, uplink: Uplink, reporter: StepReporter, seed: int) -> None:
    """Make captures until the campaign wants no more, a few ahead of the uplink."""
    sizes = payload_sizes(seed)
    survived = {spool.label(packet.pid).subject_id: packet.pid for packet in spool.all()}
    while (number := int(await asyncio.to_thread(reporter.ask, "next"))) >= 0:
        pid = survived.get(capture_id(number))
        if pid is None:
            sealed = sealed_capture(rig, number, sizes(number))
            await asyncio.to_thread(reporter.ask, f"sealed {number} {pid_of(sealed)} {len(sealed)}")
            pid = await asyncio.to_thread(_keep, spool, sealed, capture_id(number))
        await asyncio.to_thread(reporter.ask, f"captured {number} {pid}")
        uplink.wake()
    await asyncio.to_thread(_await_empty, spool)
    await asyncio.to_thread(reporter.ask, "empty")


def _keep(spool: Spool, sealed: bytes, subject_id: str) -> str:
    """Put a packet into the spool, once the uplink has caught up with those before."""
    while len(spool.pending()) >= PENDING_MAX:
        time.sleep(POLL_INTERVAL_S)
    return spool.put(sealed, kind="enrolment", subject_id=subject_id)


def _await_empty(spool: Spool) -> None:
    while spool.counts().total:
        time.sleep(POLL_INTERVAL_S)


async def work(rig: Rig, reporter: StepReporter, seed: int) -> None:
    """Capture and send until the spool is empty for good."""
    clock = SystemClock()
    folder = rig.folder / "units" / UNIT / "data"
    folder.mkdir(exist_ok=True)
    spool = Spool(folder / "spool", rig.store_key(), clock, 10**9, 10**6, observe=reporter.report)
    presence = Presence(UNIT, "fault campaign", clock)
    channel = MqttChannel(rig.mqtt(UNIT), presence.will)
    presence.attach(channel)
    uplink = Uplink(channel, spool, SETTINGS, rig.hub_statement(), clock, observe=reporter.report)
    async with channel:
        sending = asyncio.create_task(uplink.run())
        capturing = asyncio.create_task(capture_all(rig, spool, uplink, reporter, seed))
        await asyncio.wait([sending, capturing], return_when=asyncio.FIRST_COMPLETED)
        sending.cancel()
        await capturing


def main() -> None:
    """Run the unit for a world in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("conductor", type=Path)
    parser.add_argument("seed", type=int)
    arguments = parser.parse_args()
    reporter = StepReporter(arguments.conductor, "unit")
    asyncio.run(work(Rig(arguments.world, arguments.port), reporter, arguments.seed))


if __name__ == "__main__":
    main()
