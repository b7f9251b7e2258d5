"""Watches the fleet from the centre: how every unit is, and what somebody has to see to, with its age (M19–M21).

Everything is read from what units publish and from the hub's own tables. A unit that falls silent does not look well:
what it last said to hold goes on ageing, and its silence is noticed as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from contract.lifecycle import UnitState as UnitLife
from contract.transfer import UnitState
from contract.unit_alerts import UnitAlert
from contract.updates import UpdateReport
from hub import alarms
from hub.certificates import CertificateState
from hub.config import DeadlinesSection
from hub.presence import HeardUplink, presence_of, uplink_of
from hub.schema.commissioning_tables import Certificate, UnitSetup
from hub.schema.tables import Unit
from hub.update_reports import FAILED, reports

log = structlog.get_logger("fleet")
HOUR_MS = 3_600_000
AT_WORK = frozenset({UnitLife.KEYED, UnitLife.CONFIGURED, UnitLife.TESTED, UnitLife.IN_SERVICE})


@dataclass(frozen=True, slots=True)
class Watched:
    """One unit as the centre sees it.

    update: its newest report of its software; until_ms: end of its active certificate, 0 without one; oldest_age_s: of
    what it holds, as of now; alerts: the gravest first.
    """

    unit: Unit
    said: UnitState | None
    uplink: HeardUplink | None
    setup: UnitSetup | None
    update: UpdateReport | None
    until_ms: int
    oldest_age_s: int
    alerts: tuple[UnitAlert, ...]

    @property
    def is_online(self) -> bool:
        """Whether it is on the line."""
        return self.said is not None and self.said.state == "online"


_COPIED = (UnitAlert.CERTIFICATE_COPIED, UnitAlert.CLAIM_COPIED)


def look(session: Session, units: Iterable[Unit], deadlines: DeadlinesSection, now_ms: int) -> list[Watched]:
    """How these units are; one of them, or a page of a list."""
    units = list(units)
    names = [unit.id for unit in units]
    setups = {row.unit: row for row in session.scalars(select(UnitSetup).where(UnitSetup.unit.in_(names)))}
    until = _certified_until(session, names)
    updates = reports(session, names)
    copied = alarms.unseen_of(session, names, _COPIED)
    return [
        _watched(
            unit,
            setups.get(unit.id),
            updates.get(unit.id),
            until.get(unit.id),
            deadlines,
            now_ms,
            {alert for alert in _COPIED if (unit.id, alert.value) in copied},
        )
        for unit in units
    ]


def look_at_all(session: Session, deadlines: DeadlinesSection, now_ms: int) -> list[Watched]:
    """How every unit is, by site and name."""
    return look(session, session.scalars(select(Unit).order_by(Unit.site, Unit.id)), deadlines, now_ms)


def _certified_until(session: Session, names: list[str]) -> dict[str, int]:
    """The end of each holder's active certificate; 0 for one that has had others only."""
    active_ms = case((Certificate.state == CertificateState.ACTIVE, Certificate.until_ms), else_=0)
    query = select(Certificate.holder, func.max(active_ms)).where(Certificate.holder.in_(names))
    found = session.execute(query.group_by(Certificate.holder))
    return {holder: until_ms for holder, until_ms in found}  # noqa: C416 - typed so


def _watched(
    unit: Unit,
    setup: UnitSetup | None,
    update: UpdateReport | None,
    until_ms: int | None,
    deadlines: DeadlinesSection,
    now_ms: int,
    alarmed: set[UnitAlert],
) -> Watched:
    uplink = uplink_of(unit)
    age_s = uplink.oldest_age_now_s(now_ms) if uplink else 0
    found = alarmed | _data_alerts(uplink, age_s, deadlines)
    if unit.state in AT_WORK:
        found |= _line_alerts(unit, uplink, until_ms, deadlines, now_ms)
        if update is not None and (update.state in FAILED or update.problem is not None):
            found.add(UnitAlert.UPDATE_FAILED)
    alerts = tuple(alert for alert in UnitAlert if alert in found)
    return Watched(unit, presence_of(unit), uplink, setup, update, until_ms or 0, age_s, alerts)


def _data_alerts(uplink: HeardUplink | None, age_s: int, deadlines: DeadlinesSection) -> set[UnitAlert]:
    """What its data ask for, in whatever state the unit is: nothing is forgotten because a unit was retired."""
    if uplink is None or not uplink.pending:
        return set()
    found = {UnitAlert.DATA_HELD} if uplink.held else set()
    if age_s >= deadlines.data_stuck_h * 3600:
        found.add(UnitAlert.DATA_STUCK)
    elif age_s >= deadlines.data_waits_h * 3600:
        found.add(UnitAlert.DATA_WAITS)
    return found


def _line_alerts(
    unit: Unit, uplink: HeardUplink | None, until_ms: int | None, deadlines: DeadlinesSection, now_ms: int
) -> set[UnitAlert]:
    """What a unit that is at work asks for. until_ms: None where the hub has never known a certificate of it."""
    found: set[UnitAlert] = set()
    if unit.state == UnitLife.IN_SERVICE and now_ms - unit.seen_ms >= deadlines.silent_h * HOUR_MS:
        found.add(UnitAlert.SILENT)
    if until_ms is not None and until_ms <= now_ms:
        found.add(UnitAlert.CERTIFICATE_ENDED)
    elif until_ms is not None and until_ms - now_ms <= deadlines.certificate_ends_h * HOUR_MS:
        found.add(UnitAlert.CERTIFICATE_ENDS)
    if uplink is not None and (uplink.scheduler == "STOPPED" or uplink.database == "DISCONNECTED"):
        found.add(UnitAlert.UPLINK_STOPPED)
    if uplink is not None and uplink.links is not None and uplink.links.broken_at is not None:
        found.add(UnitAlert.LINK_BROKEN)
    return found


class AlertLog:
    """Writes each alert into the hub's log once when it appears and once when it is gone."""

    def __init__(self) -> None:
        self._known: set[tuple[str, UnitAlert]] = set()

    def note(self, fleet: Iterable[Watched]) -> tuple[set[tuple[str, UnitAlert]], set[tuple[str, UnitAlert]]]:
        """What has appeared and what is gone since the last time, as (unit, alert)."""
        rows = {watched.unit.id: watched for watched in fleet}
        present = {(name, alert) for name, watched in rows.items() for alert in watched.alerts}
        appeared, gone = present - self._known, self._known - present
        self._known = present
        for name, alert in sorted(appeared):
            watched = rows[name]
            log.warning(
                "unit needs a visit" if alert.grave else "unit noticed",
                unit=name,
                site=watched.unit.site,
                alert=alert.value,
                pending=watched.uplink.pending if watched.uplink else 0,
                oldest_age_s=watched.oldest_age_s,
            )
        for name, alert in sorted(gone):
            log.info("alert is gone", unit=name, alert=alert.value)
        return appeared, gone
