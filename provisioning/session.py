"""What every command of the tool shares: who speaks, how long it waits, how it shows progress, results and refusals."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from contract.errors import RekamError
from contract.packet import Model
from provisioning.line import HubLine, Patience, Refused
from provisioning.technician_identity import load_identity

T = TypeVar("T")
# What moves a terminal's cursor, names its window, fills its clipboard, or turns the reading direction.
_UNSEEN = dict.fromkeys((*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd")
del _UNSEEN[ord("\n")], _UNSEEN[ord("\t")]


class Screen(Console):
    """A terminal that units and strangers write to by way of their reports: as text, never as commands to it."""

    def render_str(self, text: str, **options: Any) -> Text:
        """See Console."""
        return super().render_str(text.translate(_UNSEEN), **options)


screen = Screen()
aside = Screen(stderr=True)
IdentityOption = Annotated[
    Path,
    typer.Option(
        "--identity", "-i", envvar="REKAM_IDENTITY", help="Your folder, as 'init' or 'setup' made it: technicians/NAME."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON, refusals too.")]
WaitOption = Annotated[
    float, typer.Option("--wait", min=1, help="Seconds to keep trying over a link that is down; safe to give again.")
]
UnitArgument = Annotated[str, typer.Argument(help="The unit's name.")]
ReasonOption = Annotated[str, typer.Option(help="Why, in a sentence; it is kept in the unit's history.")]
HERE = Path("technician")
WAIT_S = 900.0
QUIET_S, SAID_AGAIN_S = 5.0, 60.0


def converse(identity: Path, wait_s: float, as_json: bool, talk: Callable[[HubLine], Awaitable[T]]) -> T:
    """Run a conversation with the hub, showing what is waited for. A refusal is told, and ends with exit code 1."""

    async def main(progress: Callable[[str], None]) -> T:
        async with HubLine(load_identity(identity), progress, Patience(total_s=wait_s)) as line:
            try:
                if await line.keep_certificate_good():
                    aside.print("[dim]Your certificate was renewed.[/dim]")
            except Refused as refused:
                words = f"Your certificate could not be renewed: {refused.message} {refused.next_step}"
                aside.print(f"[yellow]{escape(words)}[/yellow]", soft_wrap=True)
            return await talk(line)

    try:
        with waiting("Looking for the hub") as tell:
            return asyncio.run(main(tell))
    except RekamError as error:
        raise told(error, as_json) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@contextmanager
def waiting(first: str, clock: Callable[[], float] = time.monotonic) -> Iterator[Callable[[str], None]]:
    """Shows what is waited for: one line that changes, or in a log a line for each wait that takes long."""
    if aside.is_terminal:
        with aside.status(first) as status:
            yield lambda what: status.update(escape(what))
        return
    since, said = clock(), dict[str, float]()

    def tell(what: str) -> None:
        now = clock()
        if now - since >= QUIET_S and now - said.get(what, -SAID_AGAIN_S) >= SAID_AGAIN_S:
            said[what] = now
            aside.print(escape(what), soft_wrap=True, highlight=False)

    yield tell


def told(error: RekamError, as_json: bool) -> typer.Exit:
    """Say what happened and what to do; the exit to raise."""
    problem = error.problem if isinstance(error, Refused) else getattr(error, "problem", None)
    if as_json:
        print_json({"done": False, "problem": problem, **error.diagnostics()})
    else:
        aside.print(f"[bold red]{escape(error.message)}[/]\n{escape(error.next_step)}", soft_wrap=True, highlight=False)
    return typer.Exit(1)


def listing(*heads: str, whole: tuple[str, ...] = (), title: str = "") -> Table:
    """A table that loses nothing on a terminal of 80 columns: long words are folded, and the columns `whole` never."""
    table = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for head in heads:
        table.add_column(head, overflow="fold", no_wrap=head in whole)
    return table


def print_json(value: Any) -> None:
    """One JSON value, as a program reads it."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def plain(model: Model) -> dict[str, Any]:
    """A message as plain values; bytes are base64 text."""
    fields: dict[str, Any] = model.model_dump(mode="json")
    return fields
