"""The unit's self-test while its agent runs, for a technician who is not there: row by row, as each is known.

The devices are tried where the agent holds them, so the test waits for nobody's session to end and is refused while one
is open. A picture could show whoever stands there: the unit's page says that a test runs before a camera is asked for
one, the pictures are small, and they leave the unit sealed to the technician alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from contract.clock import Clock
from contract.commissioning_problems import Problem, Refusal
from contract.errors import DeviceError
from contract.unit_command import PICTURE_BYTES_MAX, PICTURES_MAX, SelftestAsk, TriedDevice
from edge.comparison_worker import ComparisonWorker
from edge.config import Setting
from edge.device_bench import DeviceBench
from edge.procedure import Refused
from edge.screens.pictures import jpeg
from edge.sensors.selftest import Outcome, SelftestRow
from edge.unit_selftest import PRINTER_KIND, timed, try_printer

PICTURE_SIDE_PX = 320
NOTICE_S = 3.0  # the page has said by then that a test runs, and whoever does not want to be seen has stepped aside
Trial = Callable[[], Awaitable[SelftestRow]]
Watch = Callable[[], Mapping[str, Any]]
Hold = Callable[[str], AbstractContextManager[None]]


class RemoteTest:
    """Tries everything that the running agent holds. hold: keeps the unit to the technician meanwhile."""

    def __init__(
        self,
        devices: Mapping[str, Mapping[str, Setting]],
        bench: DeviceBench,
        worker: ComparisonWorker,
        hold: Hold,
        clock: Clock,
        *,
        watches: Mapping[str, Watch] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """watches: what the status page shows of the box and the controller, by kind; empty where there is none."""
        self._devices = devices
        self._bench = bench
        self._worker = worker
        self._hold = hold
        self._clock = clock
        self._watches = watches or {}
        self._sleep = sleep

    async def rows(self, technician: str, ask: SelftestAsk) -> AsyncGenerator[TriedDevice, None]:
        """One row after another. Raises Refusal while somebody is served."""
        try:
            with self._hold(technician):
                await self._sleep(NOTICE_S)
                trials = self._trials()
                for trial in trials:
                    yield await asyncio.to_thread(_told, await trial(), len(trials), ask.pictures)
        except Refused:
            raise Refusal(Problem.UNIT_BUSY) from None

    def _trials(self) -> list[Trial]:
        """What is tried, in order: what people touch first."""
        found: list[Trial] = [partial(self._bench.examine, kind, self._clock) for kind in self._bench.kinds]
        if PRINTER_KIND in self._devices:
            row = SelftestRow(PRINTER_KIND, "ipp", Outcome.OK)
            found.append(partial(timed, row, lambda row: try_printer(row, self._devices), self._clock))
        row = SelftestRow("comparison", "worker process", Outcome.OK)
        found.append(partial(timed, row, self._try_worker, self._clock))
        return found + [
            partial(_watched, kind, look) for kind, look in self._watches.items() if look().get("configured")
        ]

    async def _try_worker(self, row: SelftestRow) -> SelftestRow:
        await self._worker.start()
        return replace(row, model=self._worker.stamp, found="kernels ready")


async def _watched(kind: str, look: Watch) -> SelftestRow:
    """What is watched all the time says how it is."""
    found = look()
    problem = str(found.get("problem") or "")
    outcome = Outcome.FAILED if problem else Outcome.OK
    return SelftestRow(kind, "", outcome, found=problem or str(found.get("state") or found.get("door") or "watched"))


def _told(row: SelftestRow, rows: int, pictures: bool) -> TriedDevice:
    """The row as it travels. A picture that cannot be made small is left out: the row says what was found."""
    taken = []
    for pixels in row.pictures[:PICTURES_MAX] if pictures else ():
        with suppress(DeviceError):
            taken.append(jpeg(pixels, PICTURE_SIDE_PX))
    return TriedDevice(
        rows=rows,
        kind=row.kind,
        driver=row.driver[:200],
        outcome=row.outcome.value,
        model=row.model[:200],
        serial=row.serial[:200],
        firmware=row.firmware[:200],
        time_ms=row.time_ms,
        found=row.found[:500],
        next_step=row.next_step[:500],
        pictures=tuple(picture for picture in taken if len(picture) <= PICTURE_BYTES_MAX),
    )
