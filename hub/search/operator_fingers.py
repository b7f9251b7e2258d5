"""Whose enrolled fingers are these? 1:N among all operators of the country, so that nobody becomes two of them (M67).

They are few beside the residents, so every finger is compared with every finger, whatever either was called. What is
found goes to a person: thresholds tighten as operators grow in number, so that strangers are named in one question of
ten at most. Templates are kept in memory, ready to be compared, and follow the database.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cbor2
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from contract.comparison import threshold_at
from contract.errors import RemoteError
from contract.packet import OperatorBody
from edge.matcher_lite import FingerTemplate, compare
from hub.schema.operator_tables import PENDING, OperatorEnrolment
from hub.schema.tables import Operator
from hub.search.fusion import fuse
from hub.vault import Vault

SAME_FINGER_FMR = 1e-5  # a person decides on what this finds, and some ten thousand comparisons stand behind a question
STRANGERS_NAMED = 0.1  # in one question, at most
_MARK_BYTES = 13  # of what is locked: version and nonce, new with every write
Fingers = Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class _Known:
    """One person: mark tells whether the row is the same still."""

    name: str
    mark: bytes
    templates: tuple[FingerTemplate, ...]


class OperatorFingers:
    """Everybody who is, was or waits to become an operator. Thread-safe."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def follow(self, session: Session) -> int:
        """Take in what has changed in the database; how many persons are known now."""
        with self._lock:
            marks = dict(_marks(session))
            for gone in self._known.keys() - marks.keys():
                del self._known[gone]
            for key, mark in marks.items():
                if key not in self._known or self._known[key].mark != mark:
                    name, held = self._read(session, key)
                    self._known[key] = _Known(name, mark, tuple(_readable(held)))
            return len(self._known)

    def resembling(self, fingers: Fingers, name: str) -> list[str]:
        """Names of all whose fingers are like these, whatever they were called; of those who wait, others than `name`.

        fingers: ISO/IEC 19794-2 records; one that cannot be read raises RemoteError. A template of somebody else that
        cannot be read matches nobody.
        """
        probes = [FingerTemplate.from_iso(record) for record in fingers.values()]
        with self._lock:
            people = [known for key, known in self._known.items() if not (_waits(key) and known.name == name)]
        comparisons = len(probes) * sum(len(known.templates) for known in people)
        least = threshold_at(min(SAME_FINGER_FMR, STRANGERS_NAMED / 2 / max(1, comparisons)))
        return sorted({known.name for known in people if _likeness(probes, known.templates) >= least})

    def _read(self, session: Session, key: str) -> tuple[str, Fingers]:
        if _waits(key):
            found = session.get_one(OperatorEnrolment, key.removeprefix(f"{PENDING}/"))
            content = self._vault.unlock(found.content, "operator-enrolment", found.id)
            body = OperatorBody.model_validate(cbor2.loads(content), strict=False)
            return found.operator, body.templates
        operator = session.get_one(Operator, key)
        return key, cbor2.loads(self._vault.unlock(operator.templates, "operator-templates", operator.id))


def _waits(key: str) -> bool:
    return key.startswith(f"{PENDING}/")  # no operator's name has a stroke


def _marks(session: Session) -> Iterator[tuple[str, bytes]]:
    mark = func.substr(Operator.templates, 1, _MARK_BYTES)
    for key, found in session.execute(select(Operator.id, mark)):
        yield key, bytes(found)
    for waiting in session.scalars(select(OperatorEnrolment.id).where(OperatorEnrolment.state == PENDING)):
        yield f"{PENDING}/{waiting}", b""


def _readable(held: Fingers) -> Iterator[FingerTemplate]:
    for record in held.values():
        try:
            template = FingerTemplate.from_iso(record)
        except RemoteError:
            continue
        if template.usable:
            yield template


def _likeness(probes: Sequence[FingerTemplate], references: Sequence[FingerTemplate]) -> float:
    """How alike two persons are, -10·log10(FMR): their most alike finger, or two fingers of each that are fused."""
    values = {
        (row, column): compare(probe, reference).value
        for row, probe in enumerate(probes)
        for column, reference in enumerate(references)
    }
    if not values:
        return 0.0
    first = max(values, key=values.__getitem__)
    rest = [value for (row, column), value in values.items() if row != first[0] and column != first[1]]
    if not rest:
        return values[first]
    ways = len(values) * len(rest) / 2  # to choose two pairs
    return max(values[first], fuse([values[first], max(rest)]) - 10.0 * math.log10(ways))
