"""The finger commands of rekam-match: measure, extract, compare, identify, look inside, warm up, learn."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from contract.comparison import Decision, threshold_at
from contract.errors import RekamError
from edge.matcher_lite.finger_bench import bench
from edge.matcher_lite.finger_calibration import calibrate, shipped_calibration, store_calibration
from edge.matcher_lite.finger_codes import (
    PROJECTION_FILE,
    Projection,
    load_projection,
    reproduces,
    shipped_projection,
    store_projection,
)
from edge.matcher_lite.finger_compare import compare
from edge.matcher_lite.finger_evaluation import Held, enrol, evaluate, impostor_scores
from edge.matcher_lite.finger_extract import extract
from edge.matcher_lite.finger_file import IMAGE_SUFFIXES, TEMPLATE_SUFFIXES, read_image, read_template
from edge.matcher_lite.finger_gallery import FingerGallery
from edge.matcher_lite.finger_learn import learn_from_templates, learn_projection
from edge.matcher_lite.finger_report import page
from edge.matcher_lite.finger_template import FingerTemplate
from edge.matcher_lite.finger_trace import trace
from edge.matcher_lite.finger_warm import warm_fingers
from edge.matcher_lite.iris_warm import warm_irises

console = Console()

Ppi = Annotated[int | None, typer.Option(help="Resolution of the images; without it the file's own, or 500.")]
Fmr = Annotated[float, typer.Option(help="False match rate that names the threshold, for example 1e-4.")]


def evaluate_command(
    folder: Annotated[Path, typer.Argument(help="Folder of images named FINGER_IMPRESSION.tif (png, bmp, wsq, jp2).")],
    ppi: Ppi = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that extract.")] = 1,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    html_out: Annotated[
        Path | None, typer.Option("--html", help="Write a page with DET curve and worst pairs.")
    ] = None,
    projection: Annotated[
        Path | None, typer.Option(help="Codes by this projection ('rekam-match learn --out') instead of the shipped.")
    ] = None,
    held: Annotated[Held, typer.Option(help="Format that the second of each pair was kept in.")] = Held.TEMPLATE,
) -> None:
    """Measure EER, FNMR and speed on your own prints, by the FVC protocol.

    Example: rekam-match evaluate prints/FVC2002_DB1_B --json out/db1.json --html out/db1.html
    What the chip's format costs: rekam-match evaluate prints/FVC2002_DB1_B --held compact-card
    """
    other = load_projection(projection) if projection else None
    with console.status("Reading") as status:
        result = evaluate(folder, ppi, jobs, projection=other, held=held, told=status.update)
    figures = result.figures()
    table = Table(title=result.name, show_header=False)
    for name, value in figures.items():
        table.add_row(name, f"{value:.6g}" if isinstance(value, float) else str(value))
    console.print(table)
    if json_out is not None:
        json_out.parent.mkdir(parents=True, exist_ok=True)
        json_out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if html_out is not None:
        html_out.parent.mkdir(parents=True, exist_ok=True)
        html_out.write_text(page(result, ppi), encoding="utf-8")


def extract_command(
    image: Annotated[Path, typer.Argument(help="Image of one finger.")],
    ppi: Ppi = None,
    iso: Annotated[Path | None, typer.Option(help="Write an ISO/IEC 19794-2 record here (.fmr).")] = None,
    card: Annotated[Path | None, typer.Option(help="Write the chip's card format here.")] = None,
) -> None:
    """Extract a template and say how good the print is.

    Example: rekam-match extract right_index.png --ppi 500 --iso right_index.fmr
    """
    pixels, resolution = read_image(image, ppi)
    template = extract(pixels, resolution)
    if not template.usable:
        console.print(f"{image.name}: no usable finger.")
    else:
        console.print(f"{image.name}: {template.minutiae} minutiae, quality {template.quality} of 100.")
    for advice in template.advice:
        console.print(f"  {advice.english} / {advice.indonesian}")
    for target, octets in ((iso, template.to_iso), (card, template.to_card)):
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(octets())


def compare_command(
    probe: Annotated[Path, typer.Argument(help="Image, ISO record (.fmr, .iso) or template (.cbor).")],
    reference: Annotated[Path, typer.Argument(help="Image, ISO record or template.")],
    fmr: Fmr = 1e-4,
    ppi: Ppi = None,
) -> None:
    """Compare two fingers: score, decision at a false match rate, time.

    Example: rekam-match compare 101_1.tif 101_2.tif --fmr 1e-4
    """
    first, second = read_template(probe, ppi), read_template(reference, ppi)
    compare(first, second)  # compiled code is loaded before the clock counts
    started = time.perf_counter()
    score = compare(first, second, explain=True)
    spent_us = 1e6 * (time.perf_counter() - started)
    beyond = " (extrapolated)" if score.extrapolated else ""
    console.print(f"Score {score.value:.1f}{beyond}, {len(score.paired)} minutiae paired, {spent_us:.0f} µs.")
    console.print(f"At FMR {fmr:g}: {score.decide(fmr)}.")
    if score.decide(fmr) is not Decision.MATCH:
        raise typer.Exit(1)


def identify_command(
    probe: Annotated[Path, typer.Argument(help="Image, ISO record or template.")],
    gallery: Annotated[Path, typer.Argument(help="Folder of images, records or templates.")],
    limit: Annotated[int, typer.Option(min=1, help="Candidates shown at most.")] = 10,
    fmr: Fmr = 1e-4,
    ppi: Ppi = None,
) -> None:
    """Search a finger in a folder.

    Example: rekam-match identify unknown.png prints/ --limit 5
    """
    references = FingerGallery()
    sought = read_template(probe, ppi)
    with console.status("Reading the gallery") as status:
        for path in sorted(gallery.iterdir()):
            if path.suffix.lower() in IMAGE_SUFFIXES | TEMPLATE_SUFFIXES:
                status.update(f"Reading {path.name}")
                _add_reference(references, path, ppi)
    if not len(references):
        raise RekamError(f"{gallery} holds no finger to compare with.", next_step="Give a folder of images or records.")
    started = time.perf_counter()
    candidates = references.search(sought, limit=limit, fmr=fmr)
    spent_ms = 1e3 * (time.perf_counter() - started)
    console.print(f"{len(references)} references searched in {spent_ms:.1f} ms, {len(candidates)} candidates.")
    for candidate in candidates:
        console.print(f"  {candidate.score.value:6.1f}  {candidate.reference_id}")


def _add_reference(references: FingerGallery, path: Path, ppi: int | None) -> None:
    """Adds one file of the folder, or says why it is left out."""
    try:
        template = read_template(path, ppi)
    except RekamError as error:
        console.print(f"{path.name} is left out: {error.message}")
        return
    if template.usable:
        references.add(path.name, template)
    else:
        console.print(f"{path.name} is left out: no usable finger.")


def trace_command(
    image: Annotated[Path, typer.Argument(help="Image of one finger.")],
    out: Annotated[Path, typer.Option(help="Folder for the page.")],
    ppi: Ppi = None,
) -> None:
    """Show every stage of an extraction as pictures.

    Example: rekam-match trace smudged.png --out out/trace
    """
    pixels, resolution = read_image(image, ppi)
    trace(pixels, resolution, out)
    console.print(f"Open {out / 'index.html'}")


def warm_command() -> None:
    """Compile everything once, so that the first citizen does not wait. Honours NUMBA_CACHE_DIR.

    Example: NUMBA_CACHE_DIR=/var/cache/rekam rekam-match warm
    """
    started = time.perf_counter()
    with console.status("Compiling, this once"):
        warm_fingers()
        warm_irises()
    console.print(f"Finger and iris code is compiled ({time.perf_counter() - started:.1f} s).")


def learn_command(
    prints: Annotated[
        list[Path] | None, typer.Argument(help="Folders of FINGER_IMPRESSION images; without any, random minutiae.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed learns the same file.")] = 1,
    fingers: Annotated[int, typer.Option(min=50, help="Random fingers to learn from.")] = 4000,
    out: Annotated[Path | None, typer.Option(help="Write here instead of where the package ships it.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only show whether the shipped one is learnt again.")] = False,
    ppi: Ppi = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that extract.")] = 1,
) -> None:
    """Learn the projection of minutia codes. What ships is learnt from random minutiae; no prints are read for it.

    After a new one is shipped: raise EXTRACTOR_VERSION and calibrate. One learnt from prints is for setting beside it.
    Example: rekam-match learn --seed 1 --check
    Example: rekam-match learn prints/A prints/B --out out/real.npz
    Example: rekam-match evaluate prints/C --projection out/real.npz
    """
    if prints and (out is None or check):
        raise RekamError("What is learnt from prints is not shipped.", next_step="Name a file with --out.")
    with console.status("Learning"):
        made = _learnt_from(prints, ppi, jobs) if prints else learn_projection(seed, fingers)
    if check:
        same = reproduces(made, shipped_projection())
        console.print("The shipped projection is learnt again to the bit." if same else "The shipped one differs.")
        raise typer.Exit(0 if same else 1)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
    store_projection(made, out or PROJECTION_FILE)
    source = f"{len(prints)} folders of prints" if prints else f"{fingers} random fingers"
    console.print(f"Projection learnt from {source}; templates made before do not compare with it.")


def _learnt_from(folders: list[Path], ppi: int | None, jobs: int) -> Projection:
    by_finger: dict[tuple[Path, str], list[FingerTemplate]] = {}
    for folder in folders:
        for item in enrol(folder, ppi, jobs):
            if item.template is not None:
                by_finger.setdefault((folder, item.finger), []).append(item.template)
    return learn_from_templates(list(by_finger.values()))


def calibrate_command(
    folder: Annotated[Path, typer.Argument(help="Folder of prints named FINGER_IMPRESSION.png.")],
    ppi: Ppi = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that extract.")] = 1,
    check: Annotated[
        bool, typer.Option("--check", help="Only show what the shipped calibration says of them.")
    ] = False,
) -> None:
    """Give scores their meaning: count false matches among the prints of a folder.

    What ships is counted on synthetic prints: python -m virtual.finger_prints --out out/prints
    Example: rekam-match calibrate out/prints
    Example: rekam-match calibrate prints/FVC2002_DB1_B --check
    """
    with console.status("Reading") as status:
        prints = enrol(folder, ppi, jobs, told=status.update)
        status.update(f"Comparing {len(prints) * (len(prints) - 1) // 2} pairs")
        impostors = impostor_scores(prints)
    if not check:
        store_calibration(calibrate(impostors))
    calibration = shipped_calibration()
    table = Table("FMR named", "FMR counted", title=f"{impostors.size} non-mated comparisons of {folder.name}")
    for fmr in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5):
        counted = float((impostors >= calibration.raw_at(threshold_at(fmr))).mean())
        table.add_row(f"{fmr:g}", f"{counted:.2g}")
    console.print(table)


def bench_command(
    folder: Annotated[Path, typer.Argument(help="Folder of prints named FINGER_IMPRESSION.tif.")],
    ppi: Ppi = None,
    gallery: Annotated[int, typer.Option(min=100, help="References in the searched gallery.")] = 100_000,
) -> None:
    """Measure extraction, 1:1 and 1:N on one thread, and what the search's first stage loses.

    Example: rekam-match bench prints/FVC2002_DB1_B --gallery 100000
    """
    table = Table(title=folder.name, show_header=False)
    with console.status("Measuring") as status:
        for name, value in bench(folder, ppi, gallery, status.update).items():
            table.add_row(name, f"{value:.6g}")
    console.print(table)


def register(app: typer.Typer) -> None:
    """Adds the finger commands to `app`."""
    app.command("evaluate")(evaluate_command)
    app.command("extract")(extract_command)
    app.command("compare")(compare_command)
    app.command("identify")(identify_command)
    app.command("trace")(trace_command)
    app.command("warm")(warm_command)
    app.command("bench")(bench_command)
    app.command("learn")(learn_command)
    app.command("calibrate")(calibrate_command)


def run(app: typer.Typer) -> None:
    """Runs `app`; an error of ours, or of a file, is one sentence and its next step, with exit status 2."""
    try:
        app()
    except OSError as error:
        console.print(
            f"[red]{error.filename or 'A file'}: {error.strerror}.[/red] Check the path, its room and rights."
        )
        raise SystemExit(2) from error
    except RekamError as error:
        console.print(f"[red]{error.message}[/red] {error.next_step}")
        raise SystemExit(2) from error
