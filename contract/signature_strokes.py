"""What a signature's time series shows: the strokes of the pen, for a card's face and for a replay before a dispute.

Reads any record of contract.signature_series, whoever wrote it, as ISO/IEC 19794-7 gives the channels their meaning:
X to the right, Y upwards, both by their scaling values; time from T, from DT, or from a constant DT; pen state from S,
else from F; force from F. What is absent is neutral, never guessed from another channel. Cleaning drops hovering, leaps
of a single report and stray touches far from the name; the number of points and every rest of the pen are bounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from contract.signature_series import Channel, SignatureSeries

INK_POINTS_MAX = 8_000
REST_S_MAX = 3.0
UNITS_PER_MM = 100.0  # where a record does not say; 0.01 mm is what our own pads report
POINTS_PER_SECOND = 100.0  # where a record has no time at all
NEUTRAL_PRESSURE = 0.5

_LEAP_SHARE = 0.3
_STRAY_SIZE_SHARE = 0.03
_STRAY_AWAY_SHARE = 0.6

Mark = tuple[float, float, float, float]
Stroke = tuple[Mark, ...]
_Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Ink:
    """A signature as it was written: strokes of marks (x, y, pressure, time).

    x, y: mm from the upper left corner of the ink, y downwards; pressure: 0–1; time: s from the first mark.
    """

    strokes: tuple[Stroke, ...]
    width_mm: float = 0.0
    height_mm: float = 0.0

    @property
    def duration_s(self) -> float:
        """From the first mark to the last."""
        return self.strokes[-1][-1][3] if self.strokes else 0.0

    @property
    def length_mm(self) -> float:
        """What the pen wrote, all strokes together."""
        return sum(math.dist(a[:2], b[:2]) for stroke in self.strokes for a, b in pairwise(stroke))

    @property
    def point_count(self) -> int:
        """Marks of all strokes."""
        return sum(len(stroke) for stroke in self.strokes)


def replay_data(ink: Ink) -> dict[str, Any]:
    """The ink as the player in a page takes it (edge/matcher_lite/signature_replay.js), ready for JSON."""
    strokes = [[[round(value, 3) for value in mark] for mark in stroke] for stroke in ink.strokes]
    return {"width_mm": ink.width_mm, "height_mm": ink.height_mm, "duration_s": ink.duration_s, "strokes": strokes}


def ink_of(series: SignatureSeries) -> Ink:
    """The strokes of `series`, cleaned and bounded; none where the pen never touched."""
    marks = list(zip(*_positions(series), _pressures(series), _times(series), strict=True))
    touching = zip(marks, _touches(series), strict=True)
    strokes = [[mark for mark, _ in group] for down, group in groupby(touching, key=lambda pair: pair[1]) if down]
    return _laid_out(_thinned(_without_strays([_without_leaps(stroke) for stroke in strokes])))


def _positions(series: SignatureSeries) -> tuple[list[float], list[float]]:
    """X and Y in mm, Y downwards as pictures have it."""
    stated = [series.descriptions[channel].scaling for channel in (Channel.X, Channel.Y)]
    known = next((scaling for scaling in stated if scaling), UNITS_PER_MM)
    x_units, y_units = (scaling or known for scaling in stated)
    sign = 1.0 if _is_drawn_downwards(series) else -1.0
    return (
        [value / x_units for value in series.channels[Channel.X]],
        [sign * value / y_units for value in series.channels[Channel.Y]],
    )


def _is_drawn_downwards(series: SignatureSeries) -> bool:
    """Whether this is a record of our own first version, which stored the pad's Y, growing downwards, as it came.

    Its header is told by what it states and what it leaves out. Those records lie in packets and attestations.
    """
    if list(series.descriptions) != [Channel.X, Channel.Y, Channel.T, Channel.F, Channel.S]:
        return False
    x, y, time = (series.descriptions[channel] for channel in (Channel.X, Channel.Y, Channel.T))
    scaled = (x.scaling, y.scaling, time.scaling) == (UNITS_PER_MM, UNITS_PER_MM, 1000.0)
    return scaled and not series.extended and y.value_min is not None and y.value_min >= 0


def _touches(series: SignatureSeries) -> list[bool]:
    state, force = series.channels.get(Channel.S), series.channels.get(Channel.F)
    if state is not None:
        return [value > 0 for value in state]
    if force is not None and any(force):
        return [value > 0 for value in force]
    return [True] * series.point_count


def _pressures(series: SignatureSeries) -> list[float]:
    """Force between the pad's stated limits, or up to the hardest press."""
    force = series.channels.get(Channel.F)
    if not force:
        return [NEUTRAL_PRESSURE] * series.point_count
    description = series.descriptions[Channel.F]
    low = description.value_min or 0
    high = max(*force, description.value_max or 0)
    if high <= low:
        return [NEUTRAL_PRESSURE] * series.point_count
    return [min(1.0, max(0.0, (value - low) / (high - low))) for value in force]


