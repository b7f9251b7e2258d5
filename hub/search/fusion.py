"""Fingers and irises of two persons as one score with the same meaning as each alone: −10·log10(FMR).

Each score is a p-value in disguise (contract.comparison), and what a non-mated pair scores in one finger says nothing
about the next. So Fisher's method applies: −Σ ln p of n samples is Gamma(n, 1) distributed for non-mated pairs, and the
upper tail of that distribution is the false match rate of the fused threshold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contract.sample import Modality

SampleKey = tuple[Modality, int]
_LN_PER_VALUE = math.log(10.0) / 10.0


@dataclass(frozen=True, slots=True)
class PersonMatch:
    """How alike a probe's person and one capture's person are. single: {(modality, position): value}; value: fused."""

    capture_id: str
    value: float
    single: Mapping[SampleKey, float]

    def best(self, modality: Modality) -> float:
        """The highest single value of a modality, 0 with none."""
        return max((value for (kind, _), value in self.single.items() if kind is modality), default=0.0)

    @property
    def labelled(self) -> dict[str, float]:
        """The single values by readable names, for a case's detail."""
        return {f"{kind} {position}": round(value, 1) for (kind, position), value in sorted(self.single.items())}


def fuse(values: Sequence[float]) -> float:
    """The fused value of independent values, each −10·log10(p). 0 for none."""
    if not values:
        return 0.0
    total = sum(max(0.0, value) for value in values) * _LN_PER_VALUE
    if total <= 0.0:
        return 0.0
    # ln of the upper tail of Gamma(n, 1): e^-x · Σ x^k / k!, k < n, summed in logarithms so that nothing underflows.
    terms = [k * math.log(total) - math.lgamma(k + 1) for k in range(len(values))]
    top = max(terms)
    log_tail = -total + top + math.log(sum(math.exp(term - top) for term in terms))
    return max(0.0, -log_tail / _LN_PER_VALUE)


def best_of(values: Sequence[float]) -> float:
    """The best of several comparisons of the same finger, made dearer by how many chances it had (Bonferroni)."""
    if not values:
        return 0.0
    return max(0.0, max(values) - 10.0 * math.log10(len(values)))
