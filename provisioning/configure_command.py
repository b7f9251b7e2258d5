"""`configure`: a unit's settings, with what would change shown before, and what became of it after."""

from __future__ import annotations

import asyncio
import difflib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from contract.commissioning_problems import WORDING
from contract.configuration import Tables, as_toml
from contract.errors import RekamError
from contract.technician import ConfigureOrder, SettingsOrder, SettingsResult, Verb
from provisioning.line import HubLine
from provisioning.session import (
    HERE,
    WAIT_S,
    IdentityOption,
    JsonOption,
    WaitOption,
    aside,
    converse,
    print_json,
    screen,
    told,
)
from provisioning.settings_file import load_settings_file

OUTCOME_WAIT_S = 240.0  # a trial has two minutes, and waits before for a moment without people
LOOK_AGAIN_S = 2.0
CONTEXT_LINES = 2
COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def configure(
    unit: Annotated[str, typer.Argument(help="The unit's name.")],
    settings: Annotated[
        Path,
        typer.Option(help="TOML with the tables devices.*, policy, spool, uplink, screen, queue, enclosure, time."),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Send it without asking.")] = False,
    identity: IdentityOption = HERE,
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Show what would change in a unit's settings, send them once you agree, and say what became of them.

    Example: rekam-provision configure desk-a7 --settings desk.toml

    The file replaces all of these tables. The unit checks it, begins again on it when nobody is served, and goes back
    by itself where a device that worked fails or the hub is not reached within two minutes. With --json nothing is
    asked: without --yes only the difference is printed.
    """
    try:
        tables = load_settings_file(settings)
    except RekamError as error:
        raise told(error, as_json) from None
    present = converse(identity, wait, as_json, lambda line: _present(line, unit))
    base = "in force" if present.in_force else f"sent last, version {present.version}"
    changes = difference(present.tables, tables, base)
    if not changes and present.in_force:
        _say(
            as_json, {"done": True, "outcome": "unchanged", "version": present.version}, f"{unit} runs on exactly this."
        )
        return
    if not _agreed(unit, present, changes, yes, as_json):
        raise typer.Exit(1)
    found = converse(identity, wait, as_json, lambda line: _send(line, tables, present, wait))
    _tell_outcome(found, as_json, changes)


def difference(before: Tables, after: Tables, old_name: str = "in force") -> list[str]:
    """What changes from one configuration to another, as lines of a unified diff; empty where nothing does."""
    old, new = (as_toml({name: dict(sorted(side[name].items())) for name in sorted(side)}) for side in (before, after))
    return list(
        difflib.unified_diff(
            old.splitlines(), new.splitlines(), old_name, "new", n=CONTEXT_LINES, lineterm=""
        )
    )  # fmt: skip


async def _present(line: HubLine, unit: str) -> SettingsResult:
    return await line.ask(Verb.SETTINGS, SettingsOrder(unit=unit), SettingsResult)


async def _send(line: HubLine, tables: Tables, present: SettingsResult, wait_s: float) -> SettingsResult:
    """Send it, and wait for the word on it of a unit that was on-line; what is known by then where none comes.

    A unit that begins again is off-line for a moment.
    """
    unit = present.unit
    await line.tell(Verb.CONFIGURE, ConfigureOrder(unit=unit, tables=tables, after=present.version))
    found = await _present(line, unit)
    loop = asyncio.get_running_loop()
    until = loop.time() + min(wait_s, OUTCOME_WAIT_S)
    while present.online and not (found.in_force or found.refused) and loop.time() < until:
        await asyncio.sleep(LOOK_AGAIN_S)
        found = await _present(line, unit)
    return found


def _agreed(unit: str, present: SettingsResult, changes: list[str], yes: bool, as_json: bool) -> bool:
    """Show the difference, and ask where nobody said yes before."""
    if as_json:
        if not yes:
            print_json(
                {"done": False, "version": present.version, "diff": changes, "next_step": "Add --yes to send it."}
            )
        return yes
    if present.version == 0:
        aside.print(
            "The centre has never set this unit's settings: these take the place of those tables in its unit.toml."
        )
    elif not present.in_force:
        aside.print(
            f"The unit runs on version {present.reported_version}; compared is version {present.version}, sent last."
        )
    if not changes:
        aside.print("Nothing differs from what was sent last; the unit does not run on that yet.")
    for text in changes:
        colour = COLOURS.get(text[:1], "dim")
        aside.print(f"[{colour}]{escape(text)}[/{colour}]", highlight=False, soft_wrap=True)
    if not present.online:
        aside.print(f"{escape(unit)} is off-line: it takes them up when it comes back.")
    return yes or typer.confirm(f"Send this to {unit}?", err=True)


def _tell_outcome(found: SettingsResult, as_json: bool, changes: list[str]) -> None:
    """What became of it. Exit code 1 where the unit does not run on it and says why."""
    outcome = "in force" if found.in_force else "refused" if found.refused else "sent"
    texts = {
        "in force": f"[green]{found.unit} runs on version {found.version}.[/green]",
        "sent": f"Version {found.version} is sent; 'status {found.unit}' shows when the unit has taken it up.",
        "refused": f"[red]{found.unit} stays on {found.reported_version} and does not take {found.version}.[/red]",
    }
    fields = {
        "done": not found.refused, "outcome": outcome, "version": found.version, "reported": found.reported_version,
        "problem": found.problem, "detail": found.detail, "diff": changes,
    }  # fmt: skip
    if found.problem is not None:
        wording = WORDING[found.problem]
        fields["next_step"] = wording.do_en
        texts["refused"] += f"\n{wording.what_en} {escape(found.detail)}\n{wording.do_en}"
    _say(as_json, fields, texts[outcome])
    if found.refused:
        raise typer.Exit(1)


def _say(as_json: bool, fields: dict[str, Any], text: str) -> None:
    if as_json:
        print_json(fields)
    else:
        screen.print(text, highlight=False, soft_wrap=True)
