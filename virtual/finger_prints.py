"""Writes a folder of synthetic prints named FINGER_IMPRESSION.png, as evaluation and calibration commands read them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from virtual.finger_degradations import Degradation, degraded
from virtual.finger_presets import EVERYDAY
from virtual.finger_protocol import FINGERS_USED
from virtual.people import person


def write_prints(
    out: Annotated[Path, typer.Option(help="Folder for the prints.")],
    seed: Annotated[int, typer.Option(help="Population.")] = 20261,
    fingers: Annotated[int, typer.Option(min=2, max=9999)] = 700,
    impressions: Annotated[int, typer.Option(min=1, max=50)] = 4,
    spoilt: Annotated[bool, typer.Option("--spoilt", help="Spoil them in one known way each, by turns.")] = False,
) -> None:
    """Write impressions of fingers of as many different synthetic people, at 500 ppi.

    Example: python -m virtual.finger_prints --out out/prints --fingers 40
    Example: python -m virtual.finger_prints --out out/spoilt --seed 20263 --fingers 100 --impressions 8 --spoilt
    """
    out.mkdir(parents=True, exist_ok=True)
    for index in range(fingers):
        owner = person(seed, index)
        position = FINGERS_USED[index % len(FINGERS_USED)]
        for impression in range(impressions):
            kind, severity = _fault(seed, index, impression) if spoilt else (Degradation.NONE, 0.0)
            image = degraded(owner, position, impression, kind, severity, preset=EVERYDAY)
            cv2.imwrite(str(out / f"{index:04d}_{impression + 1}.png"), image)


def _fault(seed: int, index: int, impression: int) -> tuple[Degradation, float]:
    kinds = tuple(Degradation)
    rng = np.random.default_rng([seed, index, impression])
    return kinds[(index + impression) % len(kinds)], float(rng.uniform(0.2, 1.0))


if __name__ == "__main__":
    typer.run(write_prints)
