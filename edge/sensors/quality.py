"""The quality gate of one sample (M12): what was measured, against which limit, and what to tell the person.

A measure is a number with the two values at which it counts 0 and 100; its limit is where it counts 50. What cannot
be judged from the sample is listed as not judged instead of being guessed. The value of the whole sample is that of
its worst measure: the chain is as good as its weakest link, and the first advice belongs to that link.

Fingers and irises are judged by their extractors (matcher_quality), whose quality is made to predict comparison;
portraits in portrait_quality; this module holds what is common to all and the judgement of signatures, and needs no
kernels, so that the agent's own process can use it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from edge.sensors.interface import PenPoint

LIMIT_VALUE = 50


class Verdict(StrEnum):
    """Outcome of one measure."""

    GOOD = "good"
    POOR = "poor"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True, slots=True)
class Advice:
    """What the person should do differently."""

    indonesian: str
    english: str


@dataclass(frozen=True, slots=True)
class Measure:
    """One property of a sample.

    measured: in `unit`; None where it was not judged. value: 0–100. limit: the measured value that counts 50.
    advice: for the person, where the verdict is poor.
    """

    name: str
    verdict: Verdict
    measured: float | None = None
    limit: float | None = None
    unit: str = ""
    value: int = 0
    advice: Advice | None = None


@dataclass(frozen=True, slots=True)
class SampleQuality:
    """Judgement of one sample. value: 0–100, that of the worst measure that was judged."""

    value: int
    measures: tuple[Measure, ...]

    @property
    def advice(self) -> tuple[Advice, ...]:
        """What to do better, the worst measure's first."""
        poor = sorted((m for m in self.measures if m.verdict is Verdict.POOR), key=lambda m: m.value)
        return tuple(dict.fromkeys(m.advice for m in poor if m.advice is not None))

    @property
    def not_judged(self) -> tuple[str, ...]:
        """Names of the properties that this sample could not show."""
        return tuple(m.name for m in self.measures if m.verdict is Verdict.NOT_JUDGED)


def measure(name: str, measured: float, *, worst: float, best: float, unit: str, advice: Advice) -> Measure:
    """A measure on the straight line from `worst` (counts 0) to `best` (counts 100); either may be the greater."""
    share = (measured - worst) / (best - worst)
    value = round(100 * min(1.0, max(0.0, share))) if math.isfinite(share) else 0
    good = value >= LIMIT_VALUE
    return Measure(
        name=name,
        verdict=Verdict.GOOD if good else Verdict.POOR,
        measured=measured,
        limit=(worst + best) / 2,
        unit=unit,
        value=value,
        advice=None if good else advice,
    )


def unjudged(*names: str) -> tuple[Measure, ...]:
    """Measures that the sample cannot show."""
    return tuple(Measure(name, Verdict.NOT_JUDGED) for name in names)


def sample_quality(measures: Sequence[Measure]) -> SampleQuality:
    """The judgement that these measures add up to; 0 where nothing could be judged."""
    judged = [m.value for m in measures if m.verdict is not Verdict.NOT_JUDGED]
    return SampleQuality(min(judged, default=0), tuple(measures))


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
STRAY_ADVICE = Advice(
    "Angkat pena setelah selesai, lalu ulangi.", "Lift the pen when you have finished, and try again."
)


def judge_signature(points: Sequence[PenPoint]) -> SampleQuality:
    """A signature by its ink: that there is some, its size, its length and its time; x, y in 0.01 mm."""
    down = [point for point in points if point.down]
    ink = [math.hypot(b.x - a.x, b.y - a.y) / 100 for a, b in pairwise(points) if a.down and b.down]
    touched = measure("touched points", len(down), worst=0, best=20, unit="points", advice=SIGN_ADVICE)
    if not down:
        return sample_quality((touched, *unjudged("size", "ink length", "duration", "jumps")))
    width = max(p.x for p in down) - min(p.x for p in down)
    height = max(p.y for p in down) - min(p.y for p in down)
    seconds = (down[-1].time_ms - down[0].time_ms) / 1000
    return sample_quality(
        (
            touched,
            measure("size", math.hypot(width, height) / 100, worst=2, best=12, unit="mm", advice=DOT_ADVICE),
            measure("ink length", sum(ink), worst=5, best=35, unit="mm", advice=SHORT_ADVICE),
            measure("duration", seconds, worst=60, best=20, unit="s", advice=LONG_ADVICE),
            measure("jumps", max(ink, default=0.0), worst=40, best=20, unit="mm", advice=STRAY_ADVICE),
        )
    )
