"""The command that collects stuck packets from media and accounts for each of them at the centre (M19)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from contract.errors import RekamError
from contract.technician import PACKETS_ASKED_MAX, PacketFate, Verb, WhereaboutsOrder, WhereaboutsResult
from provisioning.collection import Collection, collect
from provisioning.line import HubLine
from provisioning.session import (
    HERE,
    WAIT_S,
    IdentityOption,
    JsonOption,
    WaitOption,
    converse,
    listing,
    print_json,
    screen,
    told,
)

MEANINGS = {
    PacketFate.ABSENT: "not at the centre: import it at a unit that has a line",
    PacketFate.STORED: "at the centre, not settled yet: keep the unit's copy",
    PacketFate.RELEASED: "at the centre for good",
    PacketFate.QUARANTINED: "at the centre for good, before a person",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("collect")(collect_packets)


def collect_packets(
    media: Annotated[Path, typer.Argument(help="Folder that 'rekam-edge export' wrote to, or one collected before.")],
    into: Annotated[Path | None, typer.Option(help="Copy what is not there yet to this folder, to carry away.")] = None,
    ask: Annotated[bool, typer.Option("--ask/--no-ask", help="Ask the hub what has become of each packet.")] = True,
    identity: IdentityOption = HERE,
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Check the packets on media, put them together with others, and account for each of them at the centre.

    Example: rekam-provision collect /media/usb --into /media/tour --no-ask

    Where there is a line again: 'rekam-edge import /media/tour' at any unit, start its agent, then
    'rekam-provision collect /media/tour' until nothing is absent. Everything may be repeated; nothing is removed.
    """
    try:
        found = collect(media, into)
    except RekamError as error:
        raise told(error, as_json) from None
    fates = converse(identity, wait, as_json, lambda line: ask_fates(line, list(found.lengths))) if ask else {}
    if as_json:
        print_json(_account(found, fates))
    else:
        _print(found, fates, into)
    if found.damaged:
        raise typer.Exit(1)


async def ask_fates(line: HubLine, pids: list[str]) -> dict[str, PacketFate]:
    """What has become of each of these packets at the centre."""
    fates: dict[str, PacketFate] = {}
    for start in range(0, len(pids), PACKETS_ASKED_MAX):
        asked = pids[start : start + PACKETS_ASKED_MAX]
        order = WhereaboutsOrder(pids=tuple(bytes.fromhex(pid) for pid in asked))
        result = await line.ask(Verb.WHEREABOUTS, order, WhereaboutsResult)
        fates |= zip(asked, result.fates, strict=True)
    return fates


def _account(found: Collection, fates: dict[str, PacketFate]) -> dict[str, Any]:
    packets = [
        {"pid": pid, "length": length, "copied": pid in found.new, "centre": fates[pid].value if pid in fates else None}
        for pid, length in found.lengths.items()
    ]
    return {"done": not found.damaged, "packets": packets, "damaged": list(found.damaged)}


def _print(found: Collection, fates: dict[str, PacketFate], into: Path | None) -> None:
    total = sum(found.lengths.values())
    screen.print(f"{len(found.lengths)} whole packets, {total / 1e6:.1f} MB.")
    if into is not None:
        had = len(found.lengths) - len(found.new)
        screen.print(f"{len(found.new)} copied to {escape(str(into))}, {had} were there already.")
    if fates:
        table = listing("packets", "centre", "which means", whole=("packets", "centre"))
        for fate, count in sorted(Counter(fates.values()).items()):
            table.add_row(str(count), fate.value, MEANINGS[fate])
        screen.print(table)
    if found.damaged:
        names = escape(", ".join(found.damaged[:3]))
        screen.print(f"[red]{len(found.damaged)} files are damaged: {names}. Export them again at their unit.[/red]")
