"""Plans an update of many units: which belong to which wave, when the next one begins, and when everything stops.

Pure: the hub's desk reads the facts, asks here what follows, and writes it down. A wave is left behind only when enough
of its units run the release and have done so for the soak time; failures stop the whole by themselves; and whoever has
not begun to write can still be spared. Units that stay off the line hold a rollout open until somebody closes it: they
are left behind, free for another one, and get the release when they come back, under the same error stop.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class RolloutState(StrEnum):
    """How an update of many units stands."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    CLOSED = "closed"
    CANCELLED = "cancelled"
    DONE = "done"


OPEN_STATES = frozenset({RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.STOPPED})
ENDED = frozenset({RolloutState.CANCELLED, RolloutState.DONE})


class UnitStep(StrEnum):
    """How far one unit has come."""

    WAITING = "waiting"
    TOLD = "told"
    FETCHING = "fetching"
    WRITING = "writing"
    GOOD = "good"
    FAILED = "failed"
    SPARED = "spared"
    LEFT = "left"
    GONE = "gone"


NOT_BEGUN = frozenset({UnitStep.WAITING, UnitStep.TOLD, UnitStep.FETCHING})
SETTLED = frozenset({UnitStep.GOOD, UnitStep.FAILED, UnitStep.SPARED, UnitStep.GONE})
SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """soak_ms: how long a wave must have been good; good_share: of its units; stop_share: failures beyond it stop.

    overdue_ms: a unit that began to write and says nothing for so long has failed.
    """

    soak_ms: int
    good_share: float
    stop_share: float
    overdue_ms: int


@dataclass(frozen=True, slots=True)
class Member:
    """One unit of a rollout. present: it is on the line; served: it is at work, neither suspended nor barred."""

    unit: str
    wave: int
    step: UnitStep
    since_ms: int
    present: bool
    served: bool


@dataclass(frozen=True, slots=True)
class Course:
    """Where a rollout stands. wave: the newest that was begun, from 0; reached_ms: since when its units are good.

    forgiven: failures that somebody has seen and gone on from.
    """

    state: RolloutState
    wave: int
    waves: int
    reached_ms: int | None
    forgiven: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows. tell: units that get the job now; withdraw: whose job is taken back; why: of a stop."""

    course: Course
    tell: tuple[str, ...] = ()
    withdraw: tuple[str, ...] = ()
    why: str = ""


def assign_waves(units: Mapping[str, str], waves: Sequence[int | Collection[str]], rollout: str) -> dict[str, int]:
    """Which wave each unit belongs to; who is in none is left out. units: name → site.

    A wave is a percentage of all units, counted from the first wave on, or names of units and sites. Percentages are
    drawn by lot, another one each rollout, so that the same office is not always the first.
    """
    drawn = sorted(units, key=lambda unit: hashlib.sha256(f"{rollout}/{unit}".encode()).digest())
    found: dict[str, int] = {}
    for number, wave in enumerate(waves):
        if isinstance(wave, int):
            wanted = math.ceil(len(units) * wave / 100)
            chosen = [unit for unit in drawn if unit not in found][: max(0, wanted - len(found))]
        else:
            chosen = [unit for unit in drawn if unit not in found and {unit, units[unit]} & set(wave)]
        found |= dict.fromkeys(chosen, number)
    return found


def decide(course: Course, members: Iterable[Member], limits: Limits, now_ms: int) -> Decision:
    """What follows from how the units are."""
    members = tuple(members)
    if course.state in ENDED:
        return Decision(course, withdraw=_told(members))
    begun = [member for member in members if member.wave <= course.wave and not _is_absent(member)]
    failures = count_failures(members, limits, now_ms)
    going_on = course.state in (RolloutState.RUNNING, RolloutState.CLOSED)
    if going_on and failures - course.forgiven > limits.stop_share * len(begun):
        why = f"{failures} of {len(begun)} units failed"
        return Decision(replace(course, state=RolloutState.STOPPED), withdraw=_told(members), why=why)
    if not going_on:
        return Decision(course, withdraw=_told(members))
    if all(member.step in SETTLED for member in members):
        return Decision(replace(course, state=RolloutState.DONE))
    if course.state is RolloutState.CLOSED:
        back = (m.unit for m in members if m.step is UnitStep.LEFT and m.present and m.served)
        return Decision(course, tell=tuple(back))
    course = _go_on(course, members, begun, limits, now_ms)
    return Decision(
        course,
        tell=tuple(m.unit for m in members if m.wave <= course.wave and m.step is UnitStep.WAITING and m.served),
        withdraw=tuple(m.unit for m in members if not m.served and m.step in (UnitStep.TOLD, UnitStep.FETCHING)),
    )


def keeps_open(course: Course, members: Iterable[Member], limits: Limits, now_ms: int) -> str:
    """Why a rollout cannot be closed yet; empty where it waits for nobody but units that are off the line."""
    if course.state is not RolloutState.RUNNING or course.wave + 1 < course.waves:
        return "its last wave has not begun" if course.wave + 1 < course.waves else f"it is {course.state}"
    at_work = [
        member.unit for member in members
        if member.step not in SETTLED and not _is_absent(member) and not is_overdue(member, limits, now_ms)
    ]  # fmt: skip
    shown = ", ".join(at_work[:SHOWN_MAX]) + (", …" if len(at_work) > SHOWN_MAX else "")
    return f"{len(at_work)} units are at it: {shown}" if at_work else ""


def count_failures(members: Iterable[Member], limits: Limits, now_ms: int) -> int:
    """Units that said they failed, and those that began to write and were not heard of again."""
    return sum(member.step is UnitStep.FAILED or is_overdue(member, limits, now_ms) for member in members)


def is_overdue(member: Member, limits: Limits, now_ms: int) -> bool:
    """Whether a unit has been silent for too long since it began to write."""
    return member.step is UnitStep.WRITING and now_ms - member.since_ms > limits.overdue_ms


def _go_on(course: Course, members: Sequence[Member], begun: Sequence[Member], limits: Limits, now_ms: int) -> Course:
    """The course with the next wave, where this one has been good for long enough, or nobody is left in it."""
    good = sum(member.step is UnitStep.GOOD for member in begun)
    judged = len(begun) - course.forgiven
    waiting = any(member.wave <= course.wave and member.step not in SETTLED for member in members)
    reached = good >= limits.good_share * judged if good else judged <= 0 and not waiting
    if not reached:
        return replace(course, reached_ms=None)
    reached_ms = now_ms if course.reached_ms is None else course.reached_ms
    if course.wave + 1 < course.waves and now_ms - reached_ms >= limits.soak_ms:
        return replace(course, wave=course.wave + 1, reached_ms=None)
    return replace(course, reached_ms=reached_ms)


def _is_absent(member: Member) -> bool:
    """Whether a unit counts for nothing yet, since it could not have begun, or does not any more."""
    out = member.step in NOT_BEGUN and not (member.present and member.served)
    return out or member.step in (UnitStep.GONE, UnitStep.SPARED, UnitStep.LEFT)


def _told(members: Iterable[Member]) -> tuple[str, ...]:
    return tuple(member.unit for member in members if member.step in (UnitStep.TOLD, UnitStep.FETCHING))
