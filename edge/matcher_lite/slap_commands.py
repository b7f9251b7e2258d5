"""The slap command of rekam-match: one picture of several fingers becomes a file for each."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from contract.errors import RekamError
from contract.finger_image import SlapPosition
from contract.image_formats import ImageFormat, encode_image
from contract.sample import FingerPosition
from edge.matcher_lite.finger_extract import extract
from edge.matcher_lite.finger_file import read_image, read_octets
from edge.matcher_lite.finger_sequence import check_sequence
from edge.matcher_lite.finger_template import FingerTemplate
from edge.matcher_lite.nist_records import TRANSACTION_SUFFIXES, read_transaction
from edge.matcher_lite.slap_segment import SlapAdvice, segment_slap

console = Console()

Templates = dict[FingerPosition, FingerTemplate]


class Hand(StrEnum):
    """What was laid on the glass, as one types it."""

    RIGHT = "right"
    LEFT = "left"
    THUMBS = "thumbs"


_KINDS = {Hand.RIGHT: SlapPosition.RIGHT_FOUR, Hand.LEFT: SlapPosition.LEFT_FOUR, Hand.THUMBS: SlapPosition.THUMBS}


def split_command(
    image: Annotated[Path, typer.Argument(help="Image of four fingers or two thumbs, or an .an2k transaction.")],
    out: Annotated[Path, typer.Option(help="Folder for an image of each finger.")],
    hand: Annotated[Hand | None, typer.Option(help="What the image shows; a transaction says so itself.")] = None,
    ppi: Annotated[int | None, typer.Option(help="Resolution; without it the file's own, or 500.")] = None,
) -> None:
    """Split a slap into single fingers, upright and named; check that no finger was given twice.

    Exit status 1 where fingers are missing, too many, or contradict their names.
    Example: rekam-match split right_hand.png --hand right --out out/right
    Example: rekam-match split tenprint.an2k --out out/fingers
    """
    out.mkdir(parents=True, exist_ok=True)
    templates: Templates = {}
    sound = True
    if image.suffix.lower() in TRANSACTION_SUFFIXES:
        for number, held in enumerate(read_transaction(read_octets(image)), start=1):
            if held.slap is not None:
                sound &= _split(held.image, held.ppi, held.slap, out, f"{number}_", templates)
            else:
                _keep(
                    held.image, held.ppi, held.position, out / f"{number}_{held.position.name.lower()}.png", templates
                )
    elif hand is None:
        raise RekamError("An image does not say what it shows.", next_step="Add --hand right, left or thumbs.")
    else:
        pixels, resolution = read_image(image, ppi, slap=True)
        sound = _split(pixels, resolution, _KINDS[hand], out, "", templates)
    for problem in check_sequence(templates):
        sound = False
        names = f"{problem.first.name.lower()} and {problem.second.name.lower()}"
        console.print(f"{names}: {problem.kind.english} / {problem.kind.indonesian}")
    if not sound:
        raise typer.Exit(1)


def _split(
    pixels: NDArray[np.uint8], ppi: int, kind: SlapPosition, out: Path, prefix: str, templates: Templates
) -> bool:
    """Writes the fingers of one slap; whether number and shape are those of `kind`."""
    slap = segment_slap(pixels, ppi, kind)
    for place, finger in enumerate(slap.fingers, start=1):
        known = finger.position is not FingerPosition.UNKNOWN
        name = finger.position.name.lower() if known else f"unknown_{place}"
        _keep(finger.image, ppi, finger.position, out / f"{prefix}{name}.png", templates)
    for advice in slap.advice:
        console.print(f"  {advice.english} / {advice.indonesian}")
    return set(slap.advice) <= {SlapAdvice.CUT_OFF}


def _keep(pixels: NDArray[np.uint8], ppi: int, position: FingerPosition, path: Path, templates: Templates) -> None:
    """Writes one finger, says how good it is, and notes its template under its name."""
    path.write_bytes(encode_image(pixels, ImageFormat.PNG, ppi=ppi))
    template = extract(pixels, ppi, position)
    console.print(f"{path.name}: {template.minutiae} minutiae, quality {template.quality} of 100.")
    if position is not FingerPosition.UNKNOWN:
        templates[position] = template


def register(app: typer.Typer) -> None:
    """Adds the slap command to `app`."""
    app.command("split")(split_command)
