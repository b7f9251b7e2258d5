"""Tries the extractor's advice on captures spoilt in one known way each: which advice is given for which fault.

`python -m virtual.evaluate_advice` prints a row for each degradation: how often each advice is given, how often none,
and the median quality. People and seeds are others than those the model was learnt from.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from edge.matcher_lite import FingerAdvice, extract
from virtual.finger_degradations import Degradation, degraded
from virtual.finger_presets import EVERYDAY
from virtual.finger_protocol import FINGERS_USED
from virtual.people import person

MEANT: Final = {
    Degradation.DRY: FingerAdvice.TOO_DRY,
    Degradation.WET: FingerAdvice.TOO_WET,
    Degradation.PARTIAL: FingerAdvice.TOO_LITTLE,
    Degradation.SMEARED: FingerAdvice.SMEARED,
    Degradation.MOVED: FingerAdvice.MOVED,
    Degradation.NOISY: FingerAdvice.UNCLEAR,
    Degradation.LATENT: FingerAdvice.UNCLEAR,
}
"""The advice that each degradation asks for."""
TABLE_WIDTH: Final = 116


@dataclass(frozen=True, slots=True)
class Row:
    """Shares of one degradation's prints, 0..1: by advice given (a print may get two), and without any advice."""

    given: dict[FingerAdvice, float]
    silent: float
    quality: float


def confusion(seed: int, fingers: int, severity: tuple[float, float] = (0.75, 1.0)) -> dict[Degradation, Row]:
    """Each degradation with what was advised for `fingers` prints of as many people, one print each."""
    found = {}
    for kind in Degradation:
        rng = np.random.default_rng([seed, list(Degradation).index(kind)])
        counts: Counter[FingerAdvice] = Counter()
        silent, qualities = 0, []
        for index in range(fingers):
            position = FINGERS_USED[index % len(FINGERS_USED)]
            image = degraded(person(seed, index), position, 0, kind, float(rng.uniform(*severity)), preset=EVERYDAY)
            template = extract(image)
            counts.update(template.advice)
            silent += not template.advice
            qualities.append(template.quality)
        shares = {advice: counts[advice] / fingers for advice in FingerAdvice}
        found[kind] = Row(shares, silent / fingers, float(np.median(qualities)))
    return found


def show(
    seed: Annotated[int, typer.Option(help="Population.")] = 20264,
    fingers: Annotated[int, typer.Option(min=2, max=9999, help="Prints of each degradation.")] = 60,
) -> None:
    """Show which advice is given for which fault, in per cent of its prints.

    Example: python -m virtual.evaluate_advice --fingers 60
    """
    table = Table("spoilt", "quality", *(str(advice) for advice in FingerAdvice), "none")
    for kind, row in confusion(seed, fingers).items():
        cells = [f"{100 * row.given[advice]:.0f}" for advice in FingerAdvice]
        table.add_row(str(kind), f"{row.quality:.0f}", *cells, f"{100 * row.silent:.0f}")
    Console(width=TABLE_WIDTH).print(table)


if __name__ == "__main__":
    typer.run(show)
