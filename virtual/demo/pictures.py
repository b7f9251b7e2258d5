"""Pictures for the report: each resident's samples with their minutiae, and both faces of each card as printed."""

from __future__ import annotations

import asyncio
from typing import Any

import cv2
import numpy as np

from contract.sample import INDEX_FINGERS, IrisPosition
from edge.matcher_lite import extract
from virtual.demo.cast import CAPTURED, HANDED_OVER, Resident
from virtual.demo.chronicle import Chronicle, Picture, Pixels
from virtual.demo.report import draw_minutiae, encode_png
from virtual.demo.theatre import Theatre

SAMPLE_WIDTH_PX = 250


async def gather_pictures(theatre: Theatre, chronicle: Chronicle) -> None:
    """Fill the stories' samples, histories and clocks from the cast and from the hub."""
    for key, resident in theatre.cast.residents.items():
        story = chronicle.residents[key]
        story.pictures += await asyncio.to_thread(_samples, theatre, resident)
        if not story.capture_id:
            continue
        record = await theatre.hub.record(story.capture_id)
        if record is not None:
            story.history += _way(record)
            story.clocks += record["clocks"]


def _way(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The states in their order, with the one the record began in."""
    links = record["history"]
    first = [{"state": links[0]["from_state"]}] if links and links[0]["from_state"] else []
    return first + [{"state": link["to_state"], "event": link["event"], "at_ms": link["at_ms"]} for link in links]


def _samples(theatre: Theatre, resident: Resident) -> list[Picture]:
    cast = theatre.cast
    impression, word = (HANDED_OVER, "at handover") if resident.key == "impostor" else (CAPTURED, "captured")
    pictures = [Picture("portrait", encode_png(_read(cast.face(resident), cv2.IMREAD_COLOR), SAMPLE_WIDTH_PX))]
    for position in INDEX_FINGERS:
        pixels = _read(cast.finger(resident, position, impression), cv2.IMREAD_GRAYSCALE)
        template = extract(pixels, 500, position)
        drawn = draw_minutiae(pixels, template, 1.0)
        caption = f"{position.label}, {word}: {len(template.x)} minutiae, quality {template.quality}"
        pictures.append(Picture(caption, encode_png(drawn, SAMPLE_WIDTH_PX)))
    if resident.key != "impostor":
        eye = _read(cast.eye(resident, IrisPosition.RIGHT, 1), cv2.IMREAD_GRAYSCALE)
        pictures.append(Picture("right iris, near infrared", encode_png(eye, SAMPLE_WIDTH_PX)))
        pen = np.asarray(resident.person.signature(CAPTURED).render(), np.uint8)
        pictures.append(Picture("signature", encode_png(pen, SAMPLE_WIDTH_PX)))
    return pictures


def _read(path: Any, flag: int) -> Pixels:
    pixels = np.asarray(cv2.imread(str(path), flag), np.uint8)
    return np.ascontiguousarray(pixels[:, :, ::-1]) if pixels.ndim == 3 else pixels
