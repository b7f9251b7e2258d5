"""Which of two captures happened first? Bounds that nobody can set, and an honest "not known" where they overlap (M28).

A capture that carries the hash of checkpoint n happened after n was made; it happened before the hub had its packet.
Two captures of one unit are ordered by the unit's signed sequence, whatever any clock says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Order(StrEnum):
    """Which of two captures came first."""

    FIRST = "the first named"
    SECOND = "the second named"
    UNKNOWN = "the bounds overlap"


@dataclass(frozen=True, slots=True)
class CaptureTime:
    """What is known about when a capture happened, in hub milliseconds.

    earliest_ms: time of the checkpoint it carries, 0 with none; latest_ms: when the hub had it; unit, sequence: who
    signed it, and as which of that unit's moments.
    """

    unit: str
    sequence: int
    earliest_ms: int
    latest_ms: int


def order_of(first: CaptureTime, second: CaptureTime) -> Order:
    """Which of the two happened first, as far as it can be proved."""
    if first.unit == second.unit and first.sequence != second.sequence:
        return Order.FIRST if first.sequence < second.sequence else Order.SECOND
    if first.latest_ms < second.earliest_ms:
        return Order.FIRST
    if second.latest_ms < first.earliest_ms:
        return Order.SECOND
    return Order.UNKNOWN


def earliest_within_boot(monotonic_ms: int, anchors: list[tuple[int, int]]) -> int:
    """The latest lower bound that earlier moments of the same boot give.

    anchors: (monotonic_ms, earliest_ms) of moments the unit signed before this one since the same boot. Its own
    monotonic clock then carries their bound forward; a clock that runs fast by DRIFT_PPM is allowed for.
    """
    bounds = [
        earliest_ms + (monotonic_ms - anchor_ms) * (1_000_000 - DRIFT_PPM) // 1_000_000
        for anchor_ms, earliest_ms in anchors
        if earliest_ms and anchor_ms <= monotonic_ms
    ]
    return max(bounds, default=0)


DRIFT_PPM = 200
