"""Finds fingers that were given under a wrong name before a record of ten fingers is closed.

Within one capture a finger can be given twice. Against fingers known already (slaps beside single prints, an earlier
enrolment) a finger can be under another's name, and whole hands can be swapped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from contract.comparison import ComparisonScore, Decision
from contract.sample import FingerPosition
from edge.matcher_lite import slap_parameters as p
from edge.matcher_lite.finger_compare import compare
from edge.matcher_lite.finger_template import FingerTemplate


class SequenceKind(StrEnum):
    """What is wrong with the names of fingers."""

    GIVEN_TWICE = "given_twice"
    OTHER_FINGER = "other_finger"
    HANDS_SWAPPED = "hands_swapped"

    @property
    def indonesian(self) -> str:
        """What to tell the operator, in Indonesian."""
        return _ADVICE[self][0]

    @property
    def english(self) -> str:
        """What to tell the operator, in English."""
        return _ADVICE[self][1]


_ADVICE = {
    SequenceKind.GIVEN_TWICE: (
        "Jari yang sama diambil dua kali: ambil ulang keduanya.",
        "The same finger was given twice: capture both again.",
    ),
    SequenceKind.OTHER_FINGER: (
        "Jari tidak sesuai dengan namanya: ambil ulang jari ini.",
        "This finger is another than its name says: capture it again.",
    ),
    SequenceKind.HANDS_SWAPPED: (
        "Tangan kiri dan kanan tertukar: ambil ulang kedua tangan.",
        "Left and right hand are swapped: capture both again.",
    ),
}


@dataclass(frozen=True, slots=True)
class SequenceProblem:
    """One contradiction. GIVEN_TWICE: `first` and `second` of the capture are one finger. Otherwise `first` of the
    capture is the known finger `second`; for HANDS_SWAPPED it is the pair that says so most clearly.
    """

    kind: SequenceKind
    first: FingerPosition
    second: FingerPosition
    score: ComparisonScore


def check_sequence(
    templates: Mapping[FingerPosition, FingerTemplate],
    known: Mapping[FingerPosition, FingerTemplate] | None = None,
    *,
    fmr: float = p.SEQUENCE_FMR,
) -> tuple[SequenceProblem, ...]:
    """Contradictions among the fingers of a capture, and between it and fingers `known`; empty where all is well.

    fmr: false match rate of one comparison; ten fingers make 45 within a capture and 90 against those known. Templates
    without a usable finger, and fingers of unknown position, say nothing. RemoteError where makers of templates differ.
    """
    problems = [
        SequenceProblem(SequenceKind.GIVEN_TWICE, first, second, score)
        for (first, probe), (second, other) in combinations(_named(templates), 2)
        if (score := compare(probe, other)).decide(fmr) is Decision.MATCH
    ]
    misnamed = list(_misnamed(templates, known or {}, fmr))
    mirrored = [problem for problem in misnamed if problem.second is _mirrored(problem.first)]
    if len(mirrored) >= 2:
        clearest = max(mirrored, key=lambda problem: problem.score.value)
        swapped = SequenceProblem(SequenceKind.HANDS_SWAPPED, clearest.first, clearest.second, clearest.score)
        return (swapped, *(problem for problem in misnamed if problem not in mirrored), *problems)
    return (*misnamed, *problems)


def _named(templates: Mapping[FingerPosition, FingerTemplate]) -> list[tuple[FingerPosition, FingerTemplate]]:
    return [
        (position, template)
        for position, template in sorted(templates.items())
        if position is not FingerPosition.UNKNOWN and template.usable
    ]


def _misnamed(
    templates: Mapping[FingerPosition, FingerTemplate], known: Mapping[FingerPosition, FingerTemplate], fmr: float
) -> Iterator[SequenceProblem]:
    """Fingers of the capture that are a known finger of another name, and not the one of their own."""
    for position, probe in _named(templates):
        scores = {name: compare(probe, reference) for name, reference in _named(known)}
        if not scores:
            continue
        best = max(scores, key=lambda name: scores[name].value)
        if best is not position and scores[best].decide(fmr) is Decision.MATCH:
            yield SequenceProblem(SequenceKind.OTHER_FINGER, position, best, scores[best])


def _mirrored(position: FingerPosition) -> FingerPosition:
    """The same finger of the other hand."""
    return FingerPosition((int(position) - 1 + 5) % 10 + 1)
