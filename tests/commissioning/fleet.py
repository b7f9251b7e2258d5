"""The fleet campaign: boxes into service at once, live sessions put out, over a real broker; writes what it measured.

The hub is a process of its own, as it is in service; the boxes run the agent's own commissioning in this one, each with
its folder, keys, claim and connections. `make fleet` runs it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import structlog
import typer

from contract.channel_mqtt import MqttChannel, MqttSettings
from contract.technician import DepartureResult, KnockRow, StatusOrder, StatusResult, UnitOrder, Verb
from edge.commissioning import Pace
from provisioning.line import HubLine, Patience
from tests.commissioning.boxes import approval, knocking, make_commissioner, put_claims
from tests.commissioning.stage import FAST, Stage, make_stage, until

SERVICE_LIMIT_S, REVOCATION_LIMIT_S = 60.0, 5.0
REVOCATIONS = 10
POLL_S = 0.25


@dataclass
class Measured:
    """What a campaign found, in seconds."""

    units: int
    to_service_s: list[float]
    revocation_s: list[float]
    hub_cpu_s: float
    hub_rss_mib: float

    def holds(self) -> bool:
        """Whether every figure is within what was asked."""
        return max(self.to_service_s) <= SERVICE_LIMIT_S and max(self.revocation_s) <= REVOCATION_LIMIT_S

    def lines(self) -> list[str]:
        """The figures in words."""
        service, gone = sorted(self.to_service_s), sorted(self.revocation_s)
        return [
            f"{self.units} boxes at once, approval to in service: median {statistics.median(service):.1f} s, "
            f"slowest {service[-1]:.1f} s (asked: <= {SERVICE_LIMIT_S:.0f} s)",
            f"{len(gone)} live sessions revoked, order to session gone: median {statistics.median(gone):.2f} s, "
            f"slowest {gone[-1]:.2f} s (asked: <= {REVOCATION_LIMIT_S:.0f} s); none was let in again",
            f"hub: {self.hub_cpu_s:.1f} s of CPU, {self.hub_rss_mib:.0f} MiB",
        ]


@asynccontextmanager
async def hub_process(stage: Stage, log: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    """The hub as a program."""
    command = [sys.executable, "-m", "hub", "run", "--config", str(stage.folder / "hub" / "hub.toml")]
    with log.open("ab") as sink:
        process = await asyncio.to_thread(subprocess.Popen, command, stdout=sink, stderr=sink)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, 60)


async def commission(stage: Stage, line: HubLine, folder: Path, count: int) -> list[float]:
    """Bring that many boxes into service at once; seconds from each approval's reply to its being in service."""
    media = [folder / f"media-{number}" for number in range(count)]
    await put_claims(line, media)
    pace = Pace(repeat_s=1.0, media_s=1.0)
    boxes = [
        make_commissioner(folder / f"box-{number}", f"S-{number:04d}", media[number], pace=pace)
        for number in range(count)
    ]
    running = [asyncio.create_task(box.run()) for box in boxes]
    rows = await knocking(line, count)
    print(f"{count} boxes knock", flush=True)
    approved: dict[str, float] = {}
    for number, row in enumerate(sorted(rows, key=lambda row: row.serial)):
        await _approve(line, row, f"desk-{number:03d}", approved)
    arrived = await _arrivals(line, set(approved))
    await asyncio.gather(*running)
    return [arrived[unit] - at for unit, at in approved.items()]


async def _approve(line: HubLine, row: KnockRow, unit: str, approved: dict[str, float]) -> None:
    await line.tell(Verb.APPROVE, approval(row, unit))
    approved[unit] = time.monotonic()


async def _arrivals(line: HubLine, wanted: set[str]) -> dict[str, float]:
    """When each unit was first seen in service by a technician's tool."""
    arrived: dict[str, float] = {}
    while set(arrived) != wanted:
        page, more = 0, True
        while more:
            found = await line.ask(Verb.STATUS, StatusOrder(page=page), StatusResult)
            now = time.monotonic()
            for row in found.rows:
                if row.unit in wanted and row.state == "in service":
                    arrived.setdefault(row.unit, now)
            page, more = page + 1, found.more
        await asyncio.sleep(POLL_S)
    return arrived


async def revoke_some(stage: Stage, line: HubLine, folder: Path, count: int) -> list[float]:
    """Revoke live sessions one by one; seconds from the order to the session's end."""
    found = []
    for number in range(count):
        unit = f"desk-{number:03d}"
        losses: list[float] = []
        channel = MqttChannel(_line_of(stage, folder / f"box-{number}", unit))
        channel.on_lost(lambda _loss, losses=losses: losses.append(time.monotonic()))
        async with channel:
            await until(lambda channel=channel: channel.connection is not None)
            losses.clear()
            ordered = time.monotonic()
            await line.ask(Verb.REVOKE, UnitOrder(unit=unit, reason="stolen in the campaign"), DepartureResult)
            await until(lambda losses=losses: bool(losses))
            found.append(losses[0] - ordered)
            await asyncio.sleep(1.0)
            if channel.connection is not None:
                raise RuntimeError(f"{unit} was let in again")
    return found


def _line_of(stage: Stage, home: Path, unit: str) -> MqttSettings:
    files = home / "ca.crt", home / "tls.crt", home / "tls.key"
    return MqttSettings("127.0.0.1", stage.broker.port, *files, client_id=unit, backoff=FAST)


async def campaign(folder: Path, units: int) -> Measured:
    """The whole of it."""
    stage = make_stage(folder)
    patience = Patience(total_s=300, repeat_s=2.0)
    with stage.broker:
        async with hub_process(stage, folder / "hub.log") as hub, stage.line(patience=patience) as line:
            service = await commission(stage, line, folder, units)
            gone = await revoke_some(stage, line, folder, min(units, REVOCATIONS))
            memory = _rss_mib(hub.pid)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Measured(units, service, gone, used.ru_utime + used.ru_stime, memory)


def _rss_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(
    out: Annotated[Path, typer.Option(help="A folder; what is there is replaced.")] = Path("out/fleet"),
    units: Annotated[int, typer.Option(min=1, max=500)] = 20,
    seed: Annotated[int, typer.Option()] = 1,
) -> None:
    """Run the campaign; exit code 1 where a figure is not what was asked."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    random.seed(seed)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    measured = asyncio.run(campaign(out.absolute(), units))
    (out / "fleet.json").write_text(json.dumps(measured.__dict__, indent=1), encoding="utf-8")
    print("\n".join(measured.lines()))
    raise typer.Exit(0 if measured.holds() else 1)


if __name__ == "__main__":
    typer.run(main)
