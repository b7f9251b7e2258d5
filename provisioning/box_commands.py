"""Commands from the depot to the counter: claim media, who knocks, approval."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from contract.clock import utc
from contract.commissioning_problems import WORDING
from contract.errors import DeviceError, RekamError
from contract.technician import ApproveOrder, KnockRow, KnocksOrder, KnocksResult, Verb
from provisioning.claims import make_claims, wishes_for, write_media
from provisioning.labels import label_page
from provisioning.line import HubLine
from provisioning.session import (
    HERE,
    WAIT_S,
    IdentityOption,
    JsonOption,
    WaitOption,
    aside,
    converse,
    listing,
    plain,
    print_json,
    screen,
    told,
)
from provisioning.settings_file import load_settings_file
from provisioning.unit_tables import age

LABELS = "labels.html"
WATCH_S = 2.0
CLOCK_NOTED_MS = 60_000
ALL_SOFTWARE = "tls=software sign=software"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(box)
    app.command()(watch)
    app.command()(approve)


def box(
    count: Annotated[int, typer.Argument(min=1, max=1000, help="How many boxes.")],
    out: Annotated[Path, typer.Option(help="A folder; each box gets a sub-folder to copy to its media.")],
    serial: Annotated[list[str] | None, typer.Option(help="Bind each claim to a serial number; once for each.")] = None,
    hours: Annotated[int, typer.Option(min=1, max=72, help="How long the claims live.")] = 72,
    identity: IdentityOption = HERE,
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Make claim media for boxes, and a page of labels to print.

    Example: rekam-provision box 2 --serial 10000000abc1 --serial 10000000abc2 --out claims

    Copy OUT/1/rekam-claim.bin to a memory stick, put it into the first box, and stick its label on. A claim is used
    once and opens the provisioning listener only; whoever finds the stick can knock, and is not let in without you.
    """
    try:
        wishes = wishes_for(count, serial or [])
        if out.exists() and any(out.iterdir()):
            raise DeviceError(f"{out} is not empty.", next_step="Name a new folder for these claims.")
    except RekamError as error:
        raise told(error, as_json) from None
    claims = converse(identity, wait, as_json, lambda line: make_claims(line, wishes, hours))
    try:
        paths = [write_media(claim, out / str(number)) for number, claim in enumerate(claims, 1)]
        (out / LABELS).write_text(label_page(claims), encoding="utf-8")
    except (RekamError, OSError) as error:
        failed = error if isinstance(error, RekamError) else DeviceError(f"{out} cannot be written: {error}.")
        raise told(failed, as_json) from None
    if as_json:
        made = zip(claims, paths, strict=True)
        print_json([{"nonce": c.nonce, "serial": c.serial, "until": c.until, "file": str(p)} for c, p in made])
        return
    for claim, path in zip(claims, paths, strict=True):
        screen.print(f"{path}  {claim.nonce}  {claim.serial or 'any serial'}  until {claim.until}", soft_wrap=True)
    screen.print(f"Print {out / LABELS} and put a label on each box.")


