"""The finger commands of rekam-match that study rather than use: what extraction bears."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from contract.errors import RekamError
from edge.matcher_lite.finger_commands import Ppi, console
from edge.matcher_lite.finger_stress import ALTERATIONS, stress


def stress_command(
    folders: Annotated[list[Path], typer.Argument(help="Folders of images named FINGER_IMPRESSION.tif.")],
    ppi: Ppi = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this alteration; may be repeated.")] = None,
) -> None:
    """Measure error rates on your own prints as other scanners would have seen them; means over the folders.

    Example: rekam-match stress prints/A prints/B
    Example: rekam-match stress prints/A --only 'black margin' --only 'gamma 2'
    """
    unknown = set(only or ()) - set(ALTERATIONS)
    if unknown:
        raise RekamError(
            f"There is no alteration {sorted(unknown)[0]!r}.", next_step=f"Choose from: {'; '.join(ALTERATIONS)}."
        )
    table = Table("seen", "EER std, %", "EER cross, %", "FNMR at FMR 1e-3, %", "failed to enrol")
    for name in only or ALTERATIONS:
        figures = [stress(folder, ppi, name).figures() for folder in folders]
        rates = [
            float(np.mean([each[key] for each in figures])) for key in ("eer_std", "eer_cross", "fnmr_fmr1000_cross")
        ]
        table.add_row(name, *(f"{rate:.2f}" for rate in rates), str(sum(each["fte"] for each in figures)))
    console.print(table)


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command("stress")(stress_command)
