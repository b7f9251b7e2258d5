"""Commands that a unit carries out now: its self-test with pictures, its log, its next certificate."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from contract.clock import utc
from contract.durations import duration_s
from contract.errors import DeviceError, RekamError, RemoteError, TransientError
from contract.technician import Verb
from contract.unit_command import Level, LogLine, LogPage, LogsAsk, Nothing, SelftestAsk, TriedDevice
from provisioning.line import HubLine
from provisioning.session import (
    HERE,
    WAIT_S,
    IdentityOption,
    JsonOption,
    UnitArgument,
    WaitOption,
    aside,
    converse,
    listing,
    plain,
    print_json,
    screen,
    told,
)

FOLLOW_S = 3.0
OUTCOMES = {"ok": "green", "failed": "bold red"}
LEVEL_STYLES = {"warning": "yellow", "error": "red", "critical": "bold red", "debug": "dim"}
LevelOption = Annotated[str, typer.Option(help="At least this grave: debug, info, warning, error or critical.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("test")(test_unit)
    app.command()(logs)
    app.command()(renew)


def test_unit(
    unit: UnitArgument,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Ask for what the cameras and scanners see.")
    ] = True,
    out: Annotated[Path | None, typer.Option(help="Save the pictures as PNG in this folder, yours alone.")] = None,
    identity: IdentityOption = HERE,
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Run a unit's self-test now, from here: each device with its result, its time and what to do, and what it sees.

    Example: rekam-provision test desk-a7 --out pictures

    The unit refuses while it serves somebody, and says on its own screen that a test runs. Pictures may show a person:
    only this tool can open them, so delete what you saved when it has served. Exit code 1 where a device failed.
    """
    from provisioning.remote_pictures import keep_pictures, make_picture_folder

    rows: list[TriedDevice] = []

    async def talk(line: HubLine) -> None:
        async with aclosing(line.command(Verb.TEST, unit, SelftestAsk(pictures=pictures), TriedDevice)) as found:
            async for row in found:
                rows.append(row)
                if not as_json:
                    screen.print(_row_line(row, len(rows)), highlight=False, soft_wrap=True)

    try:
        folder = make_picture_folder(out) if out is not None else None
    except RekamError as error:
        raise told(error, as_json) from None
    converse(identity, wait, as_json, talk)
    saved = keep_pictures(unit, rows, folder) if folder is not None else []
    failed = [row.kind for row in rows if row.outcome == "failed"]
    if as_json:
        fields = [plain(row.model_copy(update={"pictures": ()})) | {"pictures": len(row.pictures)} for row in rows]
        print_json(
            {"done": True, "passed": not failed, "unit": unit, "rows": fields, "saved": [str(path) for path in saved]}
        )
    else:
        _show(unit, rows, saved)
    if failed:
        raise typer.Exit(1)


def logs(
    unit: UnitArgument,
    since: Annotated[
        str, typer.Option(help="How far back: 90s, 15m, 2h, 3d; empty for all that the unit keeps.")
    ] = "1h",
    level: LevelOption = "info",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    identity: IdentityOption = HERE,
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Read a unit's own log, page by page; a link that drops costs nothing but time.

    Example: rekam-provision logs desk-a7 --since 1h --level warning

    The unit keeps its newest 8,000 lines or so, sealed. No line names a person; only this tool can open what it sends.
    At the unit itself: 'rekam-edge logs'.
    """
    try:
        ask = LogsAsk(since_s=duration_s(since) if since else 0, level=_level(level))
    except RekamError as error:
        raise told(error, as_json) from None
    converse(identity, wait, as_json, lambda line: _read(line, unit, ask, follow=follow, as_json=as_json))


def renew(
    unit: UnitArgument, identity: IdentityOption = HERE, wait: WaitOption = WAIT_S, as_json: JsonOption = False
) -> None:
    """Ask a unit to get its next certificate now; by itself it does so at two thirds of the present one's life.

    Example: rekam-provision renew desk-a7
    """

    async def talk(line: HubLine) -> None:
        async with aclosing(line.command(Verb.RENEW, unit, Nothing(), Nothing)) as answers:
            async for _ in answers:
                pass

    converse(identity, wait, as_json, talk)
    if as_json:
        print_json({"done": True})
    else:
        screen.print(f"[green]{escape(unit)} has asked. 'status {escape(unit)}' shows the new certificate.[/green]")


async def _read(line: HubLine, unit: str, ask: LogsAsk, *, follow: bool, as_json: bool) -> None:
    """Every page from where the one before ended; each is a command of its own, so a drop costs one page at most."""
    first = True
    while True:
        async with aclosing(line.command(Verb.LOGS, unit, ask, LogPage)) as answer:
            page = await anext(answer, None)
        if page is None:
            raise TransientError(f"{unit} sent no page.", next_step="Give the command again.")
        if not as_json and first and page.dropped:
            aside.print(f"{page.dropped} lines were lost at the unit: they came faster than its disk took them.")
        for item in page.lines:
            _print_line(item, as_json)
        if page.more and page.looked_to <= ask.after:
            raise RemoteError(f"{unit} sends the same page for ever.", next_step="Look at the unit's log on the spot.")
        first, ask = False, ask.model_copy(update={"after": page.looked_to})
        if page.more:
            continue
        if not follow:
            return
        await asyncio.sleep(FOLLOW_S)


def _level(name: str) -> Level:
    levels: tuple[Level, ...] = ("debug", "info", "warning", "error", "critical")
    for level in levels:
        if level == name:
            return level
    raise DeviceError(f"'{name[:20]}' is no level.", next_step=f"Write one of {', '.join(levels)}.")


def _print_line(line: LogLine, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(line.model_dump(), ensure_ascii=False))
        return
    style = LEVEL_STYLES.get(line.level, "default")
    screen.print(
        f"{utc(line.at_ms):%Y-%m-%d %H:%M:%S} [{style}]{line.level:8}[/] {escape(line.event)}  "
        f"[dim]{escape(line.fields)}[/]",
        soft_wrap=True, highlight=False,
    )  # fmt: skip


def _row_line(row: TriedDevice, number: int) -> str:
    style = OUTCOMES.get(row.outcome, "dim")
    return f"[dim]{number}/{row.rows}[/] {escape(row.kind):14} [{style}]{row.outcome}[/]  {escape(row.found)}"


def _show(unit: str, rows: list[TriedDevice], saved: list[Path]) -> None:
    from provisioning.remote_pictures import picture_in_blocks

    table = listing(
        "device", "driver", "result", "ms", "found", "what to do",
        whole=("device", "result", "ms"), title=f"Self-test of {escape(unit)}",
    )  # fmt: skip
    for row in rows:
        style = OUTCOMES.get(row.outcome, "dim")
        who = " ".join(filter(None, (row.model, row.serial)))
        found = f"{who}: {row.found}" if who else row.found
        cells = (row.kind, escape(row.driver), f"[{style}]{row.outcome}[/]", str(row.time_ms), escape(found))
        table.add_row(*cells, escape(row.next_step))
    screen.print(table)
    for row in rows:
        for picture in row.pictures:
            shown: Any = picture_in_blocks(picture, screen.width) if screen.is_terminal else None
            if shown is not None:
                screen.print(f"[bold]{escape(row.kind)}[/]", shown, sep="\n")
    if any(row.pictures for row in rows):
        where = f"saved in {escape(str(saved[0].parent))}" if saved else "not saved; --out FOLDER keeps them"
        aside.print(f"Pictures may show a person ({where}). Delete them when they have served.", soft_wrap=True)
