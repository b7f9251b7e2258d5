"""Everything of a unit that can be tried without a person, as rows of one table: devices, printers, pins, kernels."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from contract.clock import Clock, SystemClock
from contract.errors import DeviceError, RekamError
from edge.comparison_worker import ComparisonWorker
from edge.config import EnclosureTable, Setting, UnitConfig
from edge.enclosure import Enclosure
from edge.sensors.selftest import Outcome, SelftestRow, examine_devices
from edge.slots import slots_here
from edge.update_record import UPDATES_FOLDER, Updates

PRINTER_TIMEOUT_S = 15.0
PRINTER_KIND = "printer"


async def examine_unit(config: UnitConfig, *, clock: Clock | None = None) -> list[SelftestRow]:
    """A row for each kind of device and for the rest of the unit. Never raises: a row says what failed.

    The agent must not run: it holds the devices.
    """
    time = clock or SystemClock()
    devices: Mapping[str, Mapping[str, Setting]] = config.devices
    rows = await examine_devices(devices, clock=time)
    printer, worker = await asyncio.gather(
        timed(SelftestRow(PRINTER_KIND, "ipp", Outcome.OK), lambda row: try_printer(row, devices), time),
        timed(SelftestRow("comparison", "worker process", Outcome.OK), _try_worker, time),
    )
    box = await timed(
        SelftestRow("enclosure", config.enclosure.pin_factory, Outcome.OK),
        lambda row: _try_pins(row, config.enclosure),
        time,
    )
    return [*rows, printer, box, worker, software_row(config, time)]


def software_row(config: UnitConfig, clock: Clock) -> SelftestRow:
    """What runs, from which slot, and what became of the newest update; a release that was left again is no fault."""
    updates = Updates(config.unit.data_dir / UPDATES_FOLDER, slots_here(), clock)
    found = updates.status()
    where = f"slot {found['slot']}" if found["slot"] else "no slot"
    update = f"{found['artefact']} {found['to']}: {found['state']}" if found["state"] else "no update yet"
    return SelftestRow(
        "software", where, Outcome.OK, model=f"rekam {found['version']}", found=update,
        next_step=found.get("problem_en", ""),
    )  # fmt: skip


async def timed(row: SelftestRow, trial: Callable[[SelftestRow], Awaitable[SelftestRow]], clock: Clock) -> SelftestRow:
    """The row that a trial makes of `row`, with the time it took; one that raises makes it a failed one."""
    started_ms = clock.monotonic_ms()
    try:
        row = await trial(row)
    except RekamError as error:
        row = replace(row, outcome=Outcome.FAILED, found=error.message, next_step=error.next_step)
    return row if row.outcome is Outcome.MISSING else replace(row, time_ms=clock.monotonic_ms() - started_ms)


async def try_printer(row: SelftestRow, devices: Mapping[str, Mapping[str, Setting]]) -> SelftestRow:
    """The card printer's own word: who it is, whether it turns the card, what it complains of."""
    from edge.card_printer import CardPrinter

    table = devices.get(PRINTER_KIND)
    if table is None:
        return replace(
            row, driver="", outcome=Outcome.MISSING, next_step="Add [devices.printer] to unit.toml if there is one."
        )
    uri = str(table.get("uri", ""))
    try:
        condition = await asyncio.wait_for(CardPrinter(uri).condition(), PRINTER_TIMEOUT_S)
    except TimeoutError:
        raise DeviceError(
            "The card printer does not answer in time.", next_step="Check its power and network."
        ) from None
    stopping = [fault for fault in condition.faults if fault.stops]
    found = f"{condition.state}, {'both sides' if condition.two_sided else 'one side at a time'}"
    complaints = ", ".join(fault.keyword for fault in condition.faults)
    return replace(
        row,
        model=condition.model,
        outcome=Outcome.FAILED if stopping else Outcome.OK,
        found=f"{found}; {complaints}" if complaints else found,
        next_step=" ".join(fault.advice_en for fault in condition.faults),
    )


async def _try_pins(row: SelftestRow, table: EnclosureTable) -> SelftestRow:
    """Take the pins, light every lamp for a moment, read the door."""
    if not table.has_pins:
        return replace(
            row, driver="", outcome=Outcome.MISSING, next_step="Add [enclosure] to unit.toml if pins are wired."
        )
    box = Enclosure(table, lambda _contact: None)
    try:
        box.open()
        box.show(frozenset(table.lamps))
        await asyncio.sleep(0.3)
        door = {None: "no door switch", True: "door open", False: "door closed"}[box.door_open]
    finally:
        box.close()
    return replace(row, found=f"{len(table.lamps)} lamps lit, {door}")


async def _try_worker(row: SelftestRow) -> SelftestRow:
    worker = ComparisonWorker()
    try:
        await worker.start()
    finally:
        await worker.stop()
    return replace(row, model=worker.stamp, found="kernels ready")
