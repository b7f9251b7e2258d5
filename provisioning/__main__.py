"""rekam-provision: the technician's command line."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console

from contract.errors import RekamError
from provisioning import box_commands, init_command, unit_commands
from provisioning.setup import set_up
from provisioning.world import EXAMPLE, load_world

app = typer.Typer(
    name="rekam-provision",
    help="The technician's tool: make an authority, let boxes in, look after units, put them out.\n\n"
    "A new world: init, then box, watch, approve. A demo, a test or a small office all at once: example, setup.",
    no_args_is_help=True,
    add_completion=False,
)
console = Console(stderr=True)
for commands in (init_command, box_commands, unit_commands):
    commands.register(app)


@app.callback()
def _commands() -> None:
    """Log lines belong on standard error, and only those that progress and result do not say better."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


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
