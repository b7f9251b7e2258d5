"""Brings releases to units in waves: takes a technician's order, tells units, hears what became of it, and goes on.

What follows from how the units are is decided in hub.rollout; here it is read from the tables and written to them. A
unit is told by a retained message of its own, which is cleared as soon as it counts no more: so a unit that was off
gets its job when it comes back, and one that is spared, suspended or gone does not.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterable

import structlog
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from contract import topics
from contract.dispatch import decode
from contract.errors import RemoteError, TransientError
from contract.lifecycle import UnitState
from contract.rollouts import RolloutAction, RolloutOrder, UpdateOrder, Wave
from contract.update_problems import UpdateProblem
from contract.updates import MESSAGE_BYTES_MAX, Artefact, UpdateJob, UpdateReport
from contract.updates import UpdateState as Said
from hub import certificates, dispatches, history, left_behind, presence, rollout
from hub import technician_rights as rights
from hub.context import HubContext
from hub.fleet_watch import AT_WORK
from hub.rollout import ENDED, NOT_BEGUN, OPEN_STATES, SETTLED, Course, Limits, Member, RolloutState, UnitStep
from hub.schema.commissioning_tables import Commissioning, UnitHistory
from hub.schema.tables import Operator, Unit
from hub.schema.update_tables import Rollout, RolloutUnit, UnitUpdate
from hub.update_reports import reports, runs
from hub.update_repository import ReleaseTarget, UpdateRepository

REASON_CHARACTERS_MIN = 5
LATE_INTERVAL_MS = 30_000  # how often it is looked who of those left behind is back
TOLD_AT_ONCE_MAX = 100  # a message is sealed for each; the rest follows when the hub looks again
NEVER = frozenset({UnitState.FACTORY, UnitState.CLAIMED, UnitState.RETIRED})
STEP_OF = {
    Said.RECEIVED: UnitStep.TOLD,
    Said.DOWNLOADING: UnitStep.FETCHING,
    Said.READY: UnitStep.FETCHING,
    Said.INSTALLING: UnitStep.WRITING,
    Said.TRIAL: UnitStep.WRITING,
    Said.GOOD: UnitStep.GOOD,
    Said.RETURNED: UnitStep.FAILED,
    Said.REFUSED: UnitStep.FAILED,
    Said.CANCELLED: UnitStep.WAITING,
}
log = structlog.get_logger("updates")


class UpdateDesk:
    """Rollouts. Methods that take a session run in the caller's transaction."""

    def __init__(self, context: HubContext, repository: UpdateRepository) -> None:
        self._context = context
        self._repository = repository
        self._late_ms = 0

    def begin(self, session: Session, who: Operator, order: UpdateOrder) -> tuple[Rollout, int, int]:
        """Begin a rollout; with it, how many units are in no wave, and how many run the release already.

        Raises RemoteError for a release or unit that is not there, or is under way already; Refusal without the right.
        """
        release = self._release(session, order.release)
        units = self._chosen(session, who, order)
        _check_names(order.waves, units)
        self._check_free(session, units)
        row = self._new_rollout(who, order, release)
        waves = rollout.assign_waves(
            {unit.id: unit.site for unit in units}, [wave.percent or wave.names for wave in order.waves], row.id
        )
        reported = reports(session, waves)
        ahead = {name for name in waves if name in reported and runs(reported[name].running, release)}
        if set(waves) == ahead:
            raise RemoteError(
                "All of these units run this release, or a later one." if waves else "There is no such unit.",
                next_step="'rekam-provision status' shows what units run.",
            )
        left_behind.supersede(session, waves, release, self._now())
        session.add(row)
        session.flush()
        now = self._now()
        for name, wave in waves.items():
            step = UnitStep.GOOD if name in ahead else UnitStep.WAITING
            session.add(RolloutUnit(rollout=row.id, unit=name, wave=wave, step=step, since_ms=now))
        session.flush()
        log.warning("rollout begun", rollout=row.id, release=release.target, units=len(waves), actor=who.id)
        self._advance(session, row)
        return row, len(units) - len(waves), len(ahead)

    def steer(self, session: Session, who: Operator, order: RolloutOrder) -> Rollout:
        """Pause, resume, close or cancel. Raises RemoteError where that cannot be, Refusal without the right."""
        row = session.get(Rollout, order.rollout, with_for_update=True)
        if row is None:
            raise RemoteError("There is no such update.", next_step="'rekam-provision update --status' lists them.")
        sites = select(Unit.site).join(RolloutUnit, RolloutUnit.unit == Unit.id).where(RolloutUnit.rollout == row.id)
        for site in set(session.scalars(sites)):
            rights.site_of(session, who, site)
        if row.state in ENDED or (row.state == RolloutState.CLOSED and order.action is not RolloutAction.CANCEL):
            raise RemoteError(f"This update is {row.state}.", next_step="Order a new one.")
        if len(order.reason.strip()) < REASON_CHARACTERS_MIN:
            raise RemoteError(
                "Steering an update needs a reason of a few words.", next_step="Add --reason with a sentence."
            )
        members = self._members(session, row)
        if order.action is RolloutAction.RESUME and row.state == RolloutState.STOPPED:
            row.forgiven = rollout.count_failures(members, _limits(row), self._now())
        if order.action is RolloutAction.CLOSE:
            self._leave_behind(session, row, members)
        was_closed = any(member.step is UnitStep.LEFT for member in members)
        row.state = {
            RolloutAction.PAUSE: RolloutState.PAUSED,
            RolloutAction.RESUME: RolloutState.CLOSED if was_closed else RolloutState.RUNNING,
            RolloutAction.CLOSE: RolloutState.CLOSED,
            RolloutAction.CANCEL: RolloutState.CANCELLED,
        }[order.action]
        row.why, row.changed_ms = f"{who.id}: {order.reason.strip()}"[:200], self._now()
        log.warning("rollout steered", rollout=row.id, action=order.action, actor=who.id, reason=order.reason.strip())
        self._advance(session, row)
        return row

    def on_report(self, unit_id: str, payload: bytes) -> None:
        """What a unit says of its software. Raises RemoteError."""
        report = decode(UpdateReport, payload, MESSAGE_BYTES_MAX)
        with self._context.database.transaction() as session:
            if session.get(Unit, unit_id, with_for_update=True) is None:
                raise RemoteError(f"No unit is called '{unit_id}'.", next_step="Correct the fleet file.")
            kept = UnitUpdate(unit=unit_id, report=report.model_dump_json(), heard_ms=self._now())
            session.merge(kept)
            query = select(RolloutUnit).where(RolloutUnit.unit == unit_id)
            is_meant = RolloutUnit.open | (RolloutUnit.job == report.job) | (RolloutUnit.step == UnitStep.LEFT)
            for row in session.scalars(query.where(is_meant)).all():
                self._hear(session, row, report)
            self._recall(session, unit_id, report)

    def alarm(self, session: Session) -> str:
        """Which update has stopped by itself and waits for somebody, or nothing."""
        query = select(Rollout).where(Rollout.state == RolloutState.STOPPED).order_by(Rollout.made_ms.desc()).limit(1)
        row = session.scalars(query).first()
        return f"The update to {row.version[:60]} has stopped: {row.why[:60]}." if row is not None else ""

    def advance(self) -> None:
        """Go on with every open rollout, as far as what the units said allows."""
        states = set(OPEN_STATES)
        if self._now() - self._late_ms >= LATE_INTERVAL_MS:
            self._late_ms = self._now()
            states.add(RolloutState.CLOSED)
        with self._context.database.reading() as session:
            names = session.scalars(select(Rollout.id).where(Rollout.state.in_(states))).all()
        failed: SQLAlchemyError | TransientError | None = None
        for name in names:
            try:
                with self._context.database.transaction() as session:
                    self._advance(session, session.get_one(Rollout, name, with_for_update=True))
            except (SQLAlchemyError, TransientError) as error:
                failed = error  # the database's fault, which passes: the others are looked at, and then it waits
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one keeps no other from going on
                self._stop(name, error)
        if failed is not None:
            raise failed

    def _stop(self, name: str, error: Exception) -> None:
        """Stop a rollout that the hub itself cannot go on with, so that somebody sees it; said once."""
        why = f"the hub cannot go on with it ({type(error).__name__})"
        with self._context.database.transaction() as session:
            row = session.get_one(Rollout, name, with_for_update=True)
            if row.why == why:
                return
            row.state, row.why, row.changed_ms = RolloutState.STOPPED, why, self._now()
            last = traceback.extract_tb(error.__traceback__)[-1]
            log.error("rollout cannot go on", rollout=name, error=type(error).__name__, at=f"{last.name}:{last.lineno}")
            log.critical("alarm", message=f"The update to {row.version} has stopped: {why}.", rollout=name)

    def _advance(self, session: Session, row: Rollout) -> None:
        """Take in who went and who came, decide, and do what follows."""
        self._account_for_replaced(session, row)
        before = RolloutState(row.state)
        course = Course(before, row.wave, row.wave_count, row.reached_ms, row.forgiven)
        decision = rollout.decide(course, self._members(session, row), _limits(row), self._now())
        for unit in decision.withdraw:
            link = session.get_one(RolloutUnit, (row.id, unit))
            left_behind.withdraw(session, link, self._now(), left=before is RolloutState.CLOSED)
        for unit in decision.tell[:TOLD_AT_ONCE_MAX]:
            link = session.get_one(RolloutUnit, (row.id, unit))
            if link.step != UnitStep.LEFT or left_behind.may_follow(
                session, row, link, self._repository.releases(session), self._now()
            ):
                self._tell(session, row, link)
        after = decision.course
        if (after.state, after.wave) != (before, row.wave):
            row.changed_ms = self._now()
            log.warning("rollout goes on", rollout=row.id, state=after.state, wave=after.wave + 1, why=decision.why)
        if after.state is RolloutState.STOPPED and before is not RolloutState.STOPPED:
            row.why = decision.why
            log.critical("alarm", message=f"The update to {row.version} has stopped: {decision.why}.", rollout=row.id)
        row.state, row.wave, row.reached_ms = after.state, after.wave, after.reached_ms
        session.flush()
        if after.state in ENDED:
            self._end(session, row)

    def _end(self, session: Session, row: Rollout) -> None:
        """The rollout has ended: who has not begun is spared, and every unit is free for another."""
        mine = RolloutUnit.rollout == row.id
        spared = {"step": UnitStep.SPARED, "since_ms": self._now()}
        not_begun = RolloutUnit.step.in_((*NOT_BEGUN, UnitStep.LEFT))
        session.execute(update(RolloutUnit).where(mine, not_begun).values(**spared))
        session.execute(update(RolloutUnit).where(mine).values(open=False))

    def _account_for_replaced(self, session: Session, row: Rollout) -> None:
        """A unit that was retired is gone; the one that took its place takes its place here too."""
        now = self._now()
        query = select(RolloutUnit).join(Unit, Unit.id == RolloutUnit.unit).where(RolloutUnit.rollout == row.id)
        rows = session.scalars(query.where(Unit.state == UnitState.RETIRED)).all()
        for gone in rows:
            if gone.step not in SETTLED:
                left_behind.withdraw(session, gone, self._now())
                gone.step, gone.since_ms = UnitStep.GONE, now
        waves = {gone.unit: gone.wave for gone in rows}
        successors = select(Commissioning.unit, Commissioning.replaces).where(Commissioning.replaces.in_(waves))
        for unit, replaced in session.execute(successors).all():
            busy = select(RolloutUnit.unit).where(
                RolloutUnit.unit == unit, RolloutUnit.open | (RolloutUnit.rollout == row.id)
            )
            found = session.get(Unit, unit) if unit else None
            if found is not None and found.state in AT_WORK and session.scalars(busy).first() is None:
                closed = row.state == RolloutState.CLOSED
                step = UnitStep.LEFT if closed else UnitStep.WAITING
                session.add(RolloutUnit(
                    rollout=row.id, unit=unit, wave=waves[replaced], step=step, since_ms=now, open=not closed
                ))  # fmt: skip
        session.flush()

    def _members(self, session: Session, row: Rollout) -> list[Member]:
        shut_out = certificates.shut_out(session)
        query = select(RolloutUnit, Unit).join(Unit, Unit.id == RolloutUnit.unit).where(RolloutUnit.rollout == row.id)
        members = []
        for link, unit in session.execute(query.order_by(RolloutUnit.unit)):
            said = presence.presence_of(unit)
            members.append(
                Member(
                    unit=unit.id,
                    wave=link.wave,
                    step=UnitStep(link.step),
                    since_ms=link.since_ms,
                    present=said is not None and said.state == "online",
                    served=unit.state in AT_WORK and unit.id not in shut_out,
                )
            )
        return members

    def _leave_behind(self, session: Session, row: Rollout, members: Iterable[Member]) -> None:
        """Everybody is free for another update; who has not begun gets this one when they come back."""
        course = Course(RolloutState(row.state), row.wave, row.wave_count, row.reached_ms, row.forgiven)
        if why := rollout.keeps_open(course, members, _limits(row), self._now()):
            raise RemoteError(f"This update cannot be closed: {why}.", next_step="Wait for them, or --cancel it.")
        left_behind.leave_behind(session, row, self._now())

    def _tell(self, session: Session, row: Rollout, link: RolloutUnit) -> None:
        link.open = True
        link.job, link.step, link.since_ms = self._context.new_id(), UnitStep.TOLD, self._now()
        job = UpdateJob(
            job=link.job,
            unit=link.unit,
            artefact=Artefact(row.artefact),  # type: ignore[arg-type]  # a wheel is never rolled out
            target=row.target,
            number=row.number,
            version=row.version,
            wave=f"{link.wave + 1}",
            issued_ms=self._now(),
        )
        dispatches.post_to_unit(session, self._context, topics.DN_UPDATE, job, link.unit)

    def _recall(self, session: Session, unit: str, report: UpdateReport) -> None:
        """A unit works on a job that stands no more: it was off when that was taken back, or the hub lost a day.

        The broker tells nobody who comes later that a retained message is gone.
        """
        if report.state is None or STEP_OF[report.state] not in (UnitStep.TOLD, UnitStep.FETCHING):
            return
        if left_behind.clear_job(session, unit, self._now()):
            log.info("job taken back again", unit=unit, job=report.job)

    def _hear(self, session: Session, link: RolloutUnit, report: UpdateReport) -> None:
        """What a unit said, about its part in one rollout."""
        row = session.get_one(Rollout, link.rollout)
        step = UnitStep(link.step)
        mine = bool(report.job) and report.job == link.job
        if mine and report.state is not None:
            said = STEP_OF[report.state]
        elif (link.open or step is UnitStep.LEFT) and runs(report.running, ReleaseTarget.of(row)):
            said = UnitStep.GOOD
        else:
            return
        if step in (UnitStep.SPARED, UnitStep.LEFT) and said in NOT_BEGUN:
            return
        if step in (UnitStep.FAILED, UnitStep.GONE) or (step is UnitStep.GOOD and said is not UnitStep.FAILED):
            return  # it is over for this job; a history must not grow by what one unit says again and again
        link.problem, link.detail = (report.problem or "", report.detail) if mine else ("", "")
        if said is not step or said is UnitStep.WRITING:
            link.since_ms = self._now()
        link.step = said
        if said is not step and said in (UnitStep.GOOD, UnitStep.FAILED):
            self._settle(session, row, link)

    def _settle(self, session: Session, row: Rollout, link: RolloutUnit) -> None:
        """It is over for this unit: its job is cleared, and its history knows."""
        left_behind.clear_job(session, link.unit, self._now())
        link.open = link.open and row.state != RolloutState.CLOSED
        unit = session.get_one(Unit, link.unit)
        note: history.Note = {"release": row.target, "rollout": row.id, "problem": link.problem}
        event = "updated" if link.step == UnitStep.GOOD else "update failed"
        if link.problem == UpdateProblem.CAME_BACK:
            event = "came back: crash loop"
        history.append(
            session, UnitHistory, subject=unit.id, event=event, from_state=unit.state, to_state=unit.state,
            at_ms=self._now(), actor=unit.id, note=note,
        )  # fmt: skip

    def _release(self, session: Session, name: str) -> ReleaseTarget:
        """A release by its target's name, or an edge's by its version. Raises RemoteError."""
        for found in self._repository.releases(session):
            if name == found.target or (name == found.custom.version and found.custom.artefact is Artefact.EDGE):
                return found
        raise RemoteError(
            f"The hub has no release '{name[:80]}'.", next_step="'rekam-provision update --list' shows what it has."
        )

    def _chosen(self, session: Session, who: Operator, order: UpdateOrder) -> list[Unit]:
        """The units that are meant, each within the technician's rights."""
        if not order.units and not order.sites:
            query = select(Unit).where(Unit.state.not_in(NEVER)).order_by(Unit.id)
            return [unit for unit in session.scalars(query) if rights.works_at(who, unit.site)]
        named = {name: rights.unit_of(session, who, name) for name in order.units}
        for unit in named.values():
            if unit.state in NEVER:
                raise RemoteError(f"{unit.id} is {unit.state}.", next_step="Leave it out.")
        for code in order.sites:
            rights.site_of(session, who, code)
            query = select(Unit).where(Unit.site == code, Unit.state.not_in(NEVER))
            named |= {unit.id: unit for unit in session.scalars(query)}
        return [named[name] for name in sorted(named)]

    def _check_free(self, session: Session, units: Iterable[Unit]) -> None:
        query = select(RolloutUnit.unit, RolloutUnit.rollout).join(Rollout, Rollout.id == RolloutUnit.rollout)
        query = query.where(
            RolloutUnit.open, (Rollout.state != RolloutState.CLOSED) | RolloutUnit.step.not_in(NOT_BEGUN)
        )
        busy = {row.unit: row.rollout for row in session.execute(query)}
        for unit in units:
            if unit.id in busy:
                raise RemoteError(
                    f"{unit.id} is in an update that has not ended, {busy[unit.id]}.",
                    next_step="Cancel that first: 'rekam-provision update --cancel'; whoever has begun goes on.",
                )

    def _new_rollout(self, who: Operator, order: UpdateOrder, release: ReleaseTarget) -> Rollout:
        return Rollout(
            id=self._context.new_id(),
            target=release.target,
            artefact=release.custom.artefact,
            number=release.custom.number,
            version=release.custom.version,
            made_by=who.id,
            made_ms=self._now(),
            state=RolloutState.RUNNING,
            waves=json.dumps([wave.what for wave in order.waves]),
            wave_count=len(order.waves),
            soak_ms=order.soak_s * 1000,
            overdue_ms=order.overdue_s * 1000,
            good_share=order.good_percent / 100,
            stop_share=order.stop_percent / 100,
            wave=0,
            forgiven=0,
            changed_ms=self._now(),
        )

    def _now(self) -> int:
        return self._context.clock.wall_ms()


def _check_names(waves: Iterable[Wave], units: Iterable[Unit]) -> None:
    known = {name for unit in units for name in (unit.id, unit.site)}
    for wave in waves:
        for name in wave.names:
            if name not in known:
                raise RemoteError(
                    f"'{name}' is neither a unit nor a site of this update.", next_step="Correct --waves."
                )


def _limits(row: Rollout) -> Limits:
    return Limits(row.soak_ms, row.good_share, row.stop_share, row.overdue_ms)
