"""Commands about technicians themselves: taking another's certificates away, and what the hub refused them."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from contract.clock import utc
from contract.technician import ROWS_MAX, DismissOrder, RefusedOrder, RefusedResult, RefusedRow, Verb
from provisioning.line import HubLine
from provisioning.session import (
    HERE,
    WAIT_S,
    IdentityOption,
    JsonOption,
    ReasonOption,
    WaitOption,
    converse,
    listing,
    plain,
    print_json,
    screen,
)

SHOWN_MAX = 500


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(dismiss)
    app.command()(refused)


def dismiss(
    technician: Annotated[str, typer.Argument(help="The other technician's id.")],
    reason: ReasonOption,
    identity: IdentityOption = HERE,
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Take another technician's certificates away, now: their session ends within seconds, and nothing lets them in.

    Example: rekam-provision dismiss tek-budi --reason "laptop stolen in Contoh"

    You must work wherever they do. They come back, if they do, by 'enrol' and 'rekam-hub certify-technician'. An
    officer who revokes them as operator in the hub's console does the same, and takes their other rights too.
    """
    order = DismissOrder(technician=technician, reason=reason)
    converse(identity, wait, as_json, lambda line: line.tell(Verb.DISMISS, order))
    if as_json:
        print_json({"done": True})
    else:
        screen.print(f"[green]{escape(technician)} has no certificate any more.[/green]")


def refused(
    identity: IdentityOption = HERE,
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Show the orders that the hub refused, the newest first: who, what, and why.

    Example: rekam-provision refused

    Who works at every site sees everybody's, another their own. The hub keeps them in a history that cannot be changed.
    """

    async def talk(line: HubLine) -> list[RefusedRow]:
        rows: list[RefusedRow] = []
        more = True
        while more and len(rows) < SHOWN_MAX:
            found = await line.ask(Verb.REFUSED, RefusedOrder(page=len(rows) // ROWS_MAX), RefusedResult)
            rows, more = rows + list(found.rows), found.more
        return rows

    rows = converse(identity, wait, as_json, talk)
    if as_json:
        print_json([plain(row) for row in rows])
        return
    if not rows:
        screen.print("No order was refused.")
        return
    table = listing("when (UTC)", "who", "what", "why", whole=("when (UTC)",), title="Orders that the hub refused")
    for row in rows:
        why = (
            f"{row.why} ({row.left_out_before} more before it were not written down)"
            if row.left_out_before
            else row.why
        )
        when = utc(row.at_ms).strftime("%m-%d %H:%M:%S")
        table.add_row(when, row.technician, f"{row.verb} {row.about}".strip(), escape(why))
    screen.print(table)
