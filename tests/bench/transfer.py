"""`make bench`: how fast a sealed packet becomes a receipt, over TLS, with the real spool, broker, ingest and commits.

    python -m tests.bench.transfer

Three processes on this machine: Mosquitto, the hub's receiving end with one worker, and this one as the unit. The
time runs from the sealed bytes being handed to the spool until the hub's receipt is verified and recorded. The
same bytes published raw to the same broker, with nobody to keep them, are the baseline of the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
from rich.console import Console
from rich.table import Table

from contract.channel_mqtt import MqttChannel
from contract.clock import SystemClock
from contract.topics import UP_CHUNK
from contract.transfer import CHUNK_BYTES_MAX, WINDOW_CHUNKS, Step
from edge.spool import Spool
from edge.uplink import Uplink
from edge.uplink_settings import UplinkSettings
from tests.fault.rig import SITE, UNIT, Rig, sealed_capture
from tests.fault.rig_world import make_world
from virtual.broker import PrivateBroker

PAYLOAD_BYTES = 1_500_000
SATURATED_PER_S_MIN = 8.0
OFFERED_PER_S = 4.0
P99_MS_MAX = 200.0
START_TIMEOUT_S = 30.0
FINISH_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Figures:
    """The run's numbers. baseline_per_s: raw publishes of the same bytes to the same broker."""

    packet_bytes: int
    packets: int
    saturated_per_s: float
    offered_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    baseline_per_s: float
    machine: str

    @property
    def ratio(self) -> float:
        """Share of the raw publish's rate that a kept and receipted packet reaches."""
        return self.saturated_per_s / self.baseline_per_s

    @property
    def reached(self) -> bool:
        """Whether the targets are met."""
        return self.saturated_per_s >= SATURATED_PER_S_MIN and self.p99_ms <= P99_MS_MAX


class Bench:
    """A unit that measures."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self._rig = rig
        self._put_s: dict[str, float] = {}
        self._receipted_s: dict[str, float] = {}
        clock = SystemClock()
        self._spool = Spool(folder / "spool", rig.store_key(), clock, 10**12, 10**6, observe=self._observe)
        self.channel = MqttChannel(rig.mqtt(UNIT))
        self.uplink = Uplink(
            self.channel, self._spool, UplinkSettings(unit=UNIT, site=SITE), rig.hub_statement(), clock
        )

    def _observe(self, step: Step, pid: str) -> None:
        if step is Step.RECEIPT_RECORDED:
            self._receipted_s.setdefault(pid, time.perf_counter())

    async def saturated(self, packets: list[bytes]) -> float:
        """Packets a second when the spool is never empty."""
        started_s = time.perf_counter()
        pids = [await self._put(sealed) for sealed in packets]
        await self._receipts_of(pids)
        return len(packets) / (max(self._receipted_s[pid] for pid in pids) - started_s)

    async def offered(self, packets: list[bytes], per_s: float) -> list[float]:
        """Milliseconds from spool to receipt, ascending, of packets that come evenly."""
        started_s = time.perf_counter()
        pids = []
        for number, sealed in enumerate(packets):
            await asyncio.sleep(max(0.0, started_s + number / per_s - time.perf_counter()))
            pids.append(await self._put(sealed))
        await self._receipts_of(pids)
        return sorted(1000 * (self._receipted_s[pid] - self._put_s[pid]) for pid in pids)

    async def baseline(self, packets: list[bytes]) -> float:
        """Packets a second when the same bytes are only published in the same chunks and window."""
        topic = UP_CHUNK.at(unit=UNIT, pid="0" * 64)
        window = asyncio.Semaphore(WINDOW_CHUNKS)

        async def publish(chunk: bytes) -> None:
            async with window:
                await self.channel.publish(topic, chunk)

        started_s = time.perf_counter()
        for sealed in packets:
            pieces = range(0, len(sealed), CHUNK_BYTES_MAX)
            await asyncio.gather(*(publish(sealed[start : start + CHUNK_BYTES_MAX]) for start in pieces))
        return len(packets) / (time.perf_counter() - started_s)

    async def _put(self, sealed: bytes) -> str:
        started_s = time.perf_counter()
        pid = await asyncio.to_thread(lambda: self._spool.put(sealed, kind="enrolment", subject_id="bench"))
        self._put_s[pid] = started_s
        self.uplink.wake()
        return pid

    async def _receipts_of(self, pids: list[str]) -> None:
        await until(lambda: all(pid in self._receipted_s for pid in pids), FINISH_TIMEOUT_S)


async def until(condition: Callable[[], bool], timeout_s: float) -> None:
    """Wait for `condition`; raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - looks at what other tasks and processes do
            await asyncio.sleep(0.01)


