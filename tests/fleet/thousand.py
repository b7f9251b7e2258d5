"""The capacity campaign: a thousand units on one broker and one hub, through deaths of the broker, units and hub.

    python -m tests.fleet.thousand --units 1000

Broker and hub are the processes of service; the units are simulated (tests.fleet.simulated_unit) in two processes on
the same machine. After each blow the hub's picture is compared with the truth until it is right for every unit: on the
line exactly those that have said so since, and off it all others. At the end everything that was sent is counted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

import httpx
import structlog
import typer
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from contract.errors import DeviceError
from hub import alarms, history, outbox
from hub.config import load_settings
from hub.schema.commissioning_tables import UnitHistory
from hub.schema.database import Database
from hub.schema.tables import Packet, ReceiptRow, Unit
from tests.commissioning.stage import Stage
from tests.fleet.fleet_world import OFFICER, SECRET, make_fleet, prepare_hub
from tests.fleet.process_figures import Cost, cost_of
from tests.fleet.unit_group import UnitGroup

CORRECT_LIMIT_S = 10.0
PAGE_LIMIT_S = 1.0
POLL_S = 0.1
GIVE_UP_S = 60.0
ARRIVAL_S = 300.0  # of all that was spooled, one commit a packet
AWAY_S, LONG_S = 3.0, 30.0
CAPTURE_S, SETTLE_S = 0.5, 3.0
CERTIFICATES_EACH = 10
CONNECTED = b'"event": "connected"'
PAGES = ("/units", "/api/units", "/")
NOTHING_LEFT = ("quarantined", "waiting in the outbox")


@dataclass
class Blow:
    """What happened, how long the hub's picture was wrong, and what it cost until then.

    handshakes_peak: in the busiest second; units_cpu_s: of both their processes, which have hub's and broker's cores.
    """

    what: str
    correct_s: float
    limit_s: float
    handshakes: int
    storm_s: float
    handshakes_peak: int
    hub: Cost
    broker: Cost
    units_cpu_s: float

    @property
    def holds(self) -> bool:
        """Whether it was right in time."""
        return self.correct_s <= self.limit_s


@dataclass
class Findings:
    """The campaign's figures."""

    units: int
    certificates: int
    hub_start_s: list[float] = field(default_factory=list)
    blows: list[Blow] = field(default_factory=list)
    idle_s: float = 0.0
    idle: dict[str, Cost] = field(default_factory=dict)
    page_s: dict[str, float] = field(default_factory=dict)
    sent: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether everything is as it was asked."""
        return not self.problems and all(blow.holds for blow in self.blows)


class Campaign:
    """Runs it."""

    def __init__(self, stage: Stage, groups: list[UnitGroup], findings: Findings, say: Callable[[str], None]) -> None:
        self._stage = stage
        self._groups = groups
        self.findings = findings
        self._say = say
        self._settings = load_settings(stage.folder / "hub" / "hub.toml")
        self._database = Database(self._settings.database_url)
        self._hub: subprocess.Popen[bytes] | None = None
        self._log = stage.folder.parent / "hub.log"
        self._names = {group.first: group.names for group in groups}

    async def run(self, idle_s: float) -> None:
        """Everything in order."""
        await asyncio.to_thread(self._stage.broker.start)
        try:
            await self._start_hub()
            await self._struck("all units are switched on", self._switch_on, limit_s=GIVE_UP_S)
            await self._rest(idle_s)
            await self._blows()
            await self._look_at_pages()
            await self._account()
        finally:
            for group in self._groups:
                await group.kill()
            await self._end_hub(signal.SIGTERM)
            self._stage.broker.stop()
            self._database.close()

    async def _blows(self) -> None:
        await self._struck("the broker is killed and comes back", self._broker_dies)
        await self._struck("half of the units die while the broker is away", self._half_dies_with_broker)
        await self._struck("that half is switched on again", self._groups[-1].start, limit_s=GIVE_UP_S)
        await self._struck("the broker is away for half a minute", lambda: self._broker_dies(LONG_S))
        await self._struck("the hub is killed and comes back", self._hub_dies)
        await self._struck("half of the units die while the hub is away", self._half_dies_with_hub)
        await self._struck("that half is switched on once more", self._groups[-1].start, limit_s=GIVE_UP_S)

    async def _struck(self, what: str, blow: Callable[[], Awaitable[None]], limit_s: float = CORRECT_LIMIT_S) -> None:
        """Deal a blow, whose last act is a restart; measure from there until the hub's picture is right."""
        before = self._costs()
        counted = [len(group.handshakes_s) for group in self._groups]
        await blow()
        begun_s = time.monotonic()
        told = [group.lines for group in self._groups]
        wrong = Counter({"nobody has looked": 1})
        while wrong and time.monotonic() - begun_s < GIVE_UP_S:
            await asyncio.sleep(POLL_S)
            wrong = await asyncio.to_thread(self._wrong)
        correct_s = time.monotonic() - begun_s
        if wrong:
            self.findings.problems.append(f"{what}: the hub's picture stays wrong: {dict(wrong)}")
        # They tell of their handshakes a moment later.
        await self._until(
            lambda: all(not g.is_alive or g.lines >= n + 2 for g, n in zip(self._groups, told, strict=True))
        )
        storm = [at for group, n in zip(self._groups, counted, strict=True) for at in group.handshakes_s[n:]]
        peak = max(Counter(int(at) for at in storm).values(), default=0)
        spent = {name: _since(before[name], cost) for name, cost in self._costs().items()}
        units_cpu_s = sum(spent[f"units {group.first}"].cpu_s for group in self._groups)
        last_s = max(storm) - begun_s if storm else 0.0
        self.findings.blows.append(
            Blow(what, correct_s, limit_s, len(storm), last_s, peak, spent["hub"], spent["broker"], units_cpu_s)
        )
        self._say(
            f"{what}: right after {correct_s:.1f} s; {len(storm)} handshakes, the last after {last_s:.1f} s, "
            f"{peak} in the busiest second; hub {spent['hub'].cpu_s:.1f} s CPU, broker {spent['broker'].cpu_s:.1f} s, "
            f"units {units_cpu_s:.1f} s"
        )
        await asyncio.sleep(SETTLE_S)

    def _wrong(self) -> Counter[str]:
        """How many units the hub sees wrongly: the living have said so on their newest line, all others are off."""
        newest_ms: dict[str, int] = {}
        for group in self._groups:
            if group.is_alive:
                newest_ms |= dict.fromkeys(self._names[group.first], group.since_ms)
        wrong: Counter[str] = Counter()
        with self._database.reading() as session:  # as cheaply as can be: hub and broker want the same two cores
            for name, said in session.execute(select(Unit.id, Unit.presence)):
                state = json.loads(said) if said else {"state": "offline"}
                online = state["state"] == "online"
                if name not in newest_ms:
                    wrong["dead, seen on the line"] += online
                elif not online:
                    wrong["alive, seen off the line"] += 1
                else:
                    wrong["alive, not heard of since"] += state["time_ms"] < newest_ms[name]
        return +wrong

    async def _until(self, condition: Callable[[], bool], limit_s: float = GIVE_UP_S) -> None:
        async with asyncio.timeout(limit_s):
            while not condition():  # noqa: ASYNC110 - looks at what other processes do
                await asyncio.sleep(POLL_S)

    async def _switch_on(self) -> None:
        await asyncio.gather(*(group.start() for group in self._groups))

    async def _broker_dies(self, away_s: float = AWAY_S) -> None:
        await self._capture()
        await asyncio.to_thread(self._stage.broker.kill)
        await asyncio.sleep(away_s)
        await self._broker_returns()

    async def _half_dies_with_broker(self) -> None:
        await asyncio.to_thread(self._stage.broker.kill)
        await self._groups[-1].kill()
        await asyncio.sleep(AWAY_S)
        await self._broker_returns()

    async def _broker_returns(self) -> None:
        await asyncio.to_thread(self._stage.broker.start)
        for group in self._groups:
            group.since_ms = _now_ms()

    async def _hub_dies(self) -> None:
        await self._capture()
        await self._end_hub(signal.SIGKILL)
        await self._start_hub()

    async def _half_dies_with_hub(self) -> None:
        await self._end_hub(signal.SIGKILL)
        await self._groups[-1].kill()
        await asyncio.sleep(AWAY_S)
        await self._start_hub()

    async def _capture(self) -> None:
        """Every unit spools a packet and notes an alarm; the blow falls while they are on their way."""
        for group in self._groups:
            await group.order("capture")
            self.findings.sent += group.count
        await asyncio.sleep(CAPTURE_S)

    async def _start_hub(self) -> None:
        """Start the hub's process, and wait until it is connected to the broker."""
        begun_s = time.monotonic()
        had = self._log.read_bytes().count(CONNECTED) if self._log.exists() else 0
        command = [sys.executable, "-m", "hub", "run", "--config", str(self._stage.folder / "hub" / "hub.toml")]
        with self._log.open("ab") as log:
            self._hub = await asyncio.to_thread(subprocess.Popen, command, stdout=log, stderr=log)
        while self._log.read_bytes().count(CONNECTED) <= had:
            if self._hub.poll() is not None or time.monotonic() - begun_s > GIVE_UP_S:
                raise DeviceError("The hub did not start.", next_step=f"Read {self._log}.")
            await asyncio.sleep(POLL_S)
        self.findings.hub_start_s.append(time.monotonic() - begun_s)

    async def _end_hub(self, how: signal.Signals) -> None:
        if self._hub is not None and self._hub.poll() is None:
            self._hub.send_signal(how)
            await asyncio.to_thread(self._hub.wait, 60)

    def _costs(self) -> dict[str, Cost]:
        pids = {
            "hub": self._hub.pid if self._hub and self._hub.poll() is None else None,
            "broker": self._stage.broker.pid,
            **{f"units {group.first}": group.pid for group in self._groups},
        }
        return {name: cost_of(pid) if pid else Cost(0, 0, 0) for name, pid in pids.items()}

    async def _rest(self, idle_s: float) -> None:
        """What hub and broker cost while nothing happens, once the first greetings are over."""
        await asyncio.sleep(min(20.0, idle_s))
        before = self._costs()
        await asyncio.sleep(idle_s)
        self.findings.idle_s = idle_s
        self.findings.idle = {name: _since(before[name], cost) for name, cost in self._costs().items()}
        for name, cost in self.findings.idle.items():
            self._say(
                f"idle {idle_s:.0f} s: {name} {cost.cpu_s:.1f} s CPU, {cost.rss_mib:.0f} MiB ({cost.pss_mib:.0f} PSS)"
            )

    async def _look_at_pages(self) -> None:
        """How long the fleet's pages take, logged in as an officer."""
        console = self._settings.console
        async with httpx.AsyncClient(base_url=f"http://{console.host}:{console.port}", timeout=60) as client:
            await client.post("/api/login", json={"operator": OFFICER, "secret": SECRET})
            for page in PAGES:
                took_s = []
                for _ in range(3):
                    begun_s = time.monotonic()
                    answer = await client.get(page)
                    answer.raise_for_status()
                    took_s.append(time.monotonic() - begun_s)
                self.findings.page_s[page] = sorted(took_s)[1]
                self._say(f"{page}: {self.findings.page_s[page]:.2f} s, {len(answer.content) / 1024:.0f} KiB")

    async def _account(self) -> None:
        """Wait until nothing is on its way, then count: every packet and alarm once, nothing left in the outbox."""
        await self._until(lambda: not any(group.told.get("waiting", 1) for group in self._groups), ARRIVAL_S)
        await asyncio.sleep(SETTLE_S)
        problems = self.findings.problems
        with self._database.reading() as session:
            counts = _counts(session)
        lives = len(self._groups)
        for what, count in counts.items():
            if count != (0 if what in NOTHING_LEFT else self.findings.sent):
                problems.append(f"{what}: {count}, where {self.findings.sent} packets and alarms were sent")
        if twice := sum(group.told["released_twice"] for group in self._groups):
            problems.append(f"{twice} packets were freed twice")
        confirmed = sum(group.told["confirmed"] for group in self._groups)
        if confirmed != self.findings.units:
            problems.append(f"{confirmed} of {self.findings.units} births confirmed by {lives} processes")
        self._say(f"sent {self.findings.sent} packets and alarms; the hub has {counts}")


