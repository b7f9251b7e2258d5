"""Tries the extractor's advice on captures spoilt in one known way each: which advice is given for which fault.

`python -m virtual.evaluate_advice` prints a row for each degradation: how often each advice is given, how often none,
and the median quality. With `--meaning` it prints instead how prints of each grade compare with good prints of their
finger. People and seeds are others than those the model was learnt from.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from contract.comparison import threshold_at
from contract.errors import DeviceError
from edge.matcher_lite import FingerAdvice, extract
from edge.matcher_lite.finger_quality_model import graded, shipped_model
from virtual.finger_degradations import Degradation, degraded
from virtual.finger_presets import EVERYDAY
from virtual.finger_protocol import FINGERS_USED
from virtual.finger_quality_samples import samples_of
from virtual.finger_quality_train import VALUE_FULL
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
GRADES: Final = (0, 30, 50, 70, 85)


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


@dataclass(frozen=True, slots=True)
class Grade:
    """Prints graded `least` and more: how many, what their grade promises, what they score, and how many are missed."""

    least: int
    prints: int
    promised: float
    value: float
    missed: float


def meaning(seed: int, fingers: int) -> list[Grade]:
    """Each grade with the mean value promised by it, the mean value found (counted to 120), and FNMR at FMR 1e-4."""
    samples = [sample for index in range(fingers) for sample in samples_of(seed, index)]
    model = shipped_model()
    if model is None:
        raise DeviceError("No runtime for the quality model is installed.", next_step="Install ai-edge-litert.")
    quality = np.array([graded(model(sample.evidence)).value for sample in samples])
    values = np.array([sample.value for sample in samples])
    found = []
    for least, most in itertools.pairwise((*GRADES, 101)):
        chosen = (quality >= least) & (quality < most)
        if chosen.any():
            scored = float(np.clip(values[chosen], 0.0, VALUE_FULL).mean())
            missed = float((values[chosen] < threshold_at(1e-4)).mean())
            promised = VALUE_FULL / 100 * float(quality[chosen].mean())
            found.append(Grade(least, int(chosen.sum()), promised, scored, missed))
    return found


def show(
    seed: Annotated[int, typer.Option(help="Population.")] = 20264,
    fingers: Annotated[int, typer.Option(min=2, max=9999, help="Prints of each degradation.")] = 60,
    of_grades: Annotated[bool, typer.Option("--meaning", help="Show what grades mean instead.")] = False,
) -> None:
    """Show which advice is given for which fault, in per cent of its prints.

    Example: python -m virtual.evaluate_advice --fingers 60
    Example: python -m virtual.evaluate_advice --meaning --seed 20266 --fingers 40
    """
    if of_grades:
        grades = Table("quality from", "prints", "value promised", "value found", "missed at FMR 1e-4, %")
        for grade in meaning(seed, fingers):
            numbers = (grade.promised, grade.value, 100 * grade.missed)
            grades.add_row(str(grade.least), str(grade.prints), *(f"{number:.0f}" for number in numbers))
        Console(width=TABLE_WIDTH).print(grades)
        return
    table = Table("spoilt", "quality", *(str(advice) for advice in FingerAdvice), "none")
    for kind, row in confusion(seed, fingers).items():
        cells = [f"{100 * row.given[advice]:.0f}" for advice in FingerAdvice]
        table.add_row(str(kind), f"{row.quality:.0f}", *cells, f"{100 * row.silent:.0f}")
    Console(width=TABLE_WIDTH).print(table)


if __name__ == "__main__":
    typer.run(show)
