"""Draws the prints from which finger quality is learnt, and labels each by how well it compares with its own finger.

A print's label rests on our own comparator's values against four good impressions of the same finger. Prints are clean
or spoilt in one known way (`finger_degradations`), seen through scanners of differing window, tone and noise. Nobody's
real print is read. `virtual.finger_quality_train` learns the model from the file written here.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import track

from edge.matcher_lite import compare, extract
from edge.matcher_lite.finger_quality_evidence import MEASURES, evidence
from edge.matcher_lite.finger_template import FingerTemplate
from virtual.finger_degradations import Degradation, degraded
from virtual.finger_presets import DISTORTED, DRY, EVERYDAY, GUIDED
from virtual.finger_protocol import FINGERS_USED
from virtual.people import FINGER_SIZE_PX, SMALL_FINGER_SIZE_PX, person

REFERENCES: Final = 4
FIRST_REFERENCE: Final = 100
"""Impression number from which the good impressions count, clear of the prints that are judged."""
CLEAN: Final = 5
PRESETS_USED: Final = (EVERYDAY, EVERYDAY, GUIDED, DISTORTED, DRY)
WINDOWS_PX: Final = (FINGER_SIZE_PX, FINGER_SIZE_PX, (300, 300), SMALL_FINGER_SIZE_PX)
KINDS: Final = tuple(Degradation)


class Sample(NamedTuple):
    """One judged print. value: mean of the comparator's values with its finger's references."""

    evidence: NDArray[np.float32]
    value: tuple[float, ...]
    kind: int
    severity: float
    classical: int


def another_scanner(rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture as a scanner of another tone, sharpness and noise would give it."""
    dark, light = rng.uniform(0, 70), rng.uniform(170, 255)
    curve = np.linspace(0.0, 1.0, 256) ** float(np.exp(rng.normal(0, 0.3)))
    toned = cv2.LUT(image, np.rint(dark + (light - dark) * curve).astype(np.uint8))
    blur, noise = float(rng.uniform(0.0, 0.9)), float(rng.uniform(0.0, 8.0))
    seen = cv2.GaussianBlur(toned, (0, 0), blur) if blur > 0.3 else toned
    grainy = seen + noise * rng.standard_normal(seen.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(grainy), 0, 255), np.uint8)


def samples_of(seed: int, index: int) -> list[Sample]:
    """The judged prints of one finger, five clean and one of each degradation; unusable ones are left out."""
    rng = np.random.default_rng([seed, index])
    owner, position = person(seed, index), FINGERS_USED[index % len(FINGERS_USED)]
    references = [
        extract(owner.finger(position, FIRST_REFERENCE + number, preset=GUIDED)) for number in range(REFERENCES)
    ]
    kinds = [Degradation.NONE] * CLEAN + [kind for kind in KINDS if kind is not Degradation.NONE]
    found = []
    for impression, kind in enumerate(kinds):
        preset = PRESETS_USED[int(rng.integers(len(PRESETS_USED)))]
        severity = 0.0 if kind is Degradation.NONE else float(rng.uniform(0.15, 1.0))
        size = WINDOWS_PX[int(rng.integers(len(WINDOWS_PX)))]
        image = degraded(owner, position, impression, kind, severity, size=size, preset=preset)
        sample = _sample(another_scanner(rng, image), references, kind, severity)
        if sample is not None:
            found.append(sample)
    return found


def _sample(
    image: NDArray[np.uint8], references: list[FingerTemplate], kind: Degradation, severity: float
) -> Sample | None:
    stages: dict[str, Any] = {}
    template = extract(image, observe=stages.__setitem__)
    if not template.usable:
        return None
    values = tuple(compare(template, reference).value for reference in references)
    return Sample(evidence(stages["stages"]), values, KINDS.index(kind), severity, stages["classical"].value)


def write_samples(
    out: Annotated[Path, typer.Option(help="File for the samples (.npz).")],
    seed: Annotated[int, typer.Option(help="Population; not one that quality is measured on.")] = 20262,
    fingers: Annotated[int, typer.Option(min=10, max=9999)] = 500,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Write evidence and labels of prints of as many different synthetic people.

    Example: python -m virtual.finger_quality_samples --out out/quality/samples.npz --fingers 500
    """
    with ProcessPoolExecutor(jobs) as pool:
        drawn = pool.map(samples_of, itertools.repeat(seed, fingers), range(fingers), chunksize=8)
        parts = list(track(drawn, "Drawing and comparing", total=fingers))
    samples = [sample for part in parts for sample in part]
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        out,
        evidence=np.array([sample.evidence for sample in samples], np.float32),
        values=np.array([sample.value for sample in samples], np.float32),
        kind=np.array([sample.kind for sample in samples], np.uint8),
        severity=np.array([sample.severity for sample in samples], np.float32),
        classical=np.array([sample.classical for sample in samples], np.uint8),
        finger=np.repeat(np.arange(fingers), [len(part) for part in parts]),
        kinds=np.array([str(kind) for kind in KINDS]),
        measures=np.array(list(MEASURES)),
    )
    typer.echo(f"{len(samples)} prints of {fingers} fingers in {out}")


if __name__ == "__main__":
    typer.run(write_samples)
