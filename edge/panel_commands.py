"""The technician's command for the controller: new firmware over its link."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from edge.command_options import DEFAULT_CONFIG, ConfigPath
from edge.config import load_config
from edge.data_lock import only_agent
from edge.panel_update import update_over_port
from edge.panel_words import version_text

out = Console()
err = Console(stderr=True)


def update_controller(
    image: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="controller.bin of this release.")],
    key: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="This board's HMAC key, 32 bytes.")],
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Bring new firmware to the controller over its link; interrupted at any moment it goes on with what it runs.

    The image must have been verified as part of the release. Stop the agent first.

        rekam-edge update-controller controller.bin --key controller.key --config /var/lib/rekam/unit/unit.toml
    """
    loaded = load_config(config)
    with only_agent(loaded.unit.data_dir), err.status("Updating the controller") as shown:
        identity = update_over_port(
            loaded.devices.get("controller", {}), image.read_bytes(), key.read_bytes(),
            lambda done, whole: shown.update(f"Updating the controller: {100 * done // whole} %"),
        )  # fmt: skip
    out.print(f"Controller {identity.serial} runs {version_text(identity.version)} in slot {'ab'[identity.slot]}.")
