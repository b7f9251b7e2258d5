"""rekam-provision: the technician's command line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from contract.errors import RekamError
from provisioning.setup import set_up
from provisioning.world import EXAMPLE, load_world

app = typer.Typer(
    name="rekam-provision",
    help="Set up sites, units and operators of Rekam.\n\nStart with: rekam-provision example > world.toml",
    no_args_is_help=True,
    add_completion=False,
)
console = Console(stderr=True)


@app.callback()
def _commands() -> None:
    """Keep one command a command: without a callback typer would drop its name."""


@app.command()
def example() -> None:
    """Print a world file to start from.

    Example: rekam-provision example > world.toml
    """
    print(EXAMPLE, end="")


@app.command()
def setup(
    world_file: Annotated[Path, typer.Argument(metavar="WORLD.toml", help="Sites, units, operators and ports.")],
    out: Annotated[Path, typer.Option(help="A folder that does not exist yet.")],
) -> None:
    """Make authority, keys, certificates and configuration of every party in one go.

    Example: rekam-provision setup world.toml --out /var/lib/rekam

    Afterwards copy OUT/units/NAME to each unit, start the broker with OUT/broker/mosquitto.conf and the hub with
    OUT/hub/hub.toml, and take OUT/recovery and OUT/ca off this machine.
    """
    try:
        world = load_world(world_file)
        with console.status("Setting up") as status:
            set_up(world, world_file.parent, out, datetime.now(UTC), lambda what: status.update(f"Setting up: {what}"))
    except (RekamError, OSError) as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from None
    console.print(f"[green]Done.[/green] {len(world.units)} units, {len(world.operators)} operators in {out}")
    console.print(f"Keep {out}/recovery and {out}/ca off-line: whoever has them can open packets and speak as a unit.")


def main() -> None:
    """Entry point of rekam-provision."""
    app()


if __name__ == "__main__":
    main()
