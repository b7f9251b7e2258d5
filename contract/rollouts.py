"""What a technician orders of updates, and what the hub answers: a release on its way to units, in waves.

A wave is a percentage of the units, counted from the first wave on, or names of units and sites. The hub opens the next
one by itself, and stops by itself; a technician may pause, go on, close what waits for units off the line alone, or
spare whoever has not begun to write.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from contract.packet import Millis, Model, Name, Text, UuidText
from contract.technician import ROWS_MAX

WAVES_MAX = 20
NAMES_MAX = 500
RELEASES_MAX = 100
Percent = Annotated[int, Field(ge=0, le=100)]
Names = Annotated[tuple[Name, ...], Field(max_length=NAMES_MAX)]
Count = Annotated[int, Field(ge=0, le=10_000_000)]


class Wave(Model):
    """One wave: either a percentage, or names of units and sites."""

    percent: Percent = 0
    names: Names = ()

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if bool(self.percent) == bool(self.names):
            raise ValueError("a wave is a percentage or names")
        return self

    @property
    def what(self) -> str:
        """The wave in words."""
        return f"{self.percent} %" if self.percent else "+".join(self.names)[:100]


class UpdateOrder(Model):
    """Bring a release to units. release: a target's name, or the version of an edge release.

    units, sites: only these; all that the technician looks after where both are empty. soak_s: how long a wave must
    have been good before the next begins; good_percent: of its units; stop_percent: failures beyond it stop everything;
    overdue_s: silence after which a unit that had begun to write has failed.
    """

    release: Annotated[str, Field(min_length=1, max_length=200)]
    units: Names = ()
    sites: Names = ()
    waves: Annotated[tuple[Wave, ...], Field(min_length=1, max_length=WAVES_MAX)]
    soak_s: Annotated[int, Field(ge=0, le=30 * 86_400)]
    good_percent: Annotated[int, Field(ge=1, le=100)]
    stop_percent: Percent
    overdue_s: Annotated[int, Field(ge=60, le=7 * 86_400)]


class RolloutAction(StrEnum):
    """What a technician may do with a rollout that has not ended."""

    PAUSE = "pause"
    RESUME = "resume"
    CLOSE = "close"
    CANCEL = "cancel"


class RolloutOrder(Model):
    """Pause, resume, close or cancel. rollout: its id."""

    rollout: UuidText
    action: RolloutAction
    reason: Text = ""


class RolloutsOrder(Model):
    """How rollouts are. rollout: one with its units, by its id or 'newest'; empty: a page of all, the newest first."""

    rollout: Annotated[str, Field(max_length=64)] = ""
    page: Annotated[int, Field(ge=0, le=10_000)] = 0


class ReleaseRow(Model):
    """A release that may be rolled out."""

    target: Text
    artefact: Text
    version: Text
    number: Annotated[int, Field(ge=0, le=2**32)]
    floor: Annotated[int, Field(ge=0, le=2**32)]


class ReleasesOrder(Model):
    """Which releases the hub holds."""


class ReleasesResult(Model):
    """What the hub holds, the newest of each artefact first. alarm: what keeps units from updating, or nothing."""

    rows: Annotated[tuple[ReleaseRow, ...], Field(max_length=RELEASES_MAX)]
    targets_version: Annotated[int, Field(ge=0, le=2**53)]
    targets_until_ms: Millis
    alarm: Text = ""


class WaveRow(Model):
    """One wave with its units by step. what: as it was ordered; begun: whether its units may be told."""

    what: Text
    begun: bool
    units: Count
    steps: Annotated[dict[Text, Count], Field(max_length=20)]


class RolloutUnitRow(Model):
    """One unit in a rollout. step: how far it has come; present: it is on the line; problem: of the unit's report.

    bytes_done, bytes_all: of what it fetches.
    """

    unit: Name
    site: Text
    wave: Annotated[int, Field(ge=0, le=WAVES_MAX)]
    step: Text
    since_ms: Millis
    present: bool
    version: Text = ""
    bytes_done: Annotated[int, Field(ge=0, le=2**40)] = 0
    bytes_all: Annotated[int, Field(ge=0, le=2**40)] = 0
    problem: Text = ""
    detail: Annotated[str, Field(max_length=300)] = ""


class RolloutRow(Model):
    """A rollout. why: of its last stop, pause or end; next_ms: when the next wave may begin, or 0.

    absent: units that it waits for, or has left behind, while they are off the line; absent_since_ms: when the first of
    them was heard last.
    """

    id: UuidText
    release: ReleaseRow
    state: Text
    made_by: Text
    made_ms: Millis
    waves: Annotated[tuple[WaveRow, ...], Field(max_length=WAVES_MAX)]
    soak_s: Count
    good_percent: Percent
    stop_percent: Percent
    why: Text = ""
    next_ms: Annotated[int, Field(ge=0, le=2**53)] = 0
    absent: Count = 0
    absent_since_ms: Millis = 0


class RolloutsResult(Model):
    """A page of rollouts; with the units of one, where one was asked for."""

    rows: Annotated[tuple[RolloutRow, ...], Field(max_length=ROWS_MAX)]
    units: Annotated[tuple[RolloutUnitRow, ...], Field(max_length=ROWS_MAX)] = ()
    more: bool = False


class UpdateResult(Model):
    """A rollout that was begun. left_out: units of those asked for that are in no wave; ahead: that run it already."""

    rollout: RolloutRow
    left_out: Count = 0
    ahead: Count = 0
