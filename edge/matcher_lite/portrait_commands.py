"""The portrait and signature commands of rekam-match: judge and crop, draw and replay, measure the time."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from contract import face_image
from contract.image_formats import ImageFormat, decode_image, encode_image
from contract.sample_quality import LIMIT_VALUE, Verdict
from contract.signature_series import decode_series
from contract.signature_strokes import ink_of
from edge.matcher_lite.finger_file import read_octets
from edge.matcher_lite.portrait_crop import card_photo, chip_photo
from edge.matcher_lite.portrait_quality import Pixels, PortraitReport, examine_portrait
from edge.matcher_lite.portrait_report import limit_of, number, portrait_page
from edge.matcher_lite.signature_picture import signature_png
from edge.matcher_lite.signature_report import replay_page

BENCH_PIXELS = 2_000_000

console = Console()


def portrait_command(
    image: Annotated[Path, typer.Argument(help="A picture, or an ISO/IEC 19794-5 record.")],
    html_out: Annotated[Path | None, typer.Option("--html", help="Write a page with overlays and crops.")] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write every check's figures.")] = None,
    card_out: Annotated[Path | None, typer.Option("--card", help="Write the card's photo, PNG.")] = None,
    chip_out: Annotated[Path | None, typer.Option("--chip", help="Write the chip's photo, JPEG 2000.")] = None,
) -> None:
    """Judge a portrait and crop it for card and chip; exit status 1 where it should be taken again.

    Example: rekam-match portrait photo.png --html out/portrait.html --chip out/photo.jp2
    """
    picture = _picture(image)
    report = examine_portrait(picture)
    _print_checks(report, image.name)
    if html_out is not None:
        _write(html_out, portrait_page(picture, report, image.name).encode())
    if json_out is not None:
        _write(json_out, (json.dumps(_figures(report), indent=1, ensure_ascii=False) + "\n").encode())
    if card_out is not None:
        _write(card_out, encode_image(card_photo(picture), ImageFormat.PNG))
    if chip_out is not None:
        _write(chip_out, chip_photo(card_photo(picture)))
    if report.quality.value < LIMIT_VALUE:
        raise typer.Exit(1)


def bench_portrait_command(
    image: Annotated[Path, typer.Argument(help="A portrait; it is scaled to 2 megapixels.")],
    rounds: Annotated[int, typer.Option(min=3, max=200)] = 15,
) -> None:
    """Measure judging and cropping a portrait of 2 megapixels on one thread, after warm-up.

    Example: rekam-match bench-portrait photo.png
    """
    cv2.setNumThreads(1)
    picture = _picture(image)
    scale = (BENCH_PIXELS / (picture.shape[0] * picture.shape[1])) ** 0.5
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    large = np.ascontiguousarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    judged = _milliseconds(lambda: examine_portrait(large), rounds)
    cropped = _milliseconds(lambda: chip_photo(card_photo(large)), rounds)
    console.print(f"{size[0]} × {size[1]} px: judged in {judged[0]:.0f} ms (worst {judged[1]:.0f}), CPU time.")
    console.print(f"Cropped and encoded for the chip in {cropped[0]:.0f} ms (worst {cropped[1]:.0f}).")


def replay_command(
    record: Annotated[Path, typer.Argument(help="An ISO/IEC 19794-7 record, full format.")],
    html_out: Annotated[Path | None, typer.Option("--html", help="Write a page that plays the signature.")] = None,
    png_out: Annotated[Path | None, typer.Option("--png", help="Write it as on the card: transparent PNG.")] = None,
) -> None:
    """Show how a signature was written: its strokes, time and pressure, as a page that plays them.

    Example: rekam-match replay signature.iso --html out/signature.html --png out/signature.png
    """
    series = decode_series(read_octets(record))
    ink = ink_of(series)
    channels = ", ".join(channel.name for channel in series.descriptions)
    console.print(
        f"{series.point_count} points ({channels}); {len(ink.strokes)} strokes, {ink.length_mm:.0f} mm of ink in "
        f"{ink.width_mm:.1f} × {ink.height_mm:.1f} mm, {ink.duration_s:.1f} s."
    )
    if html_out is not None:
        _write(html_out, replay_page(ink, record.name).encode())
    if png_out is not None:
        _write(png_out, signature_png(ink))


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command("portrait")(portrait_command)
    app.command("bench-portrait")(bench_portrait_command)
    app.command("replay")(replay_command)


def _picture(path: Path) -> Pixels:
    octets = read_octets(path)
    if octets.startswith(face_image.MAGIC):
        octets = face_image.decode_record(octets).images[0].image
    return decode_image(octets, colour=True)


def _print_checks(report: PortraitReport, name: str) -> None:
    quality = report.quality
    table = Table("check", "measured", "limit", "value", "verdict", title=f"{name}: {quality.value} of 100")
    for item in quality.measures:
        if item.verdict is Verdict.NOT_JUDGED:
            continue
        colour = "green" if item.verdict is Verdict.GOOD else "red"
        shown = f"{number(item.measured)} {item.unit}"
        table.add_row(item.name, shown, limit_of(item), str(item.value), f"[{colour}]{item.verdict}[/{colour}]")
    console.print(table)
    console.print(f"Not judged: {', '.join(quality.not_judged)}.")
    for advice in quality.advice:
        console.print(f"→ {advice.indonesian} ({advice.english})")


def _figures(report: PortraitReport) -> dict[str, Any]:
    return {
        "value": report.quality.value,
        "faces": len(report.faces),
        "eyes": [list(eye) for eye in report.face.eyes] if report.face and report.face.eyes else None,
        "crop": [list(corner) for corner in report.window.corners],
        "checks": [
            {
                "name": item.name,
                "verdict": str(item.verdict),
                "measured": None if item.measured is None else float(item.measured),
                "limit": item.limit,
                "unit": item.unit,
                "value": item.value,
                "advice": None if item.advice is None else [item.advice.indonesian, item.advice.english],
            }
            for item in report.quality.measures
        ],
    }


def _milliseconds(run: Any, rounds: int) -> tuple[float, float]:
    """Median and worst CPU time of a run, after one that does not count."""
    run()
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        run()
        taken.append(1000 * (time.process_time() - start))
    return statistics.median(taken), max(taken)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    console.print(f"Wrote {path}")
