"""Contact sheets of synthetic people, to look at: samples side by side, as a picture or as a page."""

from __future__ import annotations

import base64
import html
from pathlib import Path
from typing import Annotated, Final

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from contract.sample import ALL_FINGERS, BOTH_EYES, FingerPosition
from virtual.finger_presets import EVERYDAY, PRESETS, CapturePreset
from virtual.people import Person, population

Image = NDArray[np.uint8]
_GAP_PX: Final = 8
_IMPRESSIONS: Final = 8


def _rgb(image: Image) -> Image:
    return image if image.ndim == 3 else np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def _fit(image: Image, height: int) -> Image:
    width = round(image.shape[1] * height / image.shape[0])
    return np.asarray(cv2.resize(_rgb(image), (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _row(images: list[Image], width: int) -> Image:
    height = max(image.shape[0] for image in images)
    row = np.full((height + _GAP_PX, width, 3), 255, np.uint8)
    x = 0
    for image in images:
        room = min(image.shape[1], width - x)
        if room <= 0:
            break
        row[: image.shape[0], x : x + room] = image[:, :room]
        x += image.shape[1] + _GAP_PX
    return row


def _samples(person: Person, preset: CapturePreset) -> list[tuple[str, Image]]:
    """Caption and picture of everything a capture takes, ten fingers first."""
    found = [(each.label, person.finger(each, preset=preset)) for each in ALL_FINGERS]
    found += [(eye.label, person.iris(eye, k)) for k, eye in ((0, BOTH_EYES[0]), (1, BOTH_EYES[0]), (0, BOTH_EYES[1]))]
    found.append(("Tanda tangan", person.signature().render(460, 240)))
    return found


def picture(people: list[Person], preset: CapturePreset = EVERYDAY) -> Image:
    """One picture (H, 1640, 3) RGB: for each person portrait, fingers, irises, signature, and one finger's touches."""
    width, rows = 1640, []
    for person in people:
        pictures = [image for _, image in _samples(person, preset)]
        touches = [person.finger(FingerPosition.RIGHT_INDEX, k, preset=preset) for k in range(_IMPRESSIONS)]
        portrait = _fit(person.portrait(), 648)
        fingers = [_fit(image, 206) for image in pictures[:10]]
        rest = [_fit(image, 206) for image in pictures[10:]]
        room = width - portrait.shape[1] - _GAP_PX
        beside = np.vstack([_row(fingers[:5], room), _row(fingers[5:], room), _row(rest, room)])
        block = np.full((max(portrait.shape[0], beside.shape[0]), width, 3), 255, np.uint8)
        block[: portrait.shape[0], : portrait.shape[1]] = portrait
        block[: beside.shape[0], portrait.shape[1] + _GAP_PX :] = beside
        rows += [block, _row([_fit(image, 190) for image in touches], width)]
    return np.vstack(rows)


def _inline(image: Image) -> str:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 88]
    encoded = cv2.imencode(".jpg", cv2.cvtColor(_rgb(image), cv2.COLOR_RGB2BGR), quality)[1].tobytes()
    return "data:image/jpeg;base64," + base64.b64encode(encoded).decode("ascii")


def page(people: list[Person], preset: CapturePreset = EVERYDAY) -> str:
    """The same as one HTML page that needs no other file, with each person's biodata."""
    parts = [
        "<!doctype html><html lang='id'><meta charset='utf-8'><title>Synthetic people</title><style>"
        "body{font:14px/1.4 system-ui,sans-serif;margin:2rem;color:#222}section{margin-bottom:3rem}"
        "figure{display:inline-block;margin:.3rem;text-align:center}img{height:170px}.face img{height:320px}"
        "figcaption{font-size:12px;color:#555}</style><h1>Synthetic people</h1>"
    ]
    for person in people:
        data = person.biodata
        lines = [data.nik, f"{data.birth_place}, {data.birth_date}", data.sex, data.address, data.district]
        parts.append(f"<section><h2>{html.escape(data.name)}</h2><p>{html.escape(' · '.join(lines))}</p>")
        parts.append(f"<figure class='face'><img alt='portrait' src='{_inline(person.portrait())}'></figure>")
        shown = _samples(person, preset)
        label = FingerPosition.RIGHT_INDEX.label
        shown += [
            (f"{label} {k}", person.finger(FingerPosition.RIGHT_INDEX, k, preset=preset))
            for k in range(1, _IMPRESSIONS)
        ]
        for caption, image in shown:
            text = html.escape(caption)
            parts.append(f"<figure><img alt='{text}' src='{_inline(image)}'><figcaption>{text}</figcaption></figure>")
        parts.append("</section>")
    return "".join(parts) + "</html>\n"


def write_sheet() -> None:
    """Parse the command line and write the sheet: a picture for .png, a page for anything else."""

    def draw(
        seed: Annotated[int, typer.Option(min=0, help="Population.")] = 1,
        count: Annotated[int, typer.Option(min=1, max=200, help="How many people.")] = 6,
        out: Annotated[Path, typer.Option(help="A .png for one picture, an .html for a page.")] = Path(
            "out/people.html"
        ),
        preset: Annotated[str, typer.Option(help=f"How hard a capture is: {', '.join(PRESETS)}.")] = EVERYDAY.name,
    ) -> None:
        """Draw a contact sheet of synthetic people."""
        if preset not in PRESETS:
            raise typer.BadParameter(f"choose one of {', '.join(PRESETS)}")
        people = list(population(seed, count))
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix.lower() == ".png":
            cv2.imwrite(str(out), cv2.cvtColor(picture(people, PRESETS[preset]), cv2.COLOR_RGB2BGR))
        else:
            out.write_text(page(people, PRESETS[preset]), encoding="utf-8")
        typer.echo(f"{count} people of population {seed}: {out}")

    typer.run(draw)
