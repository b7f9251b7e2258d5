"""Comparison scores, decisions and candidates (ISO/IEC 2382-37).

A score's value has a meaning: it is ten times the negative decimal logarithm of the false match rate that a
threshold at this value would have, as estimated by the comparator's calibration. So 30 stands for FMR 1e-3,
and a threshold is named by its FMR instead of by a number that nobody can judge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from contract.errors import RekamError


class Decision(StrEnum):
    """Outcome of a comparison at a threshold."""

    MATCH = "match"
    NON_MATCH = "non-match"


def threshold_at(fmr: float) -> float:
    """The score value whose false match rate is `fmr` (0 < fmr <= 1)."""
    if not 0.0 < fmr <= 1.0:
        raise RekamError(f"A false match rate lies above 0 and up to 1, not {fmr}.", next_step="Give one such as 1e-4.")
    return -10.0 * math.log10(fmr)


@dataclass(frozen=True, slots=True)
class ComparisonScore:
    """Result of comparing a probe with a reference.

    value: −10·log10(FMR); higher is more alike.
    extrapolated: the value lies beyond what the calibration data can show.
    paired: indices (probe, reference) of the paired minutiae, for an overlay; empty where the modality has none.
    """

    value: float
    extrapolated: bool = False
    paired: tuple[tuple[int, int], ...] = ()

    def decide(self, fmr: float) -> Decision:
        """MATCH where the value reaches the threshold named by `fmr`."""
        return Decision.MATCH if self.value >= threshold_at(fmr) else Decision.NON_MATCH


@dataclass(frozen=True, slots=True)
class Candidate:
    """One reference that a 1:N search returned, with its score."""

    reference_id: str
    score: ComparisonScore