def _times(series: SignatureSeries) -> list[float]:
    """Seconds from the first point; a clock that steps back stands still, and no rest is longer than REST_S_MAX."""
    steps = [min(REST_S_MAX, max(0.0, step)) for step in _time_steps(series)]
    times, now = [], 0.0
    for step in steps:
        now += step
        times.append(now)
    return times


def _time_steps(series: SignatureSeries) -> list[float]:
    clock, steps = series.channels.get(Channel.T), series.channels.get(Channel.DT)
    if clock is not None:
        per_second = series.descriptions[Channel.T].scaling or 1000.0
        return [0.0, *((b - a) / per_second for a, b in pairwise(clock))] if clock else []
    if steps is not None:
        per_second = series.descriptions[Channel.DT].scaling or 1000.0
        return [0.0, *(step / per_second for step in steps[1:])] if steps else []
    constant = series.descriptions.get(Channel.DT)
    rate = constant.scaling if constant is not None and constant.scaling else POINTS_PER_SECOND
    return [0.0, *[1.0 / rate] * (series.point_count - 1)] if series.point_count else []


def _box(marks: list[Mark]) -> _Box:
    xs, ys = [mark[0] for mark in marks], [mark[1] for mark in marks]
    return min(xs), min(ys), max(xs), max(ys)


def _diagonal(box: _Box) -> float:
    return math.hypot(box[2] - box[0], box[3] - box[1])


def _without_leaps(stroke: list[Mark]) -> list[Mark]:
    """A stroke without single reports that lie far from both their neighbours, as an interfered tablet gives them."""
    if len(stroke) < 3:
        return stroke
    far = _LEAP_SHARE * _diagonal(_box(stroke))
    kept = [stroke[0]]
    for here, after in pairwise(stroke[1:]):
        out, back = math.dist(kept[-1][:2], here[:2]), math.dist(here[:2], after[:2])
        if not (min(out, back) > far and math.dist(kept[-1][:2], after[:2]) < 0.25 * min(out, back)):
            kept.append(here)
    return [*kept, stroke[-1]]


def _without_strays(strokes: list[list[Mark]]) -> list[list[Mark]]:
    """Without specks far from the name: the heel of a hand that touched must not make the signature small."""
    if len(strokes) < 2:
        return strokes
    size = _diagonal(_box([mark for stroke in strokes for mark in stroke]))
    body = [mark for stroke in strokes if _diagonal(_box(stroke)) > _STRAY_SIZE_SHARE * size for mark in stroke]
    if not body:
        return strokes
    left, top, right, bottom = body_box = _box(body)
    reach = _STRAY_AWAY_SHARE * _diagonal(body_box)

    def is_near(stroke: list[Mark]) -> bool:
        x, y = stroke[0][:2]
        return math.hypot(max(left - x, 0.0, x - right), max(top - y, 0.0, y - bottom)) <= reach

    return [stroke for stroke in strokes if is_near(stroke)]


def _thinned(strokes: list[list[Mark]]) -> list[list[Mark]]:
    """At most INK_POINTS_MAX marks, evenly, each stroke with its first and last."""
    count = sum(len(stroke) for stroke in strokes)
    if count <= INK_POINTS_MAX:
        return strokes
    every = math.ceil(count / (INK_POINTS_MAX / 2))
    return [
        [mark for index, mark in enumerate(stroke) if index % every == 0 or index == len(stroke) - 1]
        for stroke in strokes[: INK_POINTS_MAX // 4]
    ]


def _laid_out(strokes: list[list[Mark]]) -> Ink:
    """The ink moved to its own corner and its own first moment."""
    if not strokes:
        return Ink(())
    left, top, right, bottom = _box([mark for stroke in strokes for mark in stroke])
    start = strokes[0][0][3]
    moved = tuple(
        tuple((x - left, y - top, pressure, time - start) for x, y, pressure, time in stroke) for stroke in strokes
    )
    return Ink(moved, right - left, bottom - top)
