"""Calibrates the fingerprint comparator on synthetic prints: what false match rate each raw score stands for.

Random minutiae are too unlike each other: prints share ridge flow, and so do strangers' minutiae. So the table that
ships rests on non-mated comparisons of drawn prints, `--fingers` of them, one impression each, all pairs:

    python -m virtual.calibrate_fingers --fingers 800            # writes edge/matcher_lite/finger_calibration.npz
    python -m virtual.calibrate_fingers --check DIR --check DIR  # says how the shipped table does on your own prints
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from contract.image_formats import decode_image
from contract.sample import ALL_FINGERS
from edge.matcher_lite import FingerTemplate, compare, extract
from edge.matcher_lite.finger_calibration import calibrate, shipped_calibration, store_calibration
from virtual.people import person

RATES = (1e-2, 1e-3, 1e-4)
console = Console()


def templates_of(seed: int, fingers: int) -> Iterator[tuple[int, FingerTemplate]]:
    """One impression of each of `fingers` fingers, with its person; fingers of one person are like one another too."""
    for ordinal in range(fingers):
        index, position = divmod(ordinal, len(ALL_FINGERS))
        pixels = person(seed, index).finger(ALL_FINGERS[position], 1)
        yield index, extract(pixels, 500, ALL_FINGERS[position])


def raw_scores(templates: Sequence[FingerTemplate]) -> NDArray[np.float64]:
    """Raw scores of all pairs, got back from the shipped table, which rises everywhere."""
    table = shipped_calibration()
    scores = [compare(a, b).value for a, b in combinations(templates, 2)]
    return np.array([table.raw_at(score) for score in track(scores, "Reading raw scores", console=console)])


def write_table(seed: int, fingers: int) -> None:
    """Measure and ship."""
    drawn = track(templates_of(seed, fingers), "Drawing and extracting", total=fingers, console=console)
    templates = [template for _, template in drawn if template.usable]
    table = calibrate(raw_scores(templates))
    store_calibration(table)
    console.print(f"{len(templates)} fingers, {table.comparisons:,} non-mated comparisons, up to {table.value[-1]:.1f}")


def check(folders: Sequence[Path]) -> None:
    """How often non-mated pairs of real prints reach each threshold, against the rate that names it."""
    console.print(f"{'set':20} {'pairs':>8} " + " ".join(f"{f'FMR {rate:g}':>12}" for rate in RATES))
    for folder in folders:
        files = [path for path in sorted(folder.iterdir()) if "_" in path.stem]
        templates = {path: extract(np.asarray(decode_image(path.read_bytes()), np.uint8), 500) for path in files}
        strangers = [(a, b) for a, b in combinations(files, 2) if a.stem.split("_")[0] != b.stem.split("_")[0]]
        values = np.array([compare(templates[a], templates[b]).value for a, b in strangers])
        seen = " ".join(f"{float(np.mean(values >= -10 * np.log10(rate))):12.5f}" for rate in RATES)
        console.print(f"{folder.name:20} {len(values):8} {seen}")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fingers", type=int, default=800)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--check", type=Path, action="append", default=[], metavar="DIR")
    options = parser.parse_args()
    if options.check:
        check(options.check)
    else:
        write_table(options.seed, options.fingers)


if __name__ == "__main__":
    main()
