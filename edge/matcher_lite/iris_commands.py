"""The iris commands of rekam-match: measure, compare, look inside, calibrate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from contract.comparison import Decision
from contract.image_formats import decode_image
from contract.sample import IrisPosition
from edge.matcher_lite.finger_file import read_octets
from edge.matcher_lite.iris_bench import measure, prefilter_loss
from edge.matcher_lite.iris_calibration import SEED, TEXTURES, calibrate
from edge.matcher_lite.iris_compare import compare_iris
from edge.matcher_lite.iris_evaluation import enrol_all, evaluate_irises
from edge.matcher_lite.iris_extract import extract_iris
from edge.matcher_lite.iris_quality import INDONESIAN
from edge.matcher_lite.iris_report import evaluation_page, trace_page
from edge.matcher_lite.iris_side import which_eye
from edge.matcher_lite.iris_template import MAGIC, IrisTemplate

console = Console()

Fmr = Annotated[float, typer.Option(help="False match rate that names the threshold, for example 1e-4.")]


def evaluate_iris_command(
    source: Annotated[Path, typer.Argument(help="Folder of PERSON/L/*.jpg and PERSON/R/*.jpg, or a CSV.")],
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    html_out: Annotated[
        Path | None, typer.Option("--html", help="Write a page with DET curve and worst pairs.")
    ] = None,
) -> None:
    """Measure EER, FNMR and speed on your own irises, all against all, one eye.

    Example: rekam-match evaluate-iris irises/CASIA-Iris-Interval --json out/iris.json --html out/iris.html
    """
    result = evaluate_irises(source)
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
        html_out.write_text(evaluation_page(result), encoding="utf-8")


def compare_iris_command(
    probe: Annotated[Path, typer.Argument(help="Near-infrared image of one eye, or a template.")],
    reference: Annotated[Path, typer.Argument(help="Image or template to compare with.")],
    fmr: Fmr = 1e-4,
) -> None:
    """Compare two eyes; exit status 1 where they do not match.

    Example: rekam-match compare-iris left_1.png left_2.png --fmr 1e-4
    """
    first, second = _template(probe), _template(reference)
    for path, template in ((probe, first), (reference, second)):
        advice = f" {INDONESIAN[template.advice]} ({template.advice})" if template.advice else ""
        console.print(f"{path.name}: quality {template.quality} of 100, {template.trusted_bits} bits.{advice}")
    score = compare_iris(first, second)
    beyond = " (extrapolated)" if score.extrapolated else ""
    console.print(f"Score {score.value:.1f}{beyond}; at FMR {fmr:g}: {score.decide(fmr)}.")
    if score.decide(fmr) is not Decision.MATCH:
        raise typer.Exit(1)


def which_eye_command(
    image: Annotated[Path, typer.Argument(help="Near-infrared image of one eye, upright and not mirrored.")],
) -> None:
    """Say whether an image shows a left or a right eye, or that it does not tell.

    Example: rekam-match which-eye eye.png
    """
    seen = which_eye(decode_image(read_octets(image)))
    if seen.position is IrisPosition.UNKNOWN:
        console.print("Not judged: the image does not show which eye it is.")
    else:
        console.print(f"{seen.position.name.lower()}, confidence {seen.confidence:.2f}")


def trace_iris_command(
    image: Annotated[Path, typer.Argument(help="Near-infrared image of one eye.")],
    out: Annotated[Path, typer.Option(help="Folder for the page.")],
) -> None:
    """Show every stage of an iris extraction as pictures.

    Example: rekam-match trace-iris lashes.png --out out/trace
    """
    page = trace_page(decode_image(read_octets(image)), image.name)
    out.mkdir(parents=True, exist_ok=True)
    (out / "index.html").write_text(page, encoding="utf-8")
    console.print(f"Open {out / 'index.html'}")


def calibrate_iris_command(
    count: Annotated[int, typer.Option(min=200, max=5000, help="Random textures to compare.")] = TEXTURES,
    seed: Annotated[int, typer.Option(help="The same seed gives the same constants.")] = SEED,
) -> None:
    """Fit the constants of the iris score to random textures; no eye is read. They stand in iris_parameters.py.

    Example: rekam-match calibrate-iris --count 1500
    """
    found = calibrate(count, seed)
    console.print(f"SCORE_SIGMA = {found.sigma:.4f}, SCORE_DRAWS = {found.draws:.1f}")
    console.print(f"{found.pairs} pairs; the curve is within {found.error_decades:.2f} decades of them.")


def bench_iris_command(
    references: Annotated[int, typer.Option(min=1000, help="Size of the gallery.")] = 200_000,
    data: Annotated[Path | None, typer.Option(help="Folder or CSV of irises; random codes without it.")] = None,
) -> None:
    """Measure 1:N comparisons per second on one thread, beside a C loop of the same work, and what the prefilter loses.

    Example: rekam-match bench-iris --references 200000 --data irises/CASIA-Iris-Interval
    """
    eyes = [eye for eye in enrol_all(data) if eye.template.usable] if data is not None else []
    templates = [eye.template for eye in eyes]
    speed = measure(references, templates)
    codes = f"codes of {len(templates)} eyes" if templates else "random codes"
    console.print(f"{speed.kernel_per_s / 1e6:.2f} M exact comparisons/s of {codes}.")
    console.print(f"{speed.prefiltered_per_s / 1e6:.2f} M prefiltered comparisons/s.")
    if speed.c_per_s is not None:
        console.print(f"The C loop: {speed.c_per_s / 1e6:.2f} M/s; ratio {speed.ratio:.2f}.")
    else:
        console.print("No C compiler was found to compare with.")
    if templates:
        loss = prefilter_loss(templates, [eye.identity for eye in eyes])
        console.print(
            f"The prefilter lost {loss.lost} of {loss.mated} mated pairs (95 % upper bound {loss.upper_bound:.2%})"
            f" and gave up {1 - loss.kept_share:.1%} of the non-mated."
        )


def register(app: typer.Typer) -> None:
    """Add the iris commands to `app`."""
    app.command("evaluate-iris")(evaluate_iris_command)
    app.command("compare-iris")(compare_iris_command)
    app.command("trace-iris")(trace_iris_command)
    app.command("which-eye")(which_eye_command)
    app.command("bench-iris")(bench_iris_command)
    app.command("calibrate-iris")(calibrate_iris_command)


def _template(path: Path) -> IrisTemplate:
    octets = read_octets(path)
    return IrisTemplate.from_bytes(octets) if octets.startswith(MAGIC) else extract_iris(decode_image(octets))
