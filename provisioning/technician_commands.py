"""Commands about technicians themselves: taking another's certificates away."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from contract.technician import DismissOrder, Verb
from provisioning.session import (
    HERE,
    WAIT_S,
    IdentityOption,
    JsonOption,
    ReasonOption,
    WaitOption,
    converse,
    print_json,
    screen,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(dismiss)


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
