"""Makes hard pictures of eyes (see virtual.iris_hardship) of a folder of easy ones, or of drawn people.

`python -m virtual.hard_irises --out out/hard --data irises/CASIA-Iris-Interval` writes PERSON/{L,R}/N.png, which
`rekam-match evaluate-iris out/hard` then measures, and says how often pupil and limbus are found where they were put.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from contract.errors import RekamError
from contract.image_formats import ImageFormat, decode_image, encode_image
from contract.sample import BOTH_EYES
from edge.matcher_lite.iris_contour import Contour
from edge.matcher_lite.iris_segment import segment
from virtual.iris_hardship import Circle, draw_surround, harden
from virtual.people import person

Pixels = NDArray[np.uint8]
_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}
_NEAR = 0.1  # of the limbus' radius: what counts as found


@dataclass(frozen=True, slots=True)
class HardEye:
    """A hard picture of a person's eye and where its contours truly are."""

    person: str
    eye: str
    number: int
    pixels: Pixels
    pupil: Circle
    limbus: Circle

    def is_found(self) -> tuple[bool, bool]:
        """Whether segmentation finds the pupil, and the limbus, within a tenth of the limbus' radius."""
        found = segment(self.pixels)
        if found is None:
            return False, False
        return tuple(  # type: ignore[return-value]
            math.hypot(seen.x - true.x, seen.y - true.y) < _NEAR * self.limbus.radius
            and abs(seen.radius - true.radius) < _NEAR * self.limbus.radius
            for seen, true in ((found.pupil, self.pupil), (found.limbus, self.limbus))
        )


def drawn_eyes(seed: int, people: int, each: int) -> Iterator[tuple[str, str, int, Pixels]]:
    """Easy pictures of synthetic people: (person, L or R, number, pixels)."""
    for index in range(people):
        for eye in BOTH_EYES:
            for number in range(each):
                yield (
                    f"{index:03}",
                    eye.name[0],
                    number,
                    person(seed, index).iris(eye, number),
                )


def eyes_of(folder: Path, each: int) -> Iterator[tuple[str, str, int, Pixels]]:
    """Easy pictures of PERSON/{L,R}/*: (person, L or R, number, pixels)."""
    for place in sorted(folder.glob("*/[LR]")):
        files = [path for path in sorted(place.iterdir()) if path.suffix.lower() in _SUFFIXES][:each]
        for number, path in enumerate(files):
            yield place.parent.name, place.name, number, decode_image(path.read_bytes())


def hard_eyes(eyes: Iterator[tuple[str, str, int, Pixels]], seed: int) -> Iterator[HardEye]:
    """A hard picture of each easy one in which an eye is seen; the same seed gives the same pictures."""
    for name, eye, number, pixels in eyes:
        easy = segment(pixels)
        if easy is None:
            continue
        own = [seed, *name.encode(), ord(eye)]
        surround = draw_surround(np.random.default_rng(own))
        pictured = np.random.default_rng([*own, number])
        hard, pupil, limbus = harden(pixels, _circle(easy.pupil), _circle(easy.limbus), surround, pictured)
        yield HardEye(name, eye, number, hard, pupil, limbus)


def _circle(contour: Contour) -> Circle:
    return Circle(contour.x, contour.y, contour.radius)


def main(
    out: Annotated[Path, typer.Option(help="Folder to write PERSON/{L,R}/N.png to.")],
    data: Annotated[Path | None, typer.Option(help="Folder of PERSON/{L,R}/*; drawn people without it.")] = None,
    each: Annotated[int, typer.Option(min=2, max=100, help="Pictures of an eye at most.")] = 4,
    people: Annotated[int, typer.Option(min=1, max=1000, help="How many people to draw.")] = 50,
    seed: Annotated[int, typer.Option(help="The same seed gives the same pictures.")] = 1,
) -> None:
    """Write hard pictures of eyes, and say how often their contours are found."""
    console = Console()
    found = []
    for eye in hard_eyes(eyes_of(data, each) if data is not None else drawn_eyes(seed, people, each), seed):
        place = out / eye.person / eye.eye
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{eye.number:02}.png").write_bytes(encode_image(eye.pixels, ImageFormat.PNG))
        found.append(eye.is_found())
    if not found:
        raise RekamError(f"{data} holds no eyes.", next_step="Give a folder of PERSON/L/* and PERSON/R/*.")
    pupils, limbi = np.mean(np.array(found), axis=0)
    console.print(f"{len(found)} pictures in {out}. Found: pupil {pupils:.1%}, limbus {limbi:.1%}.")
    console.print(f"Now: rekam-match evaluate-iris {out}")


if __name__ == "__main__":
    typer.run(main)