def watch(
    once: Annotated[bool, typer.Option("--once", help="Show who knocks now, and end.")] = False,
    identity: IdentityOption = HERE,
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Show the units that knock, live, until Ctrl-C.

    Example: rekam-provision watch --identity technicians/tek-andi

    The code must be the one on the unit's own screen; then give it to 'approve'. With --json one line a change.
    """

    async def talk(line: HubLine) -> None:
        if as_json:
            await _watch_as_json(line, once)
            return
        if once:
            screen.print(knocks_table(await _all_knocks(line)))
            return
        with Live(knocks_table([]), console=aside, refresh_per_second=4) as live:
            while True:
                live.update(knocks_table(await _all_knocks(line)))
                await asyncio.sleep(WATCH_S)

    converse(identity, wait, as_json, talk)


def approve(
    code: Annotated[str, typer.Argument(help="The code on the unit's screen, like 7K3M-Q9TB-2XWE.")],
    unit: Annotated[str, typer.Option(help="The unit's name from now on.")],
    site: Annotated[str, typer.Option(help="The code of the site where it stands.")],
    role: Annotated[str, typer.Option(help="kiosk, desk, mobile, handover, station or server.")],
    settings: Annotated[Path | None, typer.Option(help="TOML with its devices and policy; see 'configure'.")] = None,
    replaces: Annotated[str, typer.Option(help="The dead unit whose place it takes.")] = "",
    identity: IdentityOption = HERE,
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Approve a knocking unit: bind this box, by the code on its screen, to a name at a site.

    Example: rekam-provision approve 7K3M-Q9TB-2XWE --unit desk-a7 --site 9901-A --role desk --settings desk.toml

    You sign site, name, serial number and keys. The unit then gets its certificate, takes its configuration, tests its
    devices and enters service by itself.
    """
    try:
        tables = load_settings_file(settings) if settings is not None else {}
    except RekamError as error:
        raise told(error, as_json) from None

    async def talk(line: HubLine) -> KnockRow:
        row = _find(await _all_knocks(line), code)
        order = _approval(row, {"unit": unit, "site": site, "role": role, "tables": tables, "replaces": replaces})
        await line.tell(Verb.APPROVE, order)
        return row

    row = converse(identity, wait, as_json, talk)
    if as_json:
        print_json({"done": True, "unit": unit, "site": site, "serial": row.serial, "nonce": row.nonce})
    else:
        screen.print(f"[green]{unit}[/green] (serial {row.serial}) is approved for {site}; see 'status {unit}'.")
        if not tables:
            screen.print("It has no device yet: 'configure' gives it some, or 'approve' with --settings at once.")


def _approval(row: KnockRow, typed: Mapping[str, object]) -> ApproveOrder:
    """The approval from what knocks and what was typed. Raises DeviceError that names the wrong word."""
    seen = {"nonce": row.nonce, "serial": row.serial, "key_digest": row.key_digest}
    try:
        return ApproveOrder.model_validate({**seen, **typed})
    except ValidationError as error:
        wrong = ", ".join(str(problem["loc"][0]) for problem in error.errors())
        raise DeviceError(f"Not valid: {wrong}.", next_step="See 'rekam-provision approve --help'.") from None


async def _all_knocks(line: HubLine) -> list[KnockRow]:
    rows: list[KnockRow] = []
    page = 0
    while True:
        found = await line.ask(Verb.KNOCKS, KnocksOrder(page=page), KnocksResult)
        rows += found.rows
        if not found.more:
            return rows
        page += 1


def _find(rows: list[KnockRow], code: str) -> KnockRow:
    wanted = code.strip().upper()
    found = [row for row in rows if row.fingerprint == wanted and row.state != "done"]
    if len(found) != 1:
        raise DeviceError(
            f"No unit knocks with the code {wanted}.",
            next_step="Read the code from the unit's own screen again; 'watch' lists those that knock.",
        )
    return found[0]


async def _watch_as_json(line: HubLine, once: bool) -> None:
    seen: dict[str, tuple[str, str | None]] = {}
    while True:
        for row in await _all_knocks(line):
            now = (row.state, row.problem)
            if seen.get(row.nonce) != now:
                seen[row.nonce] = now
                print_json(plain(row))
        if once:
            return
        await asyncio.sleep(WATCH_S)


def knocks_table(rows: list[KnockRow]) -> Table | str:
    """Who knocks: the code as it stands on the unit's own screen, which box that is, and what is to be done.

    Whoever needs somebody comes first: a terminal shows the top of a long list.
    """
    if not rows:
        return "No unit knocks yet. A box does once its claim media are plugged in."
    whole, title = ("code", "knocked (UTC)"), "Units that knock"
    if any(row.state == "waiting" for row in rows):
        title += "\n[not italic]rekam-provision approve CODE --unit NAME --site SITE --role ROLE[/]"
    table = listing("code", "box", "knocked (UTC)", "state, what to do", whole=whole, title=title)
    for row in sorted(rows, key=lambda row: (row.state == "done", -row.knocked_ms)):
        advice = f"{WORDING[row.problem].what_en} {WORDING[row.problem].do_en}" if row.problem else ""
        if row.state == "waiting" and row.problem is None:
            advice = "compare the code, then 'approve' it"
        if abs(row.clock_off_ms) > CLOCK_NOTED_MS:
            advice = f"Its clock is off by {age(abs(row.clock_off_ms) // 1000)}. {advice}"
        when = utc(row.knocked_ms).strftime("%m-%d %H:%M:%S")
        state = f"{row.state} {row.unit}".strip()
        home = row.key_home.replace(ALL_SOFTWARE, "software keys")
        box_words = "\n".join((row.serial, escape(row.model), home))
        table.add_row(row.fingerprint, box_words, when, f"{state}: {advice}".removesuffix(": "))
    return table
