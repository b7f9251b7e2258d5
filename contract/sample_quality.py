"""The quality gate of one sample (M12): what was measured, against which limit, and what to tell the person.

A measure is a number with the two values at which it counts 0 and 100; its limit is where it counts 50. What cannot
be judged from the sample is listed as not judged instead of being guessed. The value of the whole sample is that of
its worst measure: the chain is as good as its weakest link, and the first advice belongs to that link.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

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
