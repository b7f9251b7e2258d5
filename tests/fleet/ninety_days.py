"""Ninety days of certificates and revocation lists in minutes: real broker, real hub, the agent's own standing.

    python -m tests.fleet.ninety_days

The wall clock of broker, hub and units leaps half a day at a time (tests.fleet.fake_time). Every day every line is cut,
because a session that stands hides what has ended, and whoever should be on the line has to come back and be confirmed.
Two units are commissioned from sealed boxes on the first day, the others were made by setup.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated

import structlog
import typer
from cryptography import x509

from contract.certificates import load_certificate, serial_text
from contract.errors import RekamError
from contract.technician import Verb
from hub.config import load_settings
from provisioning.line import Patience
from tests.commissioning.boxes import approval, knocking, make_commissioner, put_claims
from tests.commissioning.stage import Stage
from tests.fleet.fake_time import FakeTime
from tests.fleet.fleet_world import SELDOM, TECHNICIAN, make_fleet
from tests.fleet.hub_in_months import UNPLUGGED
from tests.fleet.months_picture import Bar, Mark, Months, draw

STEP_DAYS = 0.5
COME_BACK_S, SHORT_S, SETTLE_S, POLL_S = 25.0, 3.0, 0.4, 0.05
UNITS_OF_SETUP = 6
LEFT_DAYS_MIN = 9.0  # renewal is due at two thirds of thirty days
LIST_LEFT_DAYS_MIN = 3.0  # signed anew at half of seven
RENEWED_S, TROUBLED_S = 15.0, 1.5  # a hub that cannot sign tries again every second
SITE = "9901-00"
BOXES = ("box-1", "box-2")
ALWAYS = ("unit-0000", "unit-0001", "unit-0002", *BOXES)
WEEKS, TWO_MONTHS, UNLUCKY = "unit-0003", "unit-0004", "unit-0005"
ALARM = b"revocation list runs out"


class LockedOut(RekamError):
    """Somebody who should be on the line is not."""

    default_next_step = "Read hub.log, broker.log and units.log."


@dataclass
class Ledger:
    """What was seen."""

    months: Months = field(default_factory=Months)
    checks: int = 0
    longest_s: float = 0.0
    alarm_day: float | None = None
    problems: list[str] = field(default_factory=list)


class NinetyDays:
    """The campaign. `events` are by the day on which they happen."""

    def __init__(self, stage: Stage, folder: Path, say: Callable[[str], None]) -> None:
        self._stage = stage
        self._folder = folder
        self._say = say
        self._time = FakeTime(folder)
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._told: dict[str, tuple[int, bool]] = {}
        self._on_since: dict[str, float] = {}
        self._away_since: dict[str, float] = {}
        self._reading: asyncio.Task[None] | None = None
        self._day = 0.0
        self._unplugged_at = 0
        self.ledger = Ledger()
        units = sorted((stage.folder / "units").iterdir())
        self._homes = {home.name: home for home in units} | {name: folder / name for name in BOXES}

    @property
    def events(self) -> dict[float, list[Callable[[], Awaitable[None]]]]:
        """What happens, by day."""
        return {
            10: [lambda: self._off(WEEKS), lambda: self._asks(TECHNICIAN)],
            12: [lambda: self._off(TWO_MONTHS)],
            15: [lambda: self._off(UNLUCKY)],
            28.5: [self._stop_broker],
            29: [lambda: self._on(UNLUCKY)],
            31: [self._start_broker],
            31.5: [lambda: self._on(WEEKS)],
            23: [lambda: self._asks(TECHNICIAN)],
            38: [lambda: self._asks(TECHNICIAN)],
            40: [self._stop_hub],
            47.5: [self._expect_lock_out],
            48: [self._start_hub],
            60: [lambda: self._asks(SELDOM), lambda: self._asks(TECHNICIAN)],
            72: [lambda: self._on(TWO_MONTHS)],
            74: [self._unplug],
            81.5: [self._expect_alarm, self._expect_lock_out],
            82: [self._plug_in],
            90: [lambda: self._asks(SELDOM), lambda: self._asks(TECHNICIAN)],
        }

    async def run(self, days: float, step_days: float = STEP_DAYS) -> Ledger:
        """All of it, or fewer days in longer leaps. Raises LockedOut."""
        try:
            await self._begin()
            while self._day < days:
                self._day += step_days
                self._time.set(self._day)
                await asyncio.sleep(SETTLE_S)
                for event in self.events.get(self._day, []):
                    await event()
                if self._day.is_integer():
                    await self._daily()
            self.ledger.months.days = days
        finally:
            for name in list(self._processes):
                await self._kill(name)
            if self._reading is not None:
                self._reading.cancel()
        return self.ledger

    async def _begin(self) -> None:
        await self._start_broker()
        await self._start_hub()
        await self._commission()
        command = [sys.executable, "-m", "tests.fleet.units_in_months", *map(str, self._homes.values())]
        self._reading = asyncio.create_task(self._read(await self._spawn("units", command)))
        for name in self._homes:
            await self._on(name)
        async with asyncio.timeout(60):
            while not all(self._told.get(name, (0, False))[1] for name in self._homes):  # noqa: ASYNC110 - they tell
                await asyncio.sleep(POLL_S)
        await self._daily()

    async def _commission(self) -> None:
        """Two sealed boxes into service, by the agent's own commissioning and a technician's line."""
        media = [self._folder / f"media-{name}" for name in BOXES]
        async with self._stage.line(patience=Patience(total_s=60, repeat_s=1.0)) as line:
            await put_claims(line, media)
            boxes = [
                make_commissioner(self._homes[name], f"S-{name}", medium)
                for name, medium in zip(BOXES, media, strict=True)
            ]
            running = [asyncio.create_task(box.run()) for box in boxes]
            for row in await knocking(line, len(BOXES)):
                await line.tell(Verb.APPROVE, approval(row, row.serial.removeprefix("S-"), site=SITE))
            async with asyncio.timeout(60):
                await asyncio.gather(*running)
        self._say(f"{len(BOXES)} sealed boxes are in service")

    async def _daily(self) -> None:
        """Cut every line; everybody who should be there has to come back. Note what everybody holds."""
        await asyncio.sleep(TROUBLED_S if self._flag.exists() else 0)
        self._note()
        if "broker" in self._away_since:
            return
        begun_s = time.monotonic()
        missing = await self._missing(SHORT_S if self._is_crippled else COME_BACK_S)
        self.ledger.months.marks += [Mark(name, self._day, "missing") for name in missing]
        if self._is_crippled:
            return
        if missing:
            raise LockedOut(f"Day {self._day:.0f}: {sorted(missing)} did not come back.")
        self.ledger.checks += len(self._on_since)
        self.ledger.longest_s = max(self.ledger.longest_s, time.monotonic() - begun_s)
        await self._check_lives()
        self._note()
        if self._day % 10 == 0:
            self._say(f"day {self._day:3.0f}: {len(self._on_since)} of {len(self._homes)} units on, all came back")

    async def _check_lives(self) -> None:
        """Whoever is on has renewed at two thirds, within seconds of its time; hub, broker and list always have."""
        begun_s, short = time.monotonic(), self._short_lives()
        while short and time.monotonic() - begun_s < RENEWED_S:
            await asyncio.sleep(POLL_S)
            short = self._short_lives()
        for name, left in short.items():
            self.ledger.problems.append(f"day {self._day:.0f}: what {name} has ends in {left:.1f} days")

    def _short_lives(self) -> dict[str, float]:
        """What ends too soon, in days from now."""
        ends = {name: self._certificate(name).not_valid_after_utc for name in (*ALWAYS, "hub", "broker")}
        left = {name: self._day_of(end) - self._day for name, end in ends.items()}
        short = {name: days for name, days in left.items() if days < LEFT_DAYS_MIN}
        listed = self._list_end() - self._day
        return short if listed >= LIST_LEFT_DAYS_MIN else {**short, "list": listed}

    async def _missing(self, patience_s: float) -> set[str]:
        """Who does not come back on a new connection, and confirmed, after all lines were cut."""
        before = {name: count for name, (count, _) in self._told.items()}
        await self._order("drop")
        begun_s = time.monotonic()
        while True:
            told = {name: self._told.get(name, (0, False)) for name in self._on_since}
            missing = {name for name, (count, well) in told.items() if not well or count <= before.get(name, 0)}
            if not missing or time.monotonic() - begun_s > patience_s:
                return missing
            await asyncio.sleep(POLL_S)

    @property
    def _is_crippled(self) -> bool:
        """Whether the hub is away, or cannot sign lists."""
        return "hub" in self._away_since or self._flag.exists()

    @property
    def _flag(self) -> Path:
        return self._stage.folder / "hub" / UNPLUGGED

    def _certificate(self, name: str) -> x509.Certificate:
        """What a unit, the hub or the broker holds."""
        known = self._homes | {who: self._stage.folder / "technicians" / who for who in (TECHNICIAN, SELDOM)}
        home = known.get(name, self._stage.folder / name)
        return load_certificate((home / "tls.crt").read_bytes())

    def _list(self) -> x509.CertificateRevocationList:
        return x509.load_pem_x509_crl((self._stage.folder / "broker" / "crl.pem").read_bytes())

    def _list_end(self) -> float:
        end = self._list().next_update_utc
        assert end is not None
        return self._day_of(end)

    def _day_of(self, moment: datetime) -> float:
        return self._time.day_of(moment.timestamp())

    def _note(self) -> None:
        """Keep what everybody holds, for the picture; and the day of the alarm."""
        months = self.ledger.months
        for name in ("broker", "hub", TECHNICIAN, SELDOM, *self._homes):
            held = self._certificate(name)
            span = self._day_of(held.not_valid_before_utc), self._day_of(held.not_valid_after_utc)
            months.add(name, Bar(*span, "certificate", serial_text(held)))
        found = self._list()
        number = found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        span = self._day_of(found.last_update_utc), self._list_end()
        months.add("list", Bar(*span, "list", str(number)))
        if (
            self._flag.exists()
            and self.ledger.alarm_day is None
            and ALARM in self._log("hub").read_bytes()[self._unplugged_at :]
        ):
            self.ledger.alarm_day = self._day
            months.marks.append(Mark("list", self._day, "alarm"))

    async def _on(self, name: str) -> None:
        if name in self._away_since:
            self.ledger.months.add(name, Bar(self._away_since.pop(name), self._day, "away", f"off {self._day}"))
        self._on_since[name] = self._day
        await self._order(f"on {name}")

    async def _off(self, name: str) -> None:
        self._on_since.pop(name)
        self._away_since[name] = self._day
        await self._order(f"off {name}")

    async def _asks(self, technician: str) -> None:
        """A technician gives an order with the tool, after however long."""
        folder = self._stage.folder / "technicians" / technician
        order = ["-m", "provisioning", "status", "--identity", str(folder), "--json", "--wait", "30"]
        with self._log("tool").open("ab") as log:
            tool = await asyncio.create_subprocess_exec(
                sys.executable, *order, env=self._time.environment, stdout=log, stderr=log
            )
        if await tool.wait() != 0:
            raise LockedOut(f"Day {self._day:.0f}: the technician {technician} gets no answer.")
        self.ledger.checks += 1
        self._note()

    async def _start_broker(self) -> None:
        conf = self._stage.broker.configuration
        await self._spawn("broker", ["mosquitto", "-c", str(conf)])
        await self._answers(self._stage.broker.port)
        self._back("broker")

    async def _stop_broker(self) -> None:
        await self._kill("broker")
        self._away_since["broker"] = self._day

    async def _start_hub(self) -> None:
        config = self._stage.folder / "hub" / "hub.toml"
        await self._spawn("hub", [sys.executable, "-m", "tests.fleet.hub_in_months", "run", "--config", str(config)])
        await self._answers(load_settings(config).console.port)
        self._back("hub")

    async def _stop_hub(self) -> None:
        await self._kill("hub")
        self._away_since["hub"] = self._day

    def _back(self, name: str) -> None:
        if name in self._away_since:
            self.ledger.months.add(name, Bar(self._away_since.pop(name), self._day, "away", f"off {self._day}"))

    async def _unplug(self) -> None:
        self._unplugged_at = self._log("hub").stat().st_size
        self._flag.touch()

    async def _plug_in(self) -> None:
        self._flag.unlink()

    async def _expect_lock_out(self) -> None:
        """The check that this campaign can fail: a list that has ended does keep everybody out."""
        if self._list_end() >= self._day:
            self.ledger.problems.append(f"day {self._day}: the list has not ended; the negative proves nothing")
        missing = await self._missing(SHORT_S)
        if missing != set(self._on_since):
            self.ledger.problems.append(f"day {self._day}: let in past the list's end: {set(self._on_since) - missing}")
        self._say(f"day {self._day}: the revocation list has ended, and the broker refuses all {len(missing)} units")

    async def _expect_alarm(self) -> None:
        """The hub has said so before anybody was locked out."""
        ends = self._list_end()
        if self.ledger.alarm_day is None or self.ledger.alarm_day >= ends:
            self.ledger.problems.append(f"no alarm before the list ended on day {ends:.1f}: {self.ledger.alarm_day}")
        self._say(f"the alarm came on day {self.ledger.alarm_day}, the list ended on day {ends:.1f}")

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    async def _spawn(self, name: str, command: list[str]) -> asyncio.subprocess.Process:
        with self._log(name).open("ab") as log:
            self._processes[name] = await asyncio.create_subprocess_exec(
                *command, env=self._time.environment, stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE if name == "units" else log, stderr=log,
            )  # fmt: skip
        return self._processes[name]

    async def _kill(self, name: str) -> None:
        process = self._processes.pop(name)
        if process.returncode is None:
            process.kill()
        await process.wait()

    async def _answers(self, port: int) -> None:
        """Wait until somebody listens there."""
        async with asyncio.timeout(60):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(POLL_S)
                else:
                    writer.close()
                    return

    async def _order(self, line: str) -> None:
        sink = self._processes["units"].stdin
        assert sink is not None
        sink.write(line.encode() + b"\n")
        await sink.drain()

    async def _read(self, units: asyncio.subprocess.Process) -> None:
        assert units.stdout is not None
        while line := await units.stdout.readline():
            self._told = {name: tuple(told) for name, told in json.loads(line).items()}


def main(
    out: Annotated[Path, typer.Option(help="A folder; what is there is replaced.")] = Path("out/ninety-days"),
    days: Annotated[int, typer.Option(min=1, max=365)] = 90,
) -> None:
    """Run the campaign; exit code 1 where somebody was locked out, or anything was renewed too late."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    out = out.absolute()
    stage = make_fleet(out, UNITS_OF_SETUP, print)
    campaign = NinetyDays(stage, out, lambda what: print(what, flush=True))
    begun_s = time.monotonic()
    try:
        asyncio.run(campaign.run(days))
    except LockedOut as error:
        campaign.ledger.problems.append(error.message)
    ledger = campaign.ledger
    ledger.months.days = ledger.months.days or days
    (out / "ninety-days.svg").write_text(draw(ledger.months), encoding="utf-8")
    print(f"\n{'who':<12}{'certificates':>13}{'shortest overlap, days':>24}")
    for name, count, overlap in ledger.months.table():
        print(f"{name:<12}{count:>13}{overlap:>24}")
    print(
        f"{days} days in {time.monotonic() - begun_s:.0f} s: {ledger.checks} times a unit came back and was confirmed, "
        f"the slowest day took {ledger.longest_s:.1f} s. Picture: {out / 'ninety-days.svg'}"
    )
    for problem in ledger.problems:
        print(f"PROBLEM: {problem}")
    raise typer.Exit(1 if ledger.problems else 0)


if __name__ == "__main__":
    typer.run(main)
