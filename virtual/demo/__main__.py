"""`make demo` and `make run`: the main job to its end, or the same world left running."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import sys
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from contract.errors import RekamError
from virtual.demo.cast import Cast, make_cast
from virtual.demo.chronicle import Chronicle
from virtual.demo.pictures import gather_pictures
from virtual.demo.report import write_report
from virtual.demo.scenes import Scenes
from virtual.demo.theatre import Theatre
from virtual.demo.world import UNITS

SIMULATED = (
    ("residents and officers", "synthetic people from a seed; NIKs of the unassigned province 99"),
    ("fingerprint scanners", "serial modules' protocol (ZFM) on pseudo-terminals, read by the production driver"),
    ("signature pads", "ISDV4 tablets' protocol on pseudo-terminals, the pen eight times as fast as a hand"),
    ("cameras for faces and irises", "network cameras' HTTP snapshots; the pictures are drawn"),
    ("card printer", "ippeveprinter, an IPP Everywhere printer with CR80 media; what it received is shown"),
    ("ticket printers", "ESC/POS printers on pseudo-terminals; the papers are drawn from the bytes that came"),
    ("the line of a unit", "a relay on loopback that can be slow or cut"),
)
COLUMNS = 140


def main(
    out: Annotated[Path, typer.Option(help="Folder for the world, the logs and the report; emptied first.")],
    seed: Annotated[int, typer.Option(help="Another seed gives other people.")] = 1,
    fingers: Annotated[Path | None, typer.Option(help="Folder of real prints named FINGER_IMPRESSION.*")] = None,
    stay: Annotated[
        bool, typer.Option("--stay", help="Leave the world running, with the addresses of its pages.")
    ] = False,
) -> None:
    """Run the main job: capture, search, adjudication, cards, handover, over real components."""
    console = Console(width=None if sys.stdout.isatty() else COLUMNS, highlight=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that everything is taken down as on Ctrl-C
    logging.getLogger("httpx").setLevel(logging.WARNING)
    chronicle = Chronicle(console)
    chronicle.simulated += SIMULATED
    try:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        cast = make_cast(seed, (out / "cast").absolute(), fingers)
        for _ in track(cast.draw_everything(), "Drawing fingers", total=cast.pictures_total, console=console):
            pass
        if stay:
            asyncio.run(_stay(cast, out.absolute(), seed, chronicle))
            return
        asyncio.run(_play(cast, out.absolute(), seed, chronicle))
    except KeyboardInterrupt:
        console.print("Stopped.")
        raise typer.Exit(130) from None
    except RekamError as error:
        console.print(f"[bold red]{error.message}[/bold red]\n{error.next_step}\nLogs are in {out}/logs.")
        raise typer.Exit(1) from None
    words = f"real prints from {fingers.name}" if fingers else "synthetic"
    write_report(chronicle, out / "report.html", seconds=monotonic() - chronicle.started, fingers=words)
    console.rule()
    console.print(f"{len(chronicle.checks) - len(chronicle.failed)} of {len(chronicle.checks)} claims hold.")
    console.print(f"Report: [bold]{out / 'report.html'}[/bold]")
    raise typer.Exit(1 if chronicle.failed else 0)


async def _play(cast: Cast, out: Path, seed: int, chronicle: Chronicle) -> None:
    chronicle.enter(0, "Setting up broker, hub, units, readers, printer")
    async with Theatre(cast, out, seed, chronicle) as theatre:
        chronicle.tell("all", f"{len(theatre.processes.running)} processes of ours, a broker, a printer, card readers")
        scenes = Scenes(theatre, chronicle)
        await scenes.capture_and_search()
        await scenes.transfer_under_fire()
        await scenes.tries_again()
        await scenes.cards()
        await scenes.handed_over()
        await gather_pictures(theatre, chronicle)


async def _stay(cast: Cast, out: Path, seed: int, chronicle: Chronicle) -> None:
    async with Theatre(cast, out, seed, chronicle) as theatre:
        chronicle.console.print("\nThe world is running. Ctrl-C ends it.\n")
        for unit in UNITS:
            site, role = UNITS[unit]
            address = f"http://127.0.0.1:{theatre.ports.screens[unit]}/"
            chronicle.console.print(f"  {unit:12} {role:9} {site:7} {address}")
        chronicle.console.print(f"  {'hub':12} {'console':9} {'':7} http://127.0.0.1:{theatre.ports.console}/")
        chronicle.console.print(f"\nPass phrases of the officers: {out}/*.secret")
        chronicle.console.print(f"Devices listen to JSON lines at {theatre.stage.control}")
        chronicle.console.print(f"Residents: {', '.join(resident.nik for resident in cast.residents.values())}")
        await asyncio.Event().wait()


if __name__ == "__main__":
    typer.run(main)
