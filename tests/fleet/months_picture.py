"""A picture of certificates and revocation lists over the days, as SVG: who held what, and when nobody was there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal
from xml.sax.saxutils import escape

DAY_PX, ROW_PX, LEFT_PX, TOP_PX, RIGHT_PX = 10, 30, 110, 46, 330
COLOURS = {"certificate": ("#7fb3d5", "#2e6f9e"), "list": ("#f0c27b", "#b9770e"), "away": ("#d5d8dc", "none")}
MARKS = {"missing": "#c0392b", "alarm": "#8e44ad"}


@dataclass(frozen=True, slots=True)
class Bar:
    """From one day to another. name: tells it from others of its row."""

    start: float
    end: float
    kind: Literal["certificate", "list", "away"]
    name: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Something on one day."""

    row: str
    day: float
    kind: Literal["missing", "alarm"]


@dataclass
class Months:
    """Rows of bars in the order in which they were first seen."""

    days: float = 0.0
    rows: dict[str, list[Bar]] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)

    def add(self, row: str, bar: Bar) -> None:
        """Keep a bar, once."""
        bars = self.rows.setdefault(row, [])
        if all((known.kind, known.name) != (bar.kind, bar.name) for known in bars):
            bars.append(bar)

    def table(self) -> Iterator[tuple[str, int, str]]:
        """Each row with how many certificates or lists it had, and the shortest time that two of them overlapped."""
        for row, bars in self.rows.items():
            held = sorted((bar for bar in bars if bar.kind != "away"), key=lambda bar: bar.start)
            overlaps = [one.end - two.start for one, two in pairwise(held)]
            yield row, len(held), f"{min(overlaps):.1f}" if overlaps else "-"


def draw(months: Months) -> str:
    """The picture. Bars that overlap lie a little lower, one after the other."""
    width, height = LEFT_PX + months.days * DAY_PX + 20, TOP_PX + ROW_PX * len(months.rows) + 40
    width = min(width, LEFT_PX + months.days * DAY_PX + RIGHT_PX)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        'font-family="DejaVu Sans, sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        _text(LEFT_PX, 16, "Certificates (blue), revocation lists (amber), switched off (grey); "
              "red: refused while the list had ended; violet: alarm"),
    ]  # fmt: skip
    bottom = TOP_PX + ROW_PX * len(months.rows)
    for day in range(0, int(months.days) + 1, 10):
        at = _x(day)
        parts.append(f'<line x1="{at}" y1="{TOP_PX - 6}" x2="{at}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(_text(at, TOP_PX - 10, str(day), "middle"))
    for number, (row, bars) in enumerate(months.rows.items()):
        parts += _row(months, row, bars, TOP_PX + number * ROW_PX)
    parts.append("</svg>")
    return "\n".join(parts)


def _row(months: Months, row: str, bars: list[Bar], top: float) -> Iterator[str]:
    yield _text(LEFT_PX - 8, top + 19, row, "end")
    for bar in bars:
        if bar.kind == "away":
            yield _bar(months, bar, top + 1, ROW_PX - 2)
    held = sorted((bar for bar in bars if bar.kind != "away"), key=lambda bar: bar.start)
    for number, bar in enumerate(held):
        yield _bar(months, bar, top + 4 + 11 * (number % 2), 10)
    for mark in months.marks:
        if mark.row == row:
            yield f'<circle cx="{_x(mark.day)}" cy="{top + 15}" r="4" fill="{MARKS[mark.kind]}"/>'


def _bar(months: Months, bar: Bar, top: float, height: float) -> str:
    start, end = max(0.0, bar.start), min(months.days, bar.end)
    fill, stroke = COLOURS[bar.kind]
    return (
        f'<rect x="{_x(start)}" y="{top}" width="{max(1.0, (end - start) * DAY_PX):.1f}" height="{height}" rx="2" '
        f'fill="{fill}" stroke="{stroke}"/>'
    )


def _x(day: float) -> float:
    return round(LEFT_PX + day * DAY_PX, 1)


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
