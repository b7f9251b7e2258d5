"""Pictures for adjudicators: prints side by side with the paired minutiae drawn, irises, portraits, signatures.

Everything is drawn in memory and goes into the page itself; nothing is written anywhere.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.errors import RekamError, RemoteError
from contract.image_formats import ImageFormat, decode_image, encode_image
from contract.packet import PacketSample
from contract.sample import BOTH_EYES, FingerPosition, IrisPosition, Modality
from edge.matcher_lite import FingerTemplate, compare, compare_iris, extract, extract_iris
from hub import chip_pictures
from hub.search.features import finger_pixels, iris_pixels

PAIR_COLOUR = (0, 122, 106)
OTHER_COLOUR = (196, 120, 60)
PICTURE_BYTES_MAX = 90_000
PRINT_HEIGHT_PX = 360
IRIS_HEIGHT_PX = 240
PORTRAIT_HEIGHT_PX = 400
SIGNATURE_PX = (480, 160)
TEMPLATE_PPI = 500
PAPER_PIXELS_MAX = 12_000_000
PAPER_HEIGHT_PX = 1500
PAPER_BYTES_MAX = 350_000

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One sample of two captures as pictures (data URLs; empty where one has none), with what the comparison says."""

    label: str
    left: str
    right: str
    value: float | None
    paired: int
    extrapolated: bool = False


def compare_sides(left: list[PacketSample], right: list[PacketSample]) -> list[SideBySide]:
    """Portraits, irises, then every finger that either capture has, left against right."""
    sides = [_plain(Modality.FACE, 0, "Potret", left, right)]
    sides += [_eyes(IrisPosition(eye), left, right) for eye in BOTH_EYES]
    fingers = {s.position for s in (*left, *right) if s.modality is Modality.FINGER}
    sides += [_fingers(FingerPosition(position), left, right) for position in sorted(fingers, key=_indexes_first)]
    sides.append(_plain(Modality.SIGNATURE, 0, "Tanda tangan", left, right))
    return [side for side in sides if side.left or side.right]


def portrait(samples: list[PacketSample]) -> str:
    """The portrait as the card would show it, as a data URL: for the region, which has to say whether it fits (M29)."""
    return _drawn(_find(samples, Modality.FACE, 0))


def _indexes_first(position: int) -> tuple[bool, int]:
    return position not in (FingerPosition.RIGHT_INDEX, FingerPosition.LEFT_INDEX), position


def _plain(
    modality: Modality, position: int, label: str, left: list[PacketSample], right: list[PacketSample]
) -> SideBySide:
    return SideBySide(label, _drawn(_find(left, modality, position)), _drawn(_find(right, modality, position)), None, 0)


def _eyes(position: IrisPosition, left: list[PacketSample], right: list[PacketSample]) -> SideBySide:
    """Two pictures of one eye, with the score of their codes."""
    found = [_find(samples, Modality.IRIS, position) for samples in (left, right)]
    value, extrapolated = None, False
    if found[0] is not None and found[1] is not None:
        probe, reference = (extract_iris(iris_pixels(eye.record), position) for eye in found if eye is not None)
        if probe.usable and reference.usable:
            score = compare_iris(probe, reference)
            value, extrapolated = score.value, score.extrapolated
    return SideBySide(position.label, _drawn(found[0]), _drawn(found[1]), value, 0, extrapolated)


def _fingers(position: FingerPosition, left: list[PacketSample], right: list[PacketSample]) -> SideBySide:
    """Two prints of one finger: what the comparator paired in one colour with numbers, the rest in another."""
    prints = [_finger(_find(samples, Modality.FINGER, position), position) for samples in (left, right)]
    pairs: tuple[tuple[int, int], ...] = ()
    value, extrapolated = None, False
    if prints[0] is not None and prints[1] is not None:
        score = compare(prints[0][1], prints[1][1], explain=True)
        pairs, value, extrapolated = score.paired, score.value, score.extrapolated
    urls = []
    for side, found in enumerate(prints):
        if found is None:
            urls.append("")
            continue
        numbers = {pair[side]: number for number, pair in enumerate(pairs, start=1)}
        urls.append(_url(_with_minutiae(found[0], found[1], numbers)))
    return SideBySide(position.label, urls[0], urls[1], value, len(pairs), extrapolated)


