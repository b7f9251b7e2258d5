"""A process of simulated units, as the campaign sees it: what it told last, and its end by SIGKILL."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class UnitGroup:
    """Units `first` … `first + count - 1` of a world.

    handshakes_s: when each connection stood, monotonic; since_ms: every unit has a new line since then, wall time.
    """

    world: Path
    first: int
    count: int
    log: Path
    told: dict[str, Any] = field(default_factory=dict)
    handshakes_s: list[float] = field(default_factory=list)
    lines: int = 0
    since_ms: int = 0
    process: asyncio.subprocess.Process | None = None
    _reading: asyncio.Task[None] | None = None

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.returncode is None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self.process.pid if self.process is not None and self.is_alive else None

    @property
    def names(self) -> list[str]:
        """The units' names."""
        names = sorted(path.name for path in (self.world / "units").iterdir())
        return names[self.first : self.first + self.count]

    async def start(self) -> None:
        """Start the process. Its units' disks are not synced: a thousand of them share the hub's here."""
        self.since_ms = time.time_ns() // 1_000_000
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                "eatmydata", sys.executable, "-m", "tests.fleet.unit_process",
                str(self.world), str(self.first), str(self.count),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, limit=2**22,
            )  # fmt: skip
        self._reading = asyncio.create_task(self._read())

    async def order(self, what: str) -> None:
        """Give an order."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(what.encode() + b"\n")
        await self.process.stdin.drain()

    async def kill(self) -> None:
        """SIGKILL: none of its units says goodbye."""
        if self.process is None:
            return
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        if self._reading is not None:
            await self._reading
        self.told = {}

    async def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.told = json.loads(line)
            self.handshakes_s += self.told.pop("connects_s")
            self.lines += 1
