"""How updates stand, for the technician's tool and the fleet page: releases, rollouts by wave, units in one of them.

Reads only, in the caller's transaction, a page at a time.
"""

from __future__ import annotations

import json
from collections import Counter

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from contract.rollouts import (
    RELEASES_MAX,
    ReleaseRow,
    ReleasesResult,
    RolloutRow,
    RolloutsOrder,
    RolloutsResult,
    RolloutUnitRow,
    WaveRow,
)
from contract.technician import ROWS_MAX
from hub import presence
from hub.rollout import ENDED, NOT_BEGUN, RolloutState, UnitStep
from hub.schema.tables import Unit
from hub.schema.update_tables import Rollout, RolloutUnit, UnitUpdate
from hub.update_reports import report_of
from hub.update_repository import UpdateRepository

ROLLOUTS_SHOWN, DETAIL_CHARACTERS_MAX = 8, 120  # a page of rows has to fit into one reply
NEWEST = "newest"


def releases(session: Session, repository: UpdateRepository, alarm: str) -> ReleasesResult:
    """What may be rolled out."""
    targets = repository.targets(session)
    rows = tuple(
        ReleaseRow(
            target=row.target,
            artefact=row.custom.artefact,
            version=row.custom.version,
            number=row.custom.number,
            floor=row.custom.floor,
        )
        for row in repository.releases(session)[:RELEASES_MAX]
    )
    if targets is None:
        return ReleasesResult(rows=rows, targets_version=0, targets_until_ms=0, alarm=alarm)
    until_ms = int(targets.signed.expires.timestamp() * 1000)
    return ReleasesResult(rows=rows, targets_version=targets.signed.version, targets_until_ms=until_ms, alarm=alarm)


def rollouts(session: Session, asked: RolloutsOrder) -> RolloutsResult:
    """A page of rollouts, the newest first; or one with a page of its units."""
    query = select(Rollout).order_by(Rollout.made_ms.desc(), Rollout.id.desc())
    if asked.rollout:
        one = query.limit(1) if asked.rollout == NEWEST else query.where(Rollout.id == asked.rollout)
        found = session.scalars(one).first()
        if found is None:
            return RolloutsResult(rows=())
        units, more = _units(session, found, asked.page)
        return RolloutsResult(rows=(rollout_row(session, found),), units=units, more=more)
    page = session.scalars(query.offset(asked.page * ROLLOUTS_SHOWN).limit(ROLLOUTS_SHOWN + 1)).all()
    shown = tuple(rollout_row(session, row) for row in page[:ROLLOUTS_SHOWN])
    return RolloutsResult(rows=shown, more=len(page) > ROLLOUTS_SHOWN)


def rollout_row(session: Session, row: Rollout) -> RolloutRow:
    """One rollout with its waves."""
    counted = (
        select(RolloutUnit.wave, RolloutUnit.step, func.count())
        .where(RolloutUnit.rollout == row.id)
        .group_by(RolloutUnit.wave, RolloutUnit.step)
    )
    steps: dict[int, Counter[str]] = {}
    for wave, step, count in session.execute(counted):
        steps.setdefault(wave, Counter())[step] = count
    waves = tuple(
        WaveRow(
            what=what, begun=number <= row.wave, units=sum(steps.get(number, Counter()).values()),
            steps=dict(steps.get(number, Counter())),
        )
        for number, what in enumerate(json.loads(row.waves))
    )  # fmt: skip
    absent = _absent(session, row)
    waits = row.state == RolloutState.RUNNING and row.reached_ms is not None and row.wave + 1 < row.wave_count
    return RolloutRow(
        id=row.id,
        release=ReleaseRow(
            target=row.target, artefact=row.artefact, version=row.version, number=row.number, floor=0
        ),
        state=row.state,
        made_by=row.made_by,
        made_ms=row.made_ms,
        waves=waves,
        soak_s=row.soak_ms // 1000,
        good_percent=round(row.good_share * 100),
        stop_percent=round(row.stop_share * 100),
        why=row.why[:200],
        next_ms=(row.reached_ms or 0) + row.soak_ms if waits else 0,
        absent=len(absent),
        absent_since_ms=min(absent, default=0),
    )  # fmt: skip


def _absent(session: Session, row: Rollout) -> list[int]:
    """When each unit was heard last that a rollout waits for, or has left behind, and that is off the line."""
    if row.state in ENDED:
        return []
    query = select(Unit).join(RolloutUnit, RolloutUnit.unit == Unit.id).where(RolloutUnit.rollout == row.id)
    waiting = RolloutUnit.step.in_((*NOT_BEGUN, UnitStep.LEFT))
    found = session.scalars(query.where(waiting, RolloutUnit.wave <= row.wave))
    said = ((unit.seen_ms, presence.presence_of(unit)) for unit in found)
    return [seen_ms or row.made_ms for seen_ms, state in said if state is None or state.state != "online"]


def _units(session: Session, row: Rollout, page: int) -> tuple[tuple[RolloutUnitRow, ...], bool]:
    query = (
        select(RolloutUnit, Unit, UnitUpdate)
        .join(Unit, Unit.id == RolloutUnit.unit)
        .outerjoin(UnitUpdate, UnitUpdate.unit == RolloutUnit.unit)
        .where(RolloutUnit.rollout == row.id)
        .order_by(RolloutUnit.wave, RolloutUnit.unit)
    )
    found = session.execute(query.offset(page * ROWS_MAX).limit(ROWS_MAX + 1)).all()
    return tuple(_unit(link, unit, kept) for link, unit, kept in found[:ROWS_MAX]), len(found) > ROWS_MAX


def _unit(link: RolloutUnit, unit: Unit, kept: UnitUpdate | None) -> RolloutUnitRow:
    said = presence.presence_of(unit)
    report = report_of(kept) if kept is not None else None
    mine = report is not None and report.job == link.job and bool(link.job)
    return RolloutUnitRow(
        unit=unit.id,
        site=unit.site,
        wave=link.wave,
        step=link.step,
        since_ms=link.since_ms,
        present=said is not None and said.state == "online",
        version=report.running.version if report else "",
        bytes_done=report.bytes_done if report and mine else 0,
        bytes_all=report.bytes_all if report and mine else 0,
        problem=link.problem,
        detail=link.detail[:DETAIL_CHARACTERS_MAX],
    )
