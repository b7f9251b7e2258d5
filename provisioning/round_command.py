"""The command that plans and follows a round of visits to units whose data does not reach the centre (M19)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from contract.clock import SystemClock, utc
from contract.durations import duration_s
from contract.errors import RekamError
from contract.export_list import ExportList
from contract.technician import PacketFate, UnitRow
from provisioning.collect_command import ask_fates
from provisioning.collection import collect
from provisioning.collection_round import Visit, VisitState, plan
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
from provisioning.unit_commands import ask_status
from provisioning.unit_tables import age

STYLES = {VisitState.LATE: "bold red", VisitState.DUE: "yellow", VisitState.CARRIED: "cyan", VisitState.DONE: "green"}
MEANINGS = {
    VisitState.LATE: "visit it now",
    VisitState.DUE: "visit it in time",
    VisitState.CARRIED: "import what was collected at a unit with a line",
    VisitState.DONE: "all that it held is at the centre",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("round")(collection_round)


def collection_round(
    tour: Annotated[Path | None, typer.Option(help="The folder that 'collect --into' fills.")] = None,
    within: Annotated[str, typer.Option(help="How far ahead to plan: 12h, 3d.")] = "7d",
    site: Annotated[str, typer.Option(help="Only this site.")] = "",
    identity: IdentityOption = HERE,
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Plan the visits to units whose data does not reach the centre, and see which of them are done.

    Example: rekam-provision round --within 3d --tour /media/tour

    A unit is due when its oldest packet has waited as long as the hub's deadlines allow (data_stuck_h). At each:
    'rekam-edge export' to media, then 'rekam-provision collect MEDIA --into TOUR --no-ask'. Run it daily, by hand or by
    a timer with --json: what is to do follows from the hub and the tour's media alone.
    """
    try:
        ahead_ms = duration_s(within) * 1000
        lists = collect(tour, None).lists if tour is not None else ()
    except RekamError as error:
        raise told(error, as_json) from None

    async def talk(line: HubLine) -> tuple[list[UnitRow], dict[str, PacketFate]]:
        rows, _ = await ask_status(line)
        return rows, await ask_fates(line, sorted({pid for item in lists for pid in item.packets}))

    rows, fates = converse(identity, wait, as_json, talk)
    now = SystemClock().wall_ms()
    visits = plan([row for row in rows if site in ("", row.site)], _of(lists, site), fates, now, now + ahead_ms)
    if as_json:
        print_json({"done": True, "visits": [asdict(visit) for visit in visits]})
    else:
        _show(visits, within)


def _of(lists: tuple[ExportList, ...], site: str) -> list[ExportList]:
    return [item for item in lists if site in ("", item.site)]


def _show(visits: list[Visit], within: str) -> None:
    if not visits:
        screen.print(f"No unit needs a visit within {escape(within)}.")
        return
    whole = ("unit", "visit by (UTC)", "holds")
    table = listing("unit", "visit by (UTC)", "holds", "collected", "state, which means", whole=whole)
    for visit in visits:
        by = utc(visit.by_ms).strftime("%Y-%m-%d %H:%M") if visit.by_ms else ""
        collected = f"{visit.collected}, {visit.absent} not there yet" if visit.absent else str(visit.collected or "")
        holds = f"{visit.pending}: {visit.pending_bytes / 1e6:.1f} MB"
        state = f"[{STYLES[visit.state]}]{visit.state.value}[/]: {MEANINGS[visit.state]}"
        held = f"{holds}\noldest {age(visit.oldest_age_s)}" if visit.pending else holds
        table.add_row(f"{visit.unit}\n[dim]{visit.site}[/]", by, held, collected, state)
    screen.print(table)
    waiting = [visit for visit in visits if visit.state in (VisitState.LATE, VisitState.DUE)]
    total = sum(visit.pending_bytes for visit in waiting)
    screen.print(f"{len(waiting)} to visit; their media needs room for {total / 1e6:.0f} MB.")
