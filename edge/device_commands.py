"""The technician's commands on a unit's devices: what is there, does it work, take one sample."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from contract.errors import CaptureRetry, DeviceError
from edge.command_options import DEFAULT_CONFIG, ConfigPath
from edge.config import UnitConfig, load_config
from edge.data_lock import only_agent
from edge.logs import configure_logs
from edge.sensors.selftest import Outcome, SelftestRow
from edge.technician_capture import FILE_MODE, PROMPTS, Sample, SampleKind, take, write_private

out = Console()
err = Console(stderr=True)
STYLES = {Outcome.OK: "green", Outcome.FAILED: "bold red", Outcome.MISSING: "dim"}
EYES = {"right": 1, "left": 2}


def devices(
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    look: Annotated[bool, typer.Option(help="Look at every wire of this machine as well.")] = True,
) -> None:
    """List what this machine has, what unit.toml names, and every driver that can be named there.

    Looks at serial ports (by their lasting names), V4L2 cameras, input devices, PC/SC readers, SBI services, parts on
    I2C, USB and IPP printers and SANE scanners, for 12 s at most; prints the lines of unit.toml that would name each.

        rekam-edge devices --config /var/lib/rekam/unit/unit.toml

        rekam-edge devices --no-look        # only what is configured
    """
    from edge.sensors.discovery import discover
    from edge.sensors.drivers import DRIVERS

    loaded = load_config(config)
    found, failed = discover() if look else ([], [])
    if as_json:
        wires = [{"wire": item.wire, "name": item.name, "table": item.table} for item in found]
        drivers = {kind: sorted(names) for kind, names in DRIVERS.items()}
        configured = {kind: _shown(table) for kind, table in loaded.devices.items()}
        out.print_json(json.dumps({"configured": configured, "found": wires, "failed": failed, "drivers": drivers}))
        return
    table = Table("device", "driver", "settings", title=f"Devices of {loaded.unit.id} in unit.toml")
    for kind, settings in loaded.devices.items():
        keys = ", ".join(f"{key}={value}" for key, value in _shown(settings).items() if key != "driver")
        table.add_row(kind, escape(str(settings.get("driver", ""))), escape(keys))
    out.print(table)
    if look:
        seen = Table("wire", "found", "lines for unit.toml", title="Found on this machine")
        for item in found:
            seen.add_row(item.wire, escape(item.name), escape(item.table))
        out.print(seen if found else "Nothing was found on any wire of this machine.")
        for reason in failed:
            out.print(f"  [yellow]not looked at[/] {escape(reason)}", soft_wrap=True)
    out.print("Drivers that can be named:")
    for kind, names in DRIVERS.items():
        out.print(f"  {kind}: {', '.join(sorted(names))}")


def selftest(
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures to this file as well.")] = None,
) -> None:
    """Open and try every configured device; print what to do about each that fails.

    Sensors, readers, printers, scanner, the box's lamps and parts, and the comparison worker, beside each other. Stop
    the agent first: it holds the devices. Exit code 1 where something failed.

        rekam-edge selftest --config /var/lib/rekam/unit/unit.toml

        rekam-edge selftest --html selftest.html     # a page with what the cameras saw, for its owner only
    """
    from edge.selftest_page import render_page
    from edge.unit_selftest import examine_unit

    configure_logs("error")
    loaded = load_config(config)
    with _nobody_else(loaded):
        rows = asyncio.run(examine_unit(loaded))
    if html is not None:
        unit = loaded.unit
        page = render_page(rows, unit=unit.id, site=unit.site, role=unit.role, at=time.strftime("%Y-%m-%d %H:%M %Z"))
        write_private(html, page.encode(), force=True)
    if as_json:
        out.print_json(json.dumps([row.as_dict() for row in rows]))
    else:
        out.print(_table(rows, loaded.unit.id))
    if html is not None:
        err.print(f"{escape(str(html))} may show a person: delete it when it has served.", soft_wrap=True)
    raise typer.Exit(1 if any(row.outcome is Outcome.FAILED for row in rows) else 0)


def capture(
    kind: Annotated[SampleKind, typer.Argument(help="What to take.")],
    output: Annotated[Path, typer.Option("--out", help="The file: PNG, or .json for a signature's points.")],
    config: ConfigPath = DEFAULT_CONFIG,
    finger: Annotated[int, typer.Option(min=0, max=10, help="1 right thumb … 10 left little finger, 0 unknown.")] = 2,
    eye: Annotated[str, typer.Option(help="right or left.")] = "right",
    attempts: Annotated[int, typer.Option(min=1, max=20)] = 3,
    timeout_s: Annotated[float, typer.Option(min=1, max=120, help="For each attempt.")] = 20.0,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Take one sample, show its quality, and write it to a file that only you can read.

    For finding faults, never for a capture: nothing is sealed or sent, and the file is biometric data of a person.
    Stop the agent first. Exit code 1 where nothing usable was taken.

        rekam-edge capture finger --finger 7 --out finger.png

        rekam-edge capture iris --eye left --out eye.png

        rekam-edge capture portrait --out portrait.png

        rekam-edge capture signature --out signature.json
    """
    if eye not in EYES:
        raise typer.BadParameter("right or left", param_hint="--eye")
    if output.exists() and not force:
        raise DeviceError(f"{output} is there already.", next_step="Name another file, or say --force.")
    configure_logs("error")
    loaded = load_config(config)
    prompt_id, prompt_en = PROMPTS[kind]
    cancel = threading.Event()
    with _nobody_else(loaded), err.status(f"[bold]{prompt_id}[/]  {prompt_en}") as status:

        def advise(retry: CaptureRetry) -> None:
            err.print(f"[yellow]{escape(retry.message)}[/] {escape(retry.next_step)}", soft_wrap=True)
            status.update(f"[bold]Sekali lagi. {prompt_id}[/]  Once more. {prompt_en}")

        try:
            sample = take(
                kind,
                loaded.devices,
                position=EYES[eye] if kind is SampleKind.IRIS else finger,
                as_points=output.suffix == ".json",
                timeout_s=timeout_s,
                attempts=attempts,
                cancel=cancel,
                advise=advise,
            )
        except KeyboardInterrupt:
            cancel.set()
            raise
        except CaptureRetry as retry:
            err.print(f"[bold red]{escape(retry.message)}[/] {escape(retry.next_step)}", soft_wrap=True)
            raise typer.Exit(1) from None
    write_private(output, sample.content, force=force)
    _print_sample(kind, sample, output)


