"""`make fault`: many packets while unit, hub and broker are killed (SIGKILL) at every step of the transfer.

    python -m tests.fault.campaign --packets 1000 --seed 1

Every process reports each step and waits (tests.fault.conductor), so a kill falls exactly on the step it was planned
for. The plan covers each step with kills of the process that takes it, of its peer and of the broker, in seeded order.
At the end the hub's database and files are audited: every capture that a spool has acknowledged is there once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from contract.errors import RekamError
from contract.transfer import Step, chunk_bytes, chunk_count
from tests.fault.audit import Audit, audit
from tests.fault.histogram import write_report
from tests.fault.powercut import check_all
from tests.fault.rig import Rig
from tests.fault.rig_world import make_world
from virtual.broker import PrivateBroker

BROKER_PACKET_BYTES_MAX = 9 * 1024  # small chunks: a packet takes many steps
CHUNK_BYTES = chunk_bytes(BROKER_PACKET_BYTES_MAX)
PLAN_UNTIL = 0.9  # the last kills are armed when so much of the work is done
RESTART_DELAY_S_MAX = 0.15
STALL_S_MAX = 90.0


class CampaignFailed(RekamError):
    """The campaign could not go on."""

    default_next_step = "Read the processes' logs beside the world."


@dataclass(frozen=True, slots=True)
class Kill:
    """One planned kill: `victim` dies when `step` has been reached `countdown` more times."""

    step: Step
    victim: str
    countdown: int


@dataclass(slots=True)
class Armed:
    """A kill that waits for its step; left: how often the step has still to be reached."""

    kill: Kill
    left: int


@dataclass(slots=True)
class Tally:
    """What happened, for the report."""

    packets: int
    seed: int
    kills: dict[str, dict[str, int]] = field(default_factory=dict)
    chunks_sent: int = 0
    chunks_needed: int = 0
    seconds: float = 0.0

    @property
    def kill_count(self) -> int:
        """All kills."""
        return sum(sum(by_victim.values()) for by_victim in self.kills.values())

    @property
    def resent_bytes(self) -> int:
        """Bytes of chunks that were sent more than once."""
        return max(0, self.chunks_sent - self.chunks_needed) * CHUNK_BYTES


def plan_kills(kills: int, rng: random.Random) -> list[Kill]:
    """At least `kills` kills: every step once with its own process, then with the broker, the peer, and again."""
    plan: list[Kill] = []
    rounds = ("own", "own", "broker", "own", "peer")
    while len(plan) < kills:
        turn = rounds[(len(plan) // len(Step)) % len(rounds)]
        for step in rng.sample(list(Step), len(Step)):
            own = "unit" if step.value.startswith("unit") else "hub"
            peer = "hub" if own == "unit" else "unit"
            plan.append(Kill(step, {"own": own, "peer": peer, "broker": "broker"}[turn], rng.randrange(1, 4)))
    return plan[:kills]


class Campaign:
    """Runs the three processes, answers their reports, kills and restarts them."""

    def __init__(self, rig: Rig, packets: int, kills: int, seed: int, progress: Callable[[int, int], None]) -> None:
        self._rig = rig
        self._rng = random.Random(seed)
        self._plan = plan_kills(kills, self._rng)
        self._armed: list[Armed] = []
        self._progress = progress
        self._broker = PrivateBroker(rig.folder / "broker" / "mosquitto.conf", rig.folder / "broker.log")
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._expected_deaths: set[str] = set()
        self._restarts: set[asyncio.Task[None]] = set()
        self._last_progress_s = time.monotonic()
        self._sealed: dict[int, tuple[str, int]] = {}
        self._sent: Counter[str] = Counter()
        self._kills: Counter[tuple[Step, str]] = Counter()
        self.acknowledged: dict[int, str] = {}
        self.tally = Tally(packets, seed)
        self._done = asyncio.Event()
        self._failure: CampaignFailed | None = None

    async def run(self) -> None:
        """Until the unit's spool is empty for good. Raises CampaignFailed."""
        started_s = time.monotonic()
        socket_path = self._rig.folder / "conductor.sock"
        server = await asyncio.start_unix_server(self._converse, str(socket_path))
        await asyncio.to_thread(self._broker.start)
        try:
            await self._start("hub")
            await self._start("unit")
            while not self._done.is_set():
                try:
                    await asyncio.wait_for(self._done.wait(), 1.0)
                except TimeoutError:
                    self._check_alive()
            if self._failure is not None:
                raise self._failure
        finally:
            for task in self._restarts:
                task.cancel()
            for role, process in self._processes.items():
                self._expected_deaths.add(role)
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            server.close()
            self._broker.stop()
        self.tally.seconds = time.monotonic() - started_s
        self._settle_tally()

    def _check_alive(self) -> None:
        for role, process in self._processes.items():
            if process.returncode is not None and role not in self._expected_deaths:
                self._fail(f"The {role} ended by itself with {process.returncode}.")
        if time.monotonic() - self._last_progress_s > STALL_S_MAX:
            self._fail(f"Nothing moved for {STALL_S_MAX:.0f} s; still armed: {self._armed}.")

    def _fail(self, message: str) -> None:
        self._failure = CampaignFailed(message)
        self._done.set()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        role = "?"
        try:
            while line := (await reader.readline()).decode().split():
                if line[0] == "role":
                    role = line[1]
                answer = await self._answer(role, line)
                if answer is None:
                    return
                writer.write(answer.encode() + b"\n")
                await writer.drain()
        except (ConnectionError, BrokenPipeError):
            return
        finally:
            writer.close()

    async def _answer(self, role: str, line: list[str]) -> str | None:
        """The answer to one report; None where its sender was killed."""
        match line:
            case ["step", name, pid]:
                return await self._reached(role, Step[name], pid)
            case ["next"]:
                return str(next((n for n in range(self.tally.packets) if n not in self.acknowledged), -1))
            case ["sealed", number, pid, length]:
                self._sealed[int(number)] = (pid, int(length))
            case ["captured", number, pid]:
                self.acknowledged[int(number)] = pid
                self._last_progress_s = time.monotonic()
                self._progress(len(self.acknowledged), sum(self._kills.values()))
            case ["empty"]:
                self._done.set()
        return "go"

    async def _reached(self, role: str, step: Step, pid: str) -> str | None:
        if step is Step.CHUNK_SENT:
            self._sent[pid] += 1
        if step is Step.ROW_PURGED:
            self._last_progress_s = time.monotonic()
        self._arm()
        for armed in self._armed:
            kill = armed.kill
            if kill.step is not step:
                continue
            armed.left -= 1
            if armed.left > 0 or kill.victim in self._expected_deaths:
                continue
            self._armed.remove(armed)
            self._kills[step, kill.victim] += 1
            await self._kill(kill.victim)
            return None if kill.victim == role else "go"
        return "go"

    def _arm(self) -> None:
        """Arm the next kills of the plan, evenly over the work."""
        due = len(self._plan) * len(self.acknowledged) / (PLAN_UNTIL * self.tally.packets)
        gone = sum(self._kills.values()) + len(self._armed)
        for kill in self._plan[gone : min(len(self._plan), int(due) + 1)]:
            self._armed.append(Armed(kill, kill.countdown))

    async def _kill(self, victim: str) -> None:
        self._expected_deaths.add(victim)
        if victim == "broker":
            await asyncio.to_thread(self._broker.kill)
        else:
            process = self._processes[victim]
            process.send_signal(signal.SIGKILL)
            await process.wait()
        task = asyncio.create_task(self._restart(victim, self._rng.uniform(0.0, RESTART_DELAY_S_MAX)))
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)

    async def _restart(self, victim: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        if victim == "broker":
            await asyncio.to_thread(self._broker.start)
        else:
            await self._start(victim)
        self._expected_deaths.discard(victim)

    async def _start(self, role: str) -> None:
        socket_path = str(self._rig.folder / "conductor.sock")
        arguments = [str(self._rig.folder), str(self._rig.port)]
        if role == "hub":
            arguments += ["--conductor", socket_path]
        else:
            arguments += [socket_path, str(self.tally.seed)]
        with (self._rig.folder / f"{role}.log").open("ab") as log:
            self._processes[role] = await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"tests.fault.{role}_process", *arguments, stdout=log, stderr=log
            )

    def _settle_tally(self) -> None:
        for (step, victim), count in sorted(self._kills.items()):
            self.tally.kills.setdefault(step.value, {})[victim] = count
        for number, pid in self.acknowledged.items():
            sealed_pid, length = self._sealed.get(number, ("", 0))
            if sealed_pid == pid:
                self.tally.chunks_needed += chunk_count(length, CHUNK_BYTES)
        self.tally.chunks_sent = sum(self._sent.values())


