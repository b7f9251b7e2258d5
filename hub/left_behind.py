"""Units that an update has left behind, since they were off the line when it was closed: who they are, what they get.

They are free for another update. When they come back they get the release of the closed one, under its error stop, as
long as that is still signed and nothing else has been ordered for them; each refuses by itself what is below its floor.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from contract import topics
from hub import outbox
from hub.rollout import NOT_BEGUN, RolloutState, UnitStep
from hub.schema.update_tables import Rollout, RolloutUnit
from hub.update_reports import reports, runs
from hub.update_repository import ReleaseTarget

UNDER_WAY = (UnitStep.TOLD, UnitStep.FETCHING, UnitStep.WRITING)


def clear_job(session: Session, unit: str, now_ms: int) -> bool:
    """Take away what the broker holds for a unit; False where another update has told it something meanwhile."""
    told = select(RolloutUnit.rollout).where(RolloutUnit.unit == unit, RolloutUnit.open)
    if session.scalars(told.where(RolloutUnit.step.in_(UNDER_WAY))).first() is not None:
        return False
    outbox.post(session, topics.DN_UPDATE, b"", now_ms, unit=unit)
    return True


def withdraw(session: Session, link: RolloutUnit, now_ms: int, *, left: bool = False) -> None:
    """Take a unit's job back; who has not begun waits again, or is left behind."""
    outbox.post(session, topics.DN_UPDATE, b"", now_ms, unit=link.unit)
    if link.step in NOT_BEGUN:
        link.step, link.since_ms = UnitStep.LEFT if left else UnitStep.WAITING, now_ms
        link.open = not left


def leave_behind(session: Session, row: Rollout, now_ms: int) -> None:
    """Everybody is free for another update; who has not begun gets this one when they come back."""
    for link in session.scalars(select(RolloutUnit).where(RolloutUnit.rollout == row.id)).all():
        if link.step in NOT_BEGUN:
            withdraw(session, link, now_ms, left=True)
        link.open = False
    session.flush()


def may_follow(
    session: Session, row: Rollout, link: RolloutUnit, offered: Iterable[ReleaseTarget], now_ms: int
) -> bool:
    """Whether a unit that is back gets the release now: it is signed still, and the unit in no other update.

    Whoever runs it by now, or a later one, is through.
    """
    release, found = ReleaseTarget.of(row), reports(session, [link.unit]).get(link.unit)
    if found is not None and runs(found.running, release):
        link.step, link.since_ms = UnitStep.GOOD, now_ms
        return False
    busy = select(RolloutUnit.rollout).where(RolloutUnit.unit == link.unit, RolloutUnit.open)
    is_offered = any((one.target, one.custom.number) == (row.target, row.number) for one in offered)
    return is_offered and session.scalars(busy).first() is None


def supersede(session: Session, units: Iterable[str], release: ReleaseTarget, now_ms: int) -> None:
    """Who was left behind, and is in a new update of the same artefact, waits for the old release no more."""
    late = and_(Rollout.state == RolloutState.CLOSED, RolloutUnit.step.in_(NOT_BEGUN))
    query = (
        select(RolloutUnit)
        .join(Rollout, Rollout.id == RolloutUnit.rollout)
        .where(RolloutUnit.unit.in_(list(units)), Rollout.artefact == release.custom.artefact)
    )
    for link in session.scalars(query.where(or_(RolloutUnit.step == UnitStep.LEFT, late))).all():
        withdraw(session, link, now_ms, left=True)
        link.step = UnitStep.SPARED
    session.flush()
