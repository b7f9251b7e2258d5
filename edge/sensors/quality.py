"""Quality of a signature, by its ink (M12): whether there is enough of it, of one signing, inside the pad's field.

Fingers and irises are judged by their extractors (matcher_quality), whose quality is made to predict comparison;
portraits in edge.matcher_lite.portrait_quality. This judgement needs no kernels, so the agent's own process makes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise

from contract.sample_quality import Advice, SampleQuality, measure, sample_quality, unjudged
from edge.sensors.interface import PenPoint

SIGN_ADVICE = Advice(
    "Tanda tangan belum terbaca. Tanda tangani seperti biasa di dalam bidang.",
    "No signature was read. Sign as usual inside the field.",
)
DOT_ADVICE = Advice(
    "Tanda tangan terlalu kecil. Tanda tangani dengan ukuran biasa.",
    "The signature is too small. Sign at your usual size.",
)
SHORT_ADVICE = Advice(
    "Tanda tangan terlalu singkat. Tulis tanda tangan lengkap.", "The signature is too short. Write it in full."
)
LONG_ADVICE = Advice(
    "Tanda tangan terlalu lama. Ulangi dengan satu tanda tangan saja.",
    "The signing took too long. Write one signature only.",
)
SCRIBBLE_ADVICE = Advice(
    "Terlalu banyak coretan. Tulis satu tanda tangan saja.", "There is too much scribble. Write one signature only."
)
EDGE_ADVICE = Advice(
    "Tanda tangan keluar dari bidang. Ulangi lebih kecil, di dalam bidang.",
    "The signature runs over the edge of the field. Sign again, smaller, inside it.",
)
STRAY_ADVICE = Advice(
    "Angkat pena setelah selesai, lalu ulangi.", "Lift the pen when you have finished, and try again."
)


RUN_OVER_REPORTS_MIN = 3
NEEDS_INK = ("size", "ink length", "scribble", "along the edge", "duration", "jumps")


def judge_signature(points: Sequence[PenPoint]) -> SampleQuality:
    """A signature by its ink: that there is some, its size, its length, its time, and that it stays in the field."""
    down = [point for point in points if point.down]
    ink = [math.hypot(b.x - a.x, b.y - a.y) / 100 for a, b in pairwise(points) if a.down and b.down]
    touched = measure("touched points", len(down), worst=0, best=20, unit="points", advice=SIGN_ADVICE)
    if not down:
        return sample_quality((touched, *unjudged(*NEEDS_INK)))
    width = max(p.x for p in down) - min(p.x for p in down)
    height = max(p.y for p in down) - min(p.y for p in down)
    seconds = (down[-1].time_ms - down[0].time_ms) / 1000
    return sample_quality(
        (
            touched,
            measure("size", math.hypot(width, height) / 100, worst=2, best=12, unit="mm", advice=DOT_ADVICE),
            measure("ink length", sum(ink), worst=5, best=35, unit="mm", advice=SHORT_ADVICE),
            measure("scribble", sum(ink), worst=5000, best=1000, unit="mm of ink", advice=SCRIBBLE_ADVICE),
            measure("along the edge", _along_the_edge(points), worst=16, best=0, unit="mm", advice=EDGE_ADVICE),
            measure("duration", seconds, worst=60, best=20, unit="s", advice=LONG_ADVICE),
            measure("jumps", max(ink, default=0.0), worst=40, best=20, unit="mm", advice=STRAY_ADVICE),
        )
    )


def _along_the_edge(points: Sequence[PenPoint]) -> float:
    """mm of ink that lies exactly on one side of the ink's own box: the track of a pen that left the pad's field.

    A pad reports a pen outside its field at the field's border, so a run-over is dead straight over several reports;
    no hand is. Two reports of the same height are only the crest of a fast stroke.
    """
    down = [point for point in points if point.down]
    xs, ys = {point.x for point in down}, {point.y for point in down}
    upright = [_on_a_line([(p.y, p.down and p.x == side) for p in points]) for side in (min(xs), max(xs))]
    level = [_on_a_line([(p.x, p.down and p.y == side) for p in points]) for side in (min(ys), max(ys))]
    return max(upright + level) / 100


def _on_a_line(track: Sequence[tuple[int, bool]]) -> int:
    """The length of all runs of three reports and more that lie on it. track: place along the line, whether on it."""
    total = 0
    for on_it, run in groupby(track, key=lambda report: report[1]):
        places = [place for place, _ in run]
        if on_it and len(places) >= RUN_OVER_REPORTS_MIN:
            total += sum(abs(after - before) for before, after in pairwise(places))
    return total