def run_campaign(
    folder: Path, packets: int, kills: int, seed: int, progress: Callable[[int, int], None]
) -> tuple[Tally, Audit]:
    """One campaign in a fresh world under `folder`, and the audit of what it left."""
    rig = make_world(folder, packet_bytes_max=BROKER_PACKET_BYTES_MAX)

    async def run() -> Campaign:
        campaign = Campaign(rig, packets, kills, seed, progress)
        await campaign.run()
        return campaign

    campaign = asyncio.run(run())
    return campaign.tally, audit(rig, campaign.acknowledged)


def main() -> None:
    """Run the campaign, then the power cuts; print, write the report, and fail where anything was lost or twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=105)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("out/fault"))
    parser.add_argument("--no-power-cut", action="store_true", help="only the kills")
    arguments = parser.parse_args()
    # What the product says about each of a thousand cuts would bury the verdicts.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    console = Console()
    arguments.out.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with tempfile.TemporaryDirectory(prefix="rekam-fault-") as folder, Progress(*columns, console=console) as bars:
        captured = bars.add_task("captures", total=arguments.packets)
        killed = bars.add_task("kill -9", total=arguments.kills)

        def progress(captures: int, kills: int) -> None:
            bars.update(captured, completed=captures)
            bars.update(killed, completed=kills)
            if not console.is_terminal and captures % 100 == 0:
                console.print(f"{captures} captures, {kills} kills")

        tally, found = run_campaign(Path(folder), arguments.packets, arguments.kills, arguments.seed, progress)
        bars.update(killed, completed=tally.kill_count)
    unhit = [step.value for step in Step if step.value not in tally.kills]
    console.print(
        f"{tally.packets} packets, {tally.kill_count} kill -9 in {tally.seconds:.0f} s (seed {tally.seed}): "
        f"{found.lost} lost, {found.twice} twice, {tally.resent_bytes} bytes sent again "
        f"({tally.chunks_sent} chunks sent, {tally.chunks_needed} needed), steps never hit: {unhit or 'none'}"
    )
    verdicts = [] if arguments.no_power_cut else check_all(console.print)
    write_report(arguments.out / "fault.html", tally, found, verdicts)
    summary = {"tally": asdict(tally), "audit": asdict(found), "power_cuts": [asdict(each) for each in verdicts]}
    (arguments.out / "fault.json").write_text(json.dumps(summary, indent=1), encoding="utf-8")
    console.print(f"Report: {arguments.out / 'fault.html'}")
    if not found.clean or unhit or not all(verdict.as_expected for verdict in verdicts):
        for problem in found.problems[:20]:
            console.print(problem)
        sys.exit(1)


if __name__ == "__main__":
    main()
