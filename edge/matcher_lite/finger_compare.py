"""Compares two templates: a score whose value names the false match rate, and the minutiae that met."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contract.comparison import ComparisonScore
from contract.errors import RemoteError
from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_calibration import shipped_calibration
from edge.matcher_lite.finger_compare_kernel import raw_score
from edge.matcher_lite.finger_template import ISO_EXTRACTOR, FingerTemplate


def compare(probe: FingerTemplate, reference: FingerTemplate, *, explain: bool = False) -> ComparisonScore:
    """How alike two templates are: value −10·log10(FMR), 0 where either shows no usable finger.

    explain: also return the paired minutiae (probe index, reference index). RemoteError where the templates were made
    by different extractors or versions, unless one came from an ISO record.
    """
    check_makers(probe, reference)
    raw, met = raw_similarity(probe, reference)
    value, extrapolated = shipped_calibration().meaning(raw)
    paired = tuple((int(i), int(j)) for i, j in met.T) if explain else ()
    return ComparisonScore(value, extrapolated, paired)


def raw_similarity(probe: FingerTemplate, reference: FingerTemplate) -> tuple[float, NDArray[np.int32]]:
    """The comparator's own score, 0 and up, before calibration, and the minutiae that met, (2, n).

    The kernel breaks ties by order, so the two go in by an order of their own: swapping the arguments changes nothing.
    A fragment's few minutiae are more easily alike than a whole print's: by their number the score is made smaller, so
    that a named rate holds for fragments too.
    """
    swapped = _comes_after(probe, reference)
    first, second = (reference, probe) if swapped else (probe, reference)
    met = np.empty((2, first.geometry.shape[1]), np.int32)
    raw, count = raw_score(first.geometry, first.codes, second.geometry, second.codes, met)
    raw *= min(1.0, met.shape[1] / p.SCARCE_MINUTIAE)
    return raw, met[::-1, :count] if swapped else met[:, :count]


def _comes_after(probe: FingerTemplate, reference: FingerTemplate) -> bool:
    """Whether the probe has more minutiae; among equals any difference will do."""
    here, there = probe.geometry.shape[1], reference.geometry.shape[1]
    if here != there or here == 0:
        return bool(here > there)
    mine: bytes = probe.codes.tobytes()
    theirs: bytes = reference.codes.tobytes()
    return mine > theirs


def check_makers(probe: FingerTemplate, reference: FingerTemplate) -> None:
    """RemoteError where the two templates' codes do not compare."""
    if (probe.extractor, probe.version) == (reference.extractor, reference.version):
        return
    if ISO_EXTRACTOR in {probe.extractor, reference.extractor}:
        return
    raise RemoteError(
        f"Templates of {probe.extractor} {probe.version} and {reference.extractor} {reference.version} do not compare.",
        next_step="Extract both again from their images.",
    )
