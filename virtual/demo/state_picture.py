"""The record's state diagram as a picture, drawn from the table, with the way that records really took through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from contract.lifecycle import RECORD, RecordState

BOX_WIDTH, BOX_HEIGHT = 232, 30
COLUMN_STEP, ROW_STEP = 300, 62
MARGIN = 24

_S = RecordState
# Column and row of each state: the main way runs down the first column, what can go wrong stands beside it.
PLACES: Mapping[RecordState, tuple[int, int]] = {
    _S.UNREGISTERED: (0, 0),
    _S.BIO_CAPTURED: (0, 1),
    _S.PROCESSING: (0, 2),
    _S.SENT_FOR_ENROLLMENT: (0, 3),
    _S.RECEIVED_AT_CENTRAL: (0, 4),
    _S.SENT_FOR_DEDUP: (0, 5),
    _S.PRINT_READY_RECORD: (0, 7),
    _S.SENT_FOR_CARD_PRINTING: (0, 8),
    _S.CARD_SHIPPED: (0, 9),
    _S.CARD_PRINTED: (0, 10),
    _S.CARD_ISSUED: (0, 11),
    _S.PACKET_ENTRY: (1, 2),
    _S.ENROLL_FAILURE_AT_CENTRAL: (1, 3),
    _S.ENROLL_FAILURE_AT_REGIONAL: (1, 4),
    _S.SEARCH_FAILURE_AT_CENTRAL: (1, 5),
    _S.ADJUDICATE_RECORD: (1, 6),
    _S.ADJUDICATE_IN_PROCESS: (1, 7),
    _S.DUPLICATE_RECORD: (1, 8),
    _S.REQUEST_VALIDATION: (2, 6),
    _S.INACTIVE: (2, 11),
}


@dataclass(frozen=True, slots=True)
class Way:
    """One record's way: its name, its colour, and the states in the order it had them."""

    label: str
    colour: str
    states: Sequence[RecordState]


def svg(ways: Sequence[Way]) -> str:
    """The diagram as SVG: every transition of the table in grey, each way over it in its own colour."""
    width = MARGIN * 2 + COLUMN_STEP * 2 + BOX_WIDTH
    height = MARGIN * 2 + ROW_STEP * 11 + BOX_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'aria-label="Record states and the way of each record" font-family="inherit">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" '
        'markerUnits="userSpaceOnUse" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="context-stroke"/></marker></defs>',
    ]
    pairs = dict.fromkeys(
        (state, following)
        for (state, _), following in RECORD.items()
        if state is not following and following is not _S.INACTIVE
    )
    parts += [_arrow(start, end, "#c9d2dc", 1.2, 0) for start, end in pairs]
    taken: dict[tuple[RecordState, RecordState], int] = {}
    for way in ways:
        for start, end in zip(way.states, way.states[1:], strict=False):
            if start is not end:
                lane = taken.get((start, end), 0)
                taken[start, end] = lane + 1
                parts.append(_arrow(start, end, way.colour, 2.6, lane))
    visited = {state for way in ways for state in way.states}
    parts += [_box(state, state in visited) for state in PLACES]
    return "".join(parts) + "</svg>"


def _corner(state: RecordState) -> tuple[int, int]:
    column, row = PLACES[state]
    return MARGIN + column * COLUMN_STEP, MARGIN + row * ROW_STEP


def _box(state: RecordState, visited: bool) -> str:
    left, top = _corner(state)
    fill, ink = ("#0b5c53", "#ffffff") if visited else ("#eef2f5", "#5b6b7a")
    return (
        f'<rect x="{left}" y="{top}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="7" fill="{fill}"/>'
        f'<text x="{left + BOX_WIDTH / 2}" y="{top + 20}" font-size="12.5" text-anchor="middle" fill="{ink}">'
        f"{escape(state)}</text>"
    )


def _arrow(start: RecordState, end: RecordState, colour: str, stroke: float, lane: int) -> str:
    """One arrow; `lane` shifts parallel arrows apart."""
    (left_a, top_a), (left_b, top_b) = _corner(start), _corner(end)
    (column_a, row_a), (column_b, row_b) = PLACES[start], PLACES[end]
    shift = (lane % 7) * 7
    between = {PLACES[state] for state in PLACES} & {(column_a, row) for row in range(row_a + 1, row_b)}
    if column_a == column_b and row_b > row_a and not between:
        x = left_a + BOX_WIDTH / 2 - 24 + shift * 1.4
        path = f"M{x} {top_a + BOX_HEIGHT}L{x} {top_b - 2}"
    elif column_a == column_b:
        side = left_a - 10 - 3 * abs(row_b - row_a) / 2 if row_b < row_a else left_a + BOX_WIDTH
        if row_b > row_a:
            bend = side + 14 + 5 * (row_b - row_a) + shift
            path = f"M{side} {top_a + 20}C{bend} {top_a + 20} {bend} {top_b + 10} {side + 2} {top_b + 10}"
        else:
            bend = left_a - 14 - 4 * (row_a - row_b) - shift
            path = f"M{left_a} {top_a + 10}C{bend} {top_a + 10} {bend} {top_b + 20} {left_a - 2} {top_b + 20}"
    else:
        rightwards = column_b > column_a
        x_a = left_a + (BOX_WIDTH if rightwards else 0)
        x_b = left_b + (-2 if rightwards else BOX_WIDTH + 2)
        y_a, y_b = top_a + 15 + shift / 2, top_b + 15 + shift / 2
        middle = (x_a + x_b) / 2
        path = f"M{x_a} {y_a}C{middle} {y_a} {middle} {y_b} {x_b} {y_b}"
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{stroke}" marker-end="url(#tip)"/>'
