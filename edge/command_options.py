"""The option that every command of a unit takes: which unit.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigPath = Annotated[
    Path, typer.Option("--config", "-c", envvar="REKAM_CONFIG", help="The unit's TOML file.", show_default=True)
]
DEFAULT_CONFIG = Path("unit.toml")
