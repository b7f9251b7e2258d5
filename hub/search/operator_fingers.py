"""Whose enrolled fingers are these? 1:N among operators, so that nobody becomes two of them (M67)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from contract.comparison import Decision
from contract.errors import RemoteError
from edge.matcher_lite import FingerTemplate, compare

SAME_PERSON_FMR = 1e-5  # a person decides on what this finds, and some ten thousand comparisons stand behind a question
Fingers = Mapping[int, bytes]


def resembling(fingers: Fingers, others: Iterable[tuple[str, Fingers]]) -> list[str]:
    """Names of those of whom some finger is like one of these, whatever it was called. Values are 19794-2 records.

    Raises RemoteError where `fingers` cannot be read; a template of somebody else that cannot be read matches nobody.
    """
    probes = [FingerTemplate.from_iso(record) for record in fingers.values()]
    return [name for name, held in others if any(_is_like(probes, record) for record in held.values())]


def _is_like(probes: list[FingerTemplate], record: bytes) -> bool:
    try:
        reference = FingerTemplate.from_iso(record)
    except RemoteError:
        return False
    return any(compare(probe, reference).decide(SAME_PERSON_FMR) is Decision.MATCH for probe in probes)