def _print_sample(kind: SampleKind, sample: Sample, path: Path) -> None:
    table = Table(
        "measure", "verdict", "measured", "limit", title=f"{kind.value}: {sample.shown}", caption_justify="left"
    )
    for item in sample.quality.measures:
        shown = "" if item.measured is None else f"{item.measured:.2f} {item.unit}"
        limit = "" if item.limit is None else f"{item.limit:.2f}"
        style = {"good": "green", "poor": "bold red"}.get(item.verdict.value, "dim")
        table.add_row(escape(item.name), f"[{style}]{item.verdict.value}[/]", escape(shown), limit)
    out.print(table)
    out.print(f"Quality {sample.quality.value} of 100; 50 is the limit.")
    for advice in sample.quality.advice:
        out.print(f"  {escape(advice.indonesian)}  {escape(advice.english)}")
    warning = f"[bold]{escape(str(path))} holds biometric data of a person[/] (mode {FILE_MODE:o})."
    out.print(f"{warning} Keep it only as long as the fault needs it, then delete it.", soft_wrap=True)


def _table(rows: list[SelftestRow], unit: str) -> Table:
    table = Table("device", "driver", "firmware", "result", "ms", "found", "what to do", title=f"Selftest of {unit}")
    for row in rows:
        result = f"[{STYLES[row.outcome]}]{row.outcome.value}[/]"
        who = " ".join(filter(None, (row.model, row.serial)))
        found = f"{who}: {row.found}" if who and row.found else who or row.found
        ms = str(row.time_ms) if row.outcome is not Outcome.MISSING else ""
        cells = (row.kind, row.driver, row.firmware, found, row.next_step)
        kind, driver, firmware, shown, next_step = map(escape, cells)
        table.add_row(kind, driver, firmware, result, ms, shown, next_step)
    return table


def _shown(table: dict[str, Any]) -> dict[str, Any]:
    """A table as it may be shown: a password in a URL is not."""
    secret = {key for key, value in table.items() if isinstance(value, str) and re.search("://[^/]*@", value)}
    return {key: "…" if key in secret else value for key, value in table.items()}


@contextlib.contextmanager
def _nobody_else(config: UnitConfig) -> Iterator[None]:
    """Hold the unit's lock where it has a data folder, so that no agent holds the devices. Raises DeviceError."""
    if not config.unit.data_dir.is_dir():
        yield
        return
    with only_agent(config.unit.data_dir):
        yield
