"""Some hundred simulated units in one process; it takes orders on its input and tells how they are, line by line.

    python -m tests.fleet.unit_process WORLD FIRST COUNT

Orders: `capture` (every unit spools a packet and notes an alarm), `end`. Lines are JSON, two a second.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from contract.clock import SystemClock
from tests.fleet.simulated_unit import SimulatedUnit

TELL_S = 0.5
THREADS = 16
ALARM = "door-opened"
YOUNG_OBJECTS_MAX = 10_000


async def serve(folders: list[Path]) -> None:
    """Run the units until told to end."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    units = [SimulatedUnit(folder, SystemClock()) for folder in folders]
    running = [asyncio.create_task(unit.run()) for unit in units]
    telling = asyncio.create_task(_tell(units))
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while (order := (await orders.readline()).decode().strip()) not in ("", "end"):
        if order == "capture":
            await _capture(units)
    for task in (telling, *running):
        task.cancel()
    await asyncio.gather(telling, *running, return_exceptions=True)


async def _capture(units: list[SimulatedUnit]) -> None:
    for unit in units:
        await asyncio.to_thread(unit.capture)
        await unit.alarms.note(ALARM, "enclosure")


async def _tell(units: list[SimulatedUnit]) -> None:
    while True:
        line = {
            "connected": sum(unit.is_connected for unit in units),
            "confirmed": sum(unit.is_connected and unit.standing.is_confirmed for unit in units),
            "waiting": sum(unit.waiting for unit in units),
            "released": sum(len(unit.released) for unit in units),
            "released_twice": sum(times > 1 for unit in units for times in unit.released.values()),
            "heard": sum(unit.heard["messages"] for unit in units),
            "connects_s": [at_s for unit in units for at_s in unit.connected_s],
        }
        for unit in units:
            unit.connected_s.clear()
        print(json.dumps(line), flush=True)
        await asyncio.sleep(TELL_S)


def main() -> None:
    """Run the units of a world whose numbers are in the range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    arguments = parser.parse_args()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    gc.freeze()  # five hundred units' objects are no garbage of any one of them, which would have its own process
    gc.set_threshold(YOUNG_OBJECTS_MAX)
    folders = sorted((arguments.world / "units").iterdir())[arguments.first : arguments.first + arguments.count]
    asyncio.run(serve(folders))


if __name__ == "__main__":
    main()