def _finger(sample: PacketSample | None, position: FingerPosition) -> tuple[Pixels, FingerTemplate] | None:
    """A print at the template's resolution, and its template."""
    if sample is None:
        return None
    pixels, ppi = finger_pixels(sample.record)
    template = extract(pixels, ppi, position)
    scale = TEMPLATE_PPI / ppi
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8), template


def _with_minutiae(pixels: Pixels, template: FingerTemplate, numbers: dict[int, int]) -> Pixels:
    zoom = PRINT_HEIGHT_PX / pixels.shape[0]
    canvas = cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), None, fx=zoom, fy=zoom)
    for index in range(template.minutiae):
        x, y = float(template.x[index]) * zoom, float(template.y[index]) * zoom
        angle = float(template.angle[index])
        colour = PAIR_COLOUR if index in numbers else OTHER_COLOUR
        centre = (round(x), round(y))
        tip = (round(x + 11 * np.cos(angle)), round(y - 11 * np.sin(angle)))
        cv2.circle(canvas, centre, 4, colour, 2 if index in numbers else 1, cv2.LINE_AA)
        cv2.line(canvas, centre, tip, colour, 2 if index in numbers else 1, cv2.LINE_AA)
        if index in numbers:
            at, font = (centre[0] + 5, centre[1] - 5), cv2.FONT_HERSHEY_SIMPLEX
            for ink, thickness in (((255, 255, 255), 3), (colour, 1)):
                cv2.putText(canvas, str(numbers[index]), at, font, 0.34, ink, thickness, cv2.LINE_AA)
    return np.asarray(canvas, np.uint8)


def paper(image: bytes) -> str:
    """A scanned page as a data URL, drawn anew: what came from a unit is not shown as it came. Empty if unreadable."""
    try:
        pixels = decode_image(image, max_pixels=PAPER_PIXELS_MAX, colour=True)
        scale = min(1.0, PAPER_HEIGHT_PX / pixels.shape[0])
        shown = _to_height(pixels, max(1, round(pixels.shape[0] * scale)))
        jpeg = encode_image(shown, ImageFormat.JPEG, max_bytes=PAPER_BYTES_MAX)
    except RekamError:
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _find(samples: list[PacketSample], modality: Modality, position: int) -> PacketSample | None:
    wanted = (s for s in samples if s.modality is modality and s.purpose == "reference")
    return next((s for s in wanted if modality in (Modality.FACE, Modality.SIGNATURE) or s.position == position), None)


def _drawn(sample: PacketSample | None) -> str:
    """A sample that is only shown, as a data URL; empty for none, or one that cannot be drawn."""
    if sample is None:
        return ""
    try:
        return _url(_pixels_of(sample))
    except RemoteError:
        return ""


def _pixels_of(sample: PacketSample) -> Pixels:
    if sample.modality is Modality.FACE:
        return _to_height(chip_pictures.card_photo(sample.record), PORTRAIT_HEIGHT_PX)
    if sample.modality is Modality.SIGNATURE:
        return chip_pictures.signature_on_paper(sample.record, SIGNATURE_PX)
    return _to_height(iris_pixels(sample.record), IRIS_HEIGHT_PX)


def _to_height(pixels: Pixels, height_px: int) -> Pixels:
    width_px = max(1, round(pixels.shape[1] * height_px / pixels.shape[0]))
    return np.asarray(cv2.resize(pixels, (width_px, height_px), interpolation=cv2.INTER_AREA), np.uint8)


def _url(pixels: Pixels) -> str:
    jpeg = encode_image(pixels, ImageFormat.JPEG, max_bytes=PICTURE_BYTES_MAX)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
