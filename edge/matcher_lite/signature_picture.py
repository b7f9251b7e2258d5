"""A signature drawn with its pressure: transparent ink for the card's field, and two colours for its chip.

The hub draws what it prints and the command line draws the same. Strokes come cleaned and bounded from
contract.signature_strokes; a curve through the pad's reports is drawn finely and made smaller by area.
"""

from __future__ import annotations

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.chip_layout import BUDGET, ChipFile
from contract.errors import RekamError
from contract.signature_strokes import Ink, Mark, Stroke

Coverage = NDArray[np.uint8]

CARD_FIELD_PX = (944, 400)  # four times the field of the card's face at 300 dpi
CHIP_PX = ((240, 80), (180, 60), (120, 40), (90, 30))
INK_RGB = (28, 32, 64)
MARGIN_SHARE = 0.05
NIB_SHARE = (0.003, 0.014)  # of the picture's width: the lightest and the hardest press
CHIP_NIB_SHARE = (0.009, 0.009)
FINE = 3
CURVE_STEPS_MAX = 6
SUBPIXEL_BITS = 4


def signature_picture(ink: Ink, size: tuple[int, int] = CARD_FIELD_PX) -> Image.Image:
    """The signature as RGBA: ink of one colour, its coverage in the alpha channel, nothing elsewhere."""
    coverage = draw_ink(ink, size)
    pixels = np.empty((*coverage.shape, 4), np.uint8)
    pixels[:, :, :3] = INK_RGB
    pixels[:, :, 3] = coverage
    return Image.fromarray(pixels)


def signature_png(ink: Ink, size: tuple[int, int] = CARD_FIELD_PX) -> bytes:
    """`signature_picture` as a PNG file."""
    buffer = io.BytesIO()
    signature_picture(ink, size).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def chip_signature(ink: Ink, bytes_max: int = BUDGET[ChipFile.SIGNATURE]) -> bytes:
    """Black on white as a PNG of two colours: the largest drawing that fits the chip."""
    for size in CHIP_PX:
        paper = Image.fromarray(255 - draw_ink(ink, size, CHIP_NIB_SHARE))
        buffer = io.BytesIO()
        paper.convert("1", dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= bytes_max:
            return buffer.getvalue()
    raise RekamError("The signature is too intricate for the chip.", next_step="Have the resident sign again (M56).")


def draw_ink(ink: Ink, size: tuple[int, int], nib_share: tuple[float, float] = NIB_SHARE) -> Coverage:
    """How much ink lies on each pixel, 0 to 255, (size[1], size[0]); fitted with a margin, proportions kept."""
    width, height = size
    sheet = np.zeros((height * FINE, width * FINE), np.uint8)
    margin = MARGIN_SHARE * width * FINE
    room = width * FINE - 2 * margin, height * FINE - 2 * margin
    scale = min(room[0] / max(ink.width_mm, 0.5), room[1] / max(ink.height_mm, 0.5))
    left = (width * FINE - ink.width_mm * scale) / 2
    top = (height * FINE - ink.height_mm * scale) / 2
    for stroke in ink.strokes:
        placed = [(left + x * scale, top + y * scale, pressure, time) for x, y, pressure, time in stroke]
        _draw_stroke(sheet, _curve(placed), [share * width * FINE for share in nib_share])
    return np.asarray(cv2.resize(sheet, size, interpolation=cv2.INTER_AREA), np.uint8)


def _draw_stroke(sheet: Coverage, marks: Stroke, nib_px: list[float]) -> None:
    """Segments as wide as the pen was pressed, with round ends, which a line of cv2 has by itself."""
    unit = 1 << SUBPIXEL_BITS
    ends = [(round(x * unit), round(y * unit)) for x, y, _, _ in marks]
    for index, (_, _, pressure, _) in enumerate(marks):
        thick = max(1, round(nib_px[0] + (nib_px[1] - nib_px[0]) * pressure))
        cv2.line(sheet, ends[max(0, index - 1)], ends[index], 255, thick, cv2.LINE_AA, SUBPIXEL_BITS)


def _curve(marks: list[Mark]) -> Stroke:
    """A Catmull-Rom curve through marks that lie far apart; near ones stay as they are."""
    drawn: list[Mark] = marks[:1]
    for index in range(1, len(marks)):
        before, start, end, after = (
            np.asarray(marks[min(max(at, 0), len(marks) - 1)]) for at in (index - 2, index - 1, index, index + 1)
        )
        steps = int(min(CURVE_STEPS_MAX, 1 + np.hypot(*(end - start)[:2]) / (3 * FINE)))
        for step in range(1, steps):
            t = step / steps
            point = 0.5 * (
                2 * start
                + (end - before) * t
                + (2 * before - 5 * start + 4 * end - after) * t**2
                + (3 * start - before - 3 * end + after) * t**3
            )
            drawn.append((float(point[0]), float(point[1]), float(np.clip(point[2], 0.0, 1.0)), float(point[3])))
        drawn.append(marks[index])
    return tuple(drawn)
