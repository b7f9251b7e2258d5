"""Text that always fits its place on the card: shrunk a little, then wrapped, then shrunk until it is in.

Fonts are those of fonts-dejavu-core, drawn narrower than they are, because a card has little width and DejaVu much.
Everything is laid out in pixels of the card at 300 dpi and drawn at twice that.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from contract.errors import DeviceError

OVERSAMPLING = 2
FONT_FOLDERS = (Path("/usr/share/fonts/truetype/dejavu"), Path("/usr/share/fonts/dejavu"), Path("/usr/share/fonts/TTF"))
REGULAR, BOLD, MONO, SERIF = "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono-Bold.ttf", "DejaVuSerif-Bold.ttf"
NARROW = 0.86
LINE_PITCH = 1.18
SIZE_PX_MIN = 6
LINES_MAX = 4
_SMALLER_BEFORE_WRAPPING = 0.8
# Height of a capital letter and of what hangs below the baseline, as shares of the font's size.
_ASCENT, _DESCENT = 0.76, 0.24

Box = tuple[float, float, float, float]
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Placed:
    """Lines of text in a box. box: (left, top, right, bottom) in card pixels; size_px: of the font."""

    lines: tuple[str, ...]
    box: Box
    font: str
    size_px: float
    narrow: float
    colour: Colour
    align: str

    @property
    def extent(self) -> Box:
        """What the ink may cover, in card pixels."""
        width = max(text_width(line, self.font, self.size_px, self.narrow) for line in self.lines)
        left = {"left": self.box[0], "centre": (self.box[0] + self.box[2] - width) / 2, "right": self.box[2] - width}
        height = _height(len(self.lines), self.size_px)
        top = (self.box[1] + self.box[3] - height) / 2
        return left[self.align], top, left[self.align] + width, top + height


@lru_cache(maxsize=512)
def load_font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A font at a size of drawn pixels. Raises DeviceError where it is not installed."""
    for folder in FONT_FOLDERS:
        if (folder / name).exists():
            return ImageFont.truetype(folder / name, size, layout_engine=ImageFont.Layout.BASIC)
    raise DeviceError(f"The font {name} is not installed.", next_step="Install fonts-dejavu-core on the hub.")


def text_width(text: str, font: str, size_px: float, narrow: float = NARROW) -> float:
    """Width of one line in card pixels."""
    return load_font(font, round(size_px * OVERSAMPLING)).getlength(text) * narrow / OVERSAMPLING


def place(
    text: str,
    box: Box,
    size_px: float,
    *,
    font: str = BOLD,
    narrow: float = NARROW,
    colour: Colour = (24, 24, 28),
    align: str = "left",
    lines_max: int = LINES_MAX,
) -> Placed:
    """`text` at `size_px` where it fits into `box`; else smaller, else on more lines; it is always in, and whole."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split()) or "-"
    width, height = box[2] - box[0], box[3] - box[1]
    for count in range(1, lines_max + 1):
        least = size_px * _SMALLER_BEFORE_WRAPPING if count == 1 and lines_max > 1 else SIZE_PX_MIN
        size = min(size_px, height / _height(count, 1.0))
        while size >= least:
            if text_width(text, font, size, narrow) <= width * count:  # else no wrapping can help
                lines = wrap(text, font, size, narrow, width)
                if len(lines) <= count and _height(len(lines), size) <= height:
                    return Placed(lines, box, font, size, narrow, colour, align)
            size -= 0.5
    # Nothing printable that the register accepts comes here; a glyph of any width still has to end inside the box.
    size = min(float(SIZE_PX_MIN), height)
    squeezed = narrow * min(1.0, width / max(1.0, text_width(text, font, size, narrow)))
    return Placed((text,), box, font, size, squeezed, colour, align)


def wrap(text: str, font: str, size_px: float, narrow: float, width: float) -> tuple[str, ...]:
    """Lines no wider than `width`; a word that is wider by itself is broken."""
    lines: list[str] = []
    current = ""
    for word in text.split(" "):
        candidate = f"{current} {word}" if current else word
        if text_width(candidate, font, size_px, narrow) <= width:
            current = candidate
            continue
        if current:
            lines.append(current)
        current = word
        while text_width(current, font, size_px, narrow) > width and len(current) > 1:
            cut = _letters_that_fit(current, font, size_px, narrow, width)
            lines.append(current[:cut])
            current = current[cut:]
    return (*lines, current) if current else tuple(lines)


def draw(canvas: Image.Image, placed: Placed) -> None:
    """Draw placed text onto a canvas of OVERSAMPLING times the card's pixels."""
    size = round(placed.size_px * OVERSAMPLING)
    font = load_font(placed.font, size)
    _, top, _, _ = placed.extent
    for number, line in enumerate(placed.lines):
        length = font.getlength(line)
        if not length:
            continue
        mask = Image.new("L", (int(length) + size, round(size * 1.4)))
        ImageDraw.Draw(mask).text((size / 4, _ASCENT * size * 1.2), line, fill=255, font=font, anchor="ls")
        mask = mask.resize((max(1, round(mask.width * placed.narrow)), mask.height), Image.Resampling.LANCZOS)
        line_width = length * placed.narrow / OVERSAMPLING
        left = {
            "left": placed.box[0],
            "centre": (placed.box[0] + placed.box[2] - line_width) / 2,
            "right": placed.box[2] - line_width,
        }[placed.align]
        baseline = top + placed.size_px * (_ASCENT + number * LINE_PITCH)
        corner = (
            round(left * OVERSAMPLING - size / 4 * placed.narrow),
            round(baseline * OVERSAMPLING - _ASCENT * size * 1.2),
        )
        canvas.paste(placed.colour, corner, mask)


def _letters_that_fit(word: str, font: str, size_px: float, narrow: float, width: float) -> int:
    fitting = bisect_right(range(1, len(word) + 1), width, key=lambda n: text_width(word[:n], font, size_px, narrow))
    return max(1, fitting)


def _height(lines: int, size_px: float) -> float:
    return size_px * (_ASCENT + _DESCENT + (lines - 1) * LINE_PITCH)
