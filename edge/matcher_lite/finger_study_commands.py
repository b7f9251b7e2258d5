"""The finger commands of rekam-match that study rather than use: what quality predicts, what extraction bears."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from contract.errors import RekamError
from edge.matcher_lite.finger_commands import Fmr, Ppi, console
from edge.matcher_lite.finger_quality_evaluation import (
    REJECTED,
    evaluate_quality,
    fnmr_rejecting,
    mean_fnmr,
    quality_page,
)
from edge.matcher_lite.finger_stress import ALTERATIONS, stress


def evaluate_quality_command(
    folders: Annotated[list[Path], typer.Argument(help="Folders of images named FINGER_IMPRESSION.tif.")],
    ppi: Ppi = None,
    fmr: Fmr = 1e-4,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    html_out: Annotated[Path | None, typer.Option("--html", help="Write a page with the curve here.")] = None,
) -> None:
    """Show how well quality predicts comparison on your own prints: the error-versus-reject curve.

    Beside the learnt score stand the classical one and an ideal one that knows which pairs fail.
    Example: rekam-match evaluate-quality prints/A prints/B --html out/quality.html
    """
    curves = evaluate_quality(folders, ppi, fmr)
    heads = [f"{100 * share:g} %" for share in REJECTED]
    table = Table(
        "worst quality first", *heads, "mean to 30 %", title=f"{curves.name}: {curves.missed.size} mated pairs"
    )
    table.caption = f"FNMR in per cent at FMR {fmr:g} when such a share of the pairs is sent back"
    for name, quality in curves.scores().items():
        rates = [fnmr_rejecting(curves.missed, quality, share) for share in REJECTED]
        table.add_row(name, *(f"{100 * rate:.2f}" for rate in (*rates, mean_fnmr(curves.missed, quality))))
    console.print(table)
    for target, text in ((json_out, json.dumps(curves.figures(), indent=1) + "\n"), (html_out, quality_page(curves))):
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")


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
    """Adds the commands to `app`."""
    app.command("evaluate-quality")(evaluate_quality_command)
    app.command("stress")(stress_command)
