"""Shows that synthetic fingers are as hard as real ones: two comparators on synthetic and FVC sets, with ratios.

`python -m virtual.evaluate_people --fvc DIR --fvc DIR …` takes the public FVC DB_B folders, which the project does
not carry; without them only the synthetic figures are printed. NBIS needs to be built once, with `--build-nbis`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from contract.errors import CaptureRetry, RekamError
from edge.matcher_lite import FingerTemplate, compare, extract
from edge.matcher_lite.iris_compare import compare_iris
from edge.matcher_lite.iris_extract import extract_iris
from virtual.finger_nbis import Nbis, build_library
from virtual.finger_presets import EVERYDAY, PRESETS
from virtual.finger_protocol import Comparator, FingerSet, SetResult, load_directory, run_protocol, synthetic_set
from virtual.iris_protocol import IrisResult, load_eyes, part, synthetic_eyes

PICTURES_OF_AN_EYE = 4
TABLE_WIDTH = 116
SCORE_OF_NOTHING = -1.0
"""The score of a pair of which one image gave no template: below every comparison."""


class MatcherLite:
    """The product's own extractor and comparator."""

    name = "matcher_lite"

    def extract(self, image: NDArray[np.uint8], ppi: int) -> FingerTemplate | None:
        """A template, or None where the extractor asks for another capture."""
        try:
            return extract(image, ppi)
        except CaptureRetry:
            return None

    def compare(self, probe: FingerTemplate | None, reference: FingerTemplate | None) -> float:
        """The score's value."""
        return SCORE_OF_NOTHING if probe is None or reference is None else compare(probe, reference).value


def ratios(results: list[SetResult], synthetic: str) -> dict[str, dict[str, float]]:
    """For each comparator and kind of impostor: its EER on the synthetic set over its mean EER on the real sets."""
    found: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(result.comparator for result in results):
        real = [each for each in results if each.comparator == name and not each.data.startswith("synthetic")]
        made = [each for each in results if each.comparator == name and each.data == synthetic]
        if not real or not made:
            continue
        found[name] = {
            "standard": made[0].eer_standard / max(float(np.mean([each.eer_standard for each in real])), 1e-9),
            "cross": made[0].eer_cross / max(float(np.mean([each.eer_cross for each in real])), 1e-9),
        }
    return found


def _print(results: list[SetResult], found: dict[str, dict[str, float]], console: Console) -> None:
    table = Table("comparator", "set", "mated", "non-mated", "EER % standard", "EER % cross", "FNMR % at 1e-3", "ms")
    for each in results:
        table.add_row(
            each.comparator, each.data, str(each.mated), f"{each.standard} + {each.cross}", f"{each.eer_standard:.2f}",
            f"{each.eer_cross:.2f}", f"{each.fnmr_1e3:.1f}", f"{each.extraction_ms:.1f}",
        )  # fmt: skip
    console.print(table)
    for name, ratio in found.items():
        for kind, value in ratio.items():
            verdict = "within" if 0.5 <= value <= 2.0 else "outside"
            console.print(
                f"{name}, {kind} impostors: synthetic over mean of the real sets {value:.2f} ({verdict} 0.5–2)"
            )


def _print_irises(results: list[IrisResult], console: Console) -> None:
    table = Table(
        "irises", "mated", "non-mated", "d′ of √score", "mated median", "mated 1st percentile", "non-mated max"
    )
    for each in results:
        table.add_row(
            each.data, str(each.mated), str(each.non_mated), f"{each.decidability:.2f}", f"{each.median_mated:.0f}",
            f"{each.lowest_mated:.0f}", f"{each.highest_non_mated:.0f}",
        )  # fmt: skip
    console.print(table)


def _part_irises(seed: int, people: int, folders: list[Path]) -> list[IrisResult]:
    sets = [("synthetic", synthetic_eyes(seed, people, PICTURES_OF_AN_EYE))]
    sets += [(folder.name, load_eyes(folder, PICTURES_OF_AN_EYE)) for folder in folders]
    return [part(name, eyes, extract_iris, lambda a, b: compare_iris(a, b).value) for name, eyes in sets]


def _real_set(folder: str) -> FingerSet:
    path, _, ppi = folder.partition("@")
    return load_directory(Path(path), int(ppi or 500))


def measure(
    fvc: Annotated[
        list[str] | None, typer.Option(help="FVC folder, FINGER_IMPRESSION.tif; DIR@PPI if not 500.")
    ] = None,
    preset: Annotated[str, typer.Option(help=f"One of {', '.join(PRESETS)}.")] = EVERYDAY.name,
    seed: Annotated[int, typer.Option(help="Population.")] = 1,
    fingers: Annotated[int, typer.Option(min=2, max=1000)] = 40,
    impressions: Annotated[int, typer.Option(min=2, max=50)] = 8,
    eyes_of: Annotated[int, typer.Option(min=0, max=1000, help="How many people's eyes; 0 leaves irises out.")] = 20,
    irises: Annotated[list[Path] | None, typer.Option(help="Real eyes: a folder with one folder for each eye.")] = None,
    nbis: Annotated[bool, typer.Option(help="Also ask NBIS, a comparator that is not ours.")] = True,
    build_nbis: Annotated[bool, typer.Option("--build-nbis", help="Fetch and compile NBIS first.")] = False,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
) -> None:
    """Compare the difficulty of synthetic fingers and irises with that of real ones."""
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)
    try:
        if preset not in PRESETS:
            raise RekamError(f"There is no preset '{preset}'.", next_step=f"Choose one of {', '.join(PRESETS)}.")
        if build_nbis:
            console.print(f"NBIS built: {build_library()}")
        comparators: list[Comparator] = [MatcherLite(), *([Nbis()] if nbis else [])]
        sets = [synthetic_set(seed, fingers, impressions, PRESETS[preset]), *map(_real_set, fvc or [])]
    except (RekamError, ValueError) as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(2) from error
    results = [run_protocol(comparator, each) for comparator in comparators for each in sets]
    found = ratios(results, sets[0].name)
    _print(results, found, console)
    eyes = _part_irises(seed, eyes_of, irises or []) if eyes_of else []
    if eyes:
        _print_irises(eyes, console)
    if json_out:
        report: dict[str, Any] = {
            "fingers": [each.as_dict() for each in results],
            "ratios": found,
            "irises": [each.as_dict() for each in eyes],
        }
        json_out.parent.mkdir(parents=True, exist_ok=True)
        json_out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Entry point of the command."""
    typer.run(measure)


if __name__ == "__main__":
    main()
