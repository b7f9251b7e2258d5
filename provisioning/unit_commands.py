"""Commands about units that have a name: how they are, what they are told, and how their rights go and come back.

What a unit carries out now stands in remote_commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from contract.clock import utc
from contract.packet import Model
from contract.technician import (
    AssignOrder,
    DepartureResult,
    ReplaceOrder,
    StatusOrder,
    StatusResult,
    UnitOrder,
    UnitRow,
    Verb,
)
from provisioning.configure_command import configure
from provisioning.line import HubLine
from provisioning.session import (
    HERE,
    WAIT_S,
    IdentityOption,
    JsonOption,
    ReasonOption,
    UnitArgument,
    WaitOption,
    aside,
    converse,
    plain,
    print_json,
    screen,
)
from provisioning.unit_tables import fleet_table, print_unit


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (status, assign, configure, suspend, resume, revoke, retire, replace):
        app.command()(command)


def status(
    unit: Annotated[str, typer.Argument(help="A unit's name; without one, all of them.")] = "",
    identity: IdentityOption = HERE,
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Show how a unit is: uplink, link check, certificates, what to see to; or a line for each unit.

    Example: rekam-provision status desk-a7
    """

    rows, alarm = converse(identity, wait, as_json, lambda line: ask_status(line, unit))
    if as_json:
        print_json({"alarm": alarm, "units": [plain(row) for row in rows]})
        return
    if alarm:
        aside.print(f"[bold red]{escape(alarm)}[/]")
    if unit and not rows:
        aside.print(f"No unit is called '{escape(unit)}'. 'rekam-provision status' lists them.")
        raise typer.Exit(1)
    screen.print(fleet_table(rows))
    if unit:
        print_unit(rows[0])


async def ask_status(line: HubLine, unit: str = "") -> tuple[list[UnitRow], str]:
    """How a unit is, or all of them, page by page; and what threatens everybody, or nothing."""
    rows: list[UnitRow] = []
    page = 0
    while True:
        found = await line.ask(Verb.STATUS, StatusOrder(unit=unit, page=page), StatusResult)
        rows += found.rows
        if not found.more:
            return rows, found.alarm
        page += 1


def assign(
    unit: UnitArgument,
    site: Annotated[str, typer.Argument(help="The code of the site.")],
    identity: IdentityOption = HERE,
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Move a unit to another site. Suspend it first where it is in service, and resume it there.

    Example: rekam-provision assign desk-a7 9902-B
    """
    _tell(identity, wait, as_json, Verb.ASSIGN, AssignOrder(unit=unit, site=site), f"{unit} belongs to {site}.")


def suspend(
    unit: UnitArgument,
    reason: ReasonOption,
    identity: IdentityOption = HERE,
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Take a unit out of service for a while: it is sent nothing, and what it sends waits for a person.

    Example: rekam-provision suspend desk-a7 --reason "in the workshop"
    """
    _depart(identity, wait, as_json, Verb.SUSPEND, UnitOrder(unit=unit, reason=reason))


def resume(
    unit: UnitArgument,
    reason: ReasonOption,
    identity: IdentityOption = HERE,
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Put a suspended unit back into service.

    Example: rekam-provision resume desk-a7 --reason "repaired and sealed"
    """
    _depart(identity, wait, as_json, Verb.RESUME, UnitOrder(unit=unit, reason=reason))


def revoke(
    unit: UnitArgument,
    reason: ReasonOption,
    identity: IdentityOption = HERE,
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Take a unit's certificates away, now: its session ends within seconds and it is not let in again.

    Example: rekam-provision revoke desk-a7 --reason "stolen on the road"

    It comes back, if it does, with a new claim: 'rekam-edge recommission' at the unit, then 'approve' under its name.
    What it still sends by media goes before a person.
    """
    _depart(identity, wait, as_json, Verb.REVOKE, UnitOrder(unit=unit, reason=reason))


def retire(
    unit: UnitArgument,
    reason: ReasonOption,
    identity: IdentityOption = HERE,
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Take a unit out for good. Its name is not used again.

    Example: rekam-provision retire desk-a7 --reason "worn out"
    """
    _depart(identity, wait, as_json, Verb.RETIRE, UnitOrder(unit=unit, reason=reason))


def replace(
    unit: UnitArgument,
    reason: ReasonOption,
    by: Annotated[str, typer.Option(help="Its successor, where that is in service already.")] = "",
    identity: IdentityOption = HERE,
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Retire a dead unit and account for what it still held; its successor takes its place.

    Example: rekam-provision replace desk-a7 --by desk-a8 --reason "mainboard dead"

    A successor that is not there yet names it when it is approved: approve CODE --replaces desk-a7 …
    """
    _depart(identity, wait, as_json, Verb.REPLACE, ReplaceOrder(unit=unit, successor=by, reason=reason))


def _tell(identity: Path, wait: float, as_json: bool, verb: Verb, order: Model, done: str) -> None:
    converse(identity, wait, as_json, lambda line: line.tell(verb, order))
    if as_json:
        print_json({"done": True})
    else:
        screen.print(f"[green]{escape(done)}[/green]")


def _depart(identity: Path, wait: float, as_json: bool, verb: Verb, order: Model) -> None:
    found = converse(identity, wait, as_json, lambda line: line.ask(verb, order, DepartureResult))
    if as_json:
        print_json({"done": True, **plain(found)})
        return
    screen.print(f"[green]{found.unit} is {found.state}.[/green]")
    said = f"on {utc(found.said_ms):%Y-%m-%d %H:%M} UTC" if found.said_ms else "never"
    held = "it never said how many it held" if found.pending < 0 else f"it last said that it held {found.pending}"
    screen.print(f"Of its packets {found.received} are here and {found.partial} came in part; {held} ({said}).")
    if found.state == "retired" and found.pending != 0:
        screen.print(
            "Collect them with 'rekam-edge export' if its storage can be read; if not, two officers declare each of "
            "them lost at the console."
        )
