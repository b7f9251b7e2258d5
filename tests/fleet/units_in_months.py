"""A few simulated units in one process under a wall clock that leaps; each can be switched on and off.

    python -m tests.fleet.units_in_months FOLDER…

Orders, a line each: `on NAME`, `off NAME` (its power is cut), `drop` (every line ends and comes back), `end`. What it
tells is JSON, four times a second: {name: [connections so far, whether it stands and the hub has confirmed it]}.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import structlog

from contract.channel_mqtt import Backoff
from contract.clock import SystemClock
from edge import standing
from edge.config import load_config
from tests.fleet import simulated_unit
from tests.fleet.simulated_unit import SimulatedUnit

TELL_S = 0.25


class Office:
    """The units that are on."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders
        self._on: dict[str, tuple[SimulatedUnit, asyncio.Task[None]]] = {}

    async def order(self, words: list[str]) -> None:
        """Carry out one line."""
        match words:
            case ["on", name]:
                unit = SimulatedUnit(self._folders[name], SystemClock(), self._folders[name] / "simulated")
                self._on[name] = unit, asyncio.create_task(unit.run())
            case ["off", name]:
                unit, task = self._on.pop(name)
                await _cut(unit, task)
            case ["drop"]:
                for unit, _ in self._on.values():
                    unit.channel.reconnect()

    def told(self) -> dict[str, tuple[int, bool]]:
        """How the units are."""
        for _, task in self._on.values():
            if task.done():
                task.result()
        return {
            name: (len(unit.connected_s), unit.is_connected and unit.standing.is_confirmed)
            for name, (unit, _) in self._on.items()
        }


async def _cut(unit: SimulatedUnit, task: asyncio.Task[None]) -> None:
    session = unit.channel._session
    if session is not None and (sock := session._client.socket()) is not None:
        sock.shutdown(socket.SHUT_RDWR)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    unit.close()


async def serve(folders: Mapping[str, Path]) -> None:
    """Until told to end."""
    office = Office(folders)

    async def tell() -> None:
        while True:
            print(json.dumps(office.told()), flush=True)
            await asyncio.sleep(TELL_S)

    telling = asyncio.create_task(tell())
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while (line := (await orders.readline()).decode().split()) not in ([], ["end"]):
        await office.order(line)
    telling.cancel()


def main() -> None:
    """Serve the units of these folders."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    standing.CHECK_S, standing.LATE_WAIT_S = 0.5, 1.0
    simulated_unit.RECONNECT = Backoff(first_s=0.1, max_s=1.0)
    folders = [Path(argument) for argument in sys.argv[1:]]
    asyncio.run(serve({load_config(folder / "unit.toml").unit.id: folder for folder in folders}))


if __name__ == "__main__":
    main()