async def measure(rig: Rig, folder: Path, packets: int, say: Callable[[str], None]) -> Figures:
    """One run against a broker and a hub that are there already."""
    say(f"sealing {2 * packets} packets of {PAYLOAD_BYTES} bytes")
    sealed = [sealed_capture(rig, number, PAYLOAD_BYTES) for number in range(2 * packets)]
    bench = Bench(rig, folder)
    async with bench.channel:
        await until(lambda: bench.channel.connection is not None, START_TIMEOUT_S)
        sending = asyncio.create_task(bench.uplink.run())
        await until(lambda: bench.uplink.status().hub_online, START_TIMEOUT_S)
        say("saturated")
        saturated = await bench.saturated(sealed[:packets])
        say(f"offered {OFFERED_PER_S:.0f}/s")
        latencies_ms = await bench.offered(sealed[packets:], OFFERED_PER_S)
        sending.cancel()
    return Figures(
        packet_bytes=len(sealed[0]),
        packets=packets,
        saturated_per_s=saturated,
        offered_per_s=OFFERED_PER_S,
        p50_ms=_quantile(latencies_ms, 0.5),
        p99_ms=_quantile(latencies_ms, 0.99),
        max_ms=latencies_ms[-1],
        baseline_per_s=0.0,
        machine=f"{platform.machine()}, Python {platform.python_version()}",
    )


async def measure_baseline(rig: Rig, packets: int) -> float:
    """Raw publishes a second, with the broker alone."""
    sealed = [bytes(PAYLOAD_BYTES)] * packets
    with tempfile.TemporaryDirectory(prefix="rekam-bench-") as folder:
        bench = Bench(rig, Path(folder))
        async with bench.channel:
            await until(lambda: bench.channel.connection is not None, START_TIMEOUT_S)
            return await bench.baseline(sealed)


def _quantile(ascending: list[float], share: float) -> float:
    """The nearest-rank quantile."""
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]


def run(packets: int, say: Callable[[str], None]) -> Figures:
    """Set up a world, start broker and hub, measure, and stop everything."""
    with tempfile.TemporaryDirectory(prefix="rekam-bench-") as scratch:
        folder = Path(scratch)
        rig = make_world(folder)
        with PrivateBroker(rig.folder / "broker" / "mosquitto.conf", folder / "broker.log"):
            say("baseline: raw publish")
            baseline = asyncio.run(measure_baseline(rig, packets))
            with (folder / "hub.log").open("wb") as log:
                hub = subprocess.Popen(
                    [sys.executable, "-m", "tests.fault.hub_process", str(rig.folder), str(rig.port)],
                    stdout=log,
                    stderr=log,
                )
            try:
                figures = asyncio.run(measure(rig, folder, packets, say))
            finally:
                hub.terminate()
                hub.wait()
    return Figures(**{**asdict(figures), "baseline_per_s": baseline})


def main() -> None:
    """Measure, print a table, write JSON, and fail where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=120)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    console = Console()
    figures = run(arguments.packets, lambda what: console.print(f"· {what}"))
    table = Table(title=f"Sealed to receipt, {figures.packet_bytes} bytes, TLS, spool and commit, one hub worker")
    for column in ("figure", "measured", "target"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    table.add_row("saturated", f"{figures.saturated_per_s:.1f} /s", f"≥ {SATURATED_PER_S_MIN:.0f} /s")
    table.add_row(f"p50 at {OFFERED_PER_S:.0f}/s offered", f"{figures.p50_ms:.0f} ms", "")
    table.add_row(f"p99 at {OFFERED_PER_S:.0f}/s offered", f"{figures.p99_ms:.0f} ms", f"≤ {P99_MS_MAX:.0f} ms")
    table.add_row("longest", f"{figures.max_ms:.0f} ms", "")
    table.add_row("baseline: raw publish, nothing kept", f"{figures.baseline_per_s:.1f} /s", "")
    table.add_row("share of the baseline", f"{100 * figures.ratio:.0f} %", "")
    console.print(table)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "transfer.json"
    path.write_text(
        json.dumps({**asdict(figures), "ratio": figures.ratio, "reached": figures.reached}, indent=1), encoding="utf-8"
    )
    console.print(f"Figures: {path}")
    if not figures.reached:
        sys.exit(1)


if __name__ == "__main__":
    main()
