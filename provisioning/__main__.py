"""rekam-provision: the technician's command line."""

from __future__ import annotations

import logging
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console

from contract.errors import RekamError
from provisioning import (
    box_commands,
    collect_command,
    init_command,
    release_commands,
    remote_commands,
    round_command,
    technician_commands,
    unit_commands,
    update_command,
)
from provisioning.help_text import teach
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
GROUPS = (
    init_command, box_commands, unit_commands, remote_commands, technician_commands, update_command, collect_command,
    round_command,
    release_commands,
)  # fmt: skip
for commands in GROUPS:
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
    if world.updates is not None:
        console.print(f"Keep {out}/releases off-line, and each key in {out}/releases/keys with another person.")


@app.command("flash-controller")
def flash_controller_command(
    port: Annotated[str, typer.Option(help="The board's USB port, such as /dev/ttyACM0.")],
    key: Annotated[Path | None, typer.Option(help="File of this board's HMAC key, 32 bytes.")] = None,
    new_key: Annotated[bool, typer.Option("--new-key", help="Make the key file first.")] = False,
    image: Annotated[Path | None, typer.Option(help="Folder of built firmware; else it is built.")] = None,
    board: Annotated[
        str, typer.Option(help="board_rp2 or board_esp32; the board is asked where this is left out.")
    ] = "",
) -> None:
    """Write the controller's firmware to a board by cable, verify it, and set the board's key.

    The board has MicroPython 1.29 on it. Interrupted anywhere, it waits for this command to be run again.

    Example: rekam-provision flash-controller --port /dev/ttyACM0 --key desk-a1.controller.key --new-key
    """
    from provisioning.controller_flash import flash_controller, read_or_make_key
    from provisioning.firmware_image import build_image, read_image

    try:
        secret = read_or_make_key(key, make=new_key) if key is not None else b""
        with tempfile.TemporaryDirectory() as folder, console.status("Flashing") as status:
            firmware = read_image(image) if image is not None else build_image(Path(folder))
            done = flash_controller(port, firmware, board=board, key=secret, progress=status.update)
    except RekamError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from None
    console.print(f"[green]Done.[/green] {done.files} files, {done.size} bytes verified on {done.board}")
    if not done.has_key:
        console.print("The board has no key: it takes no update over its link until --key gives it one.")


teach(app)


def main() -> None:
    """Entry point of rekam-provision."""
    app()


if __name__ == "__main__":
    main()