def _counts(session: Session) -> dict[str, int]:
    """What the hub holds of what was sent. Raises DeviceError where a history does not verify."""
    history.verify(session, UnitHistory)
    freed = select(func.count(func.distinct(ReceiptRow.pid))).where(ReceiptRow.disposition == "released")
    told = select(func.count()).where(UnitHistory.event.startswith(alarms.EVENT))
    return {
        "packets": session.scalar(select(func.count()).select_from(Packet)) or 0,
        "packets freed": session.scalar(freed) or 0,
        "alarms": session.scalar(told) or 0,
        "quarantined": session.scalar(select(func.count()).where(Packet.quarantine != "")) or 0,
        "waiting in the outbox": outbox.waiting(session),
    }


def _since(before: Cost, now: Cost) -> Cost:
    """CPU since then (a process that is new since has all of it); memory as it is."""
    return replace(now, cpu_s=now.cpu_s - before.cpu_s if now.cpu_s >= before.cpu_s else now.cpu_s)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def campaign(folder: Path, units: int, idle_s: float, say: Callable[[str], None]) -> Findings:
    """The whole of it, in a fresh folder."""
    stage = make_fleet(folder, units, say)
    prepare_hub(stage, CERTIFICATES_EACH, say)
    half = units // 2
    groups = [
        UnitGroup(stage.folder, first, count, folder / f"units-{first}.log")
        for first, count in ((0, half), (half, units - half))
    ]
    findings = Findings(units, units * CERTIFICATES_EACH)
    await Campaign(stage, groups, findings, say).run(idle_s)
    return findings


def main(
    out: Annotated[Path, typer.Option(help="A folder; what is there is replaced.")] = Path("out/fleet-1000"),
    units: Annotated[int, typer.Option(min=2, max=4000)] = 1000,
    idle_s: Annotated[float, typer.Option(min=1)] = 60.0,
) -> None:
    """Run the campaign; exit code 1 where the hub was wrong for longer than asked, or lost or doubled anything."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # the broker holds a socket for each unit
    begun_s = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - begun_s:6.1f}  {what}", flush=True)

    findings = asyncio.run(campaign(out.absolute(), units, idle_s, say))
    (out / "fleet.json").write_text(json.dumps(asdict(findings), indent=1), encoding="utf-8")
    say(f"hub's starts: {', '.join(f'{took_s:.1f} s' for took_s in findings.hub_start_s)}")
    for problem in findings.problems:
        say(f"PROBLEM: {problem}")
    for blow in findings.blows:
        if not blow.holds:
            say(f"TOO LATE: {blow.what}: {blow.correct_s:.1f} s, asked {blow.limit_s:.0f} s")
    raise typer.Exit(0 if findings.holds else 1)


if __name__ == "__main__":
    typer.run(main)
