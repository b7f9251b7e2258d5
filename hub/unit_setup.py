"""What a unit is told to be, what it reports, and its steps from claimed to in service, each written to its history.

The desired configuration is numbered; a unit that reports its digest is configured, one whose own test passed on it is
tested and enters service, with no manual step in between.
"""

from __future__ import annotations

import cbor2
import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from contract import topics
from contract.commissioning import MESSAGE_BYTES_MAX
from contract.commissioning_problems import Problem, Refusal
from contract.configuration import Desired, Reported, SelftestReport, Tables, objection
from contract.dispatch import decode
from contract.lifecycle import UnitEvent, UnitState
from hub import dispatches, presence
from hub.context import HubContext
from hub.fleet_control import FleetControl
from hub.history import Note
from hub.schema.commissioning_tables import UnitSetup
from hub.schema.tables import Unit

log = structlog.get_logger("unit_setup")


class UnitSetups:
    """Desired and reported settings of units. Methods that take a session run in the caller's transaction."""

    def __init__(self, context: HubContext, fleet: FleetControl) -> None:
        self._context = context
        self._fleet = fleet

    def holder_of_serial(self, session: Session, serial: str) -> str | None:
        """The unit, not retired, whose hardware has this serial number."""
        query = (
            select(UnitSetup.unit)
            .join(Unit, Unit.id == UnitSetup.unit)
            .where(UnitSetup.serial == serial, Unit.state != UnitState.RETIRED)
        )
        return session.scalars(query.limit(1)).first()

    def move(self, session: Session, unit: Unit, event: UnitEvent, actor: str, note: Note) -> None:
        """Move a unit by its table, with its history and what follows. Raises IllegalTransition."""
        self._fleet.move(session, unit, event, actor, note)

    def bar(self, session: Session, holder: str, reason: str) -> int:
        """Revoke every certificate of a holder; returns how many."""
        return self._fleet.bar(session, holder, reason)

    def desire(self, session: Session, unit: Unit, tables: Tables, serial: str | None = None) -> Desired:
        """Number and queue a configuration. Raises Refusal for what no configuration may set or carry."""
        if refusal := objection(tables):
            raise refusal
        row = session.get(UnitSetup, unit.id, with_for_update=True)
        if row is None:
            row = UnitSetup(unit=unit.id, serial=serial or "", version=0)
            session.add(row)
        if serial is not None:
            row.serial = serial
        desired = Desired(unit=unit.id, site=unit.site, version=_newest(row) + 1, tables=tables)
        row.version, row.tables, row.digest = desired.version, cbor2.dumps(tables, canonical=True), desired.digest()
        session.flush()
        dispatches.post_to_unit(session, self._context, topics.DN_DESIRED, desired, unit.id)
        return desired

    def desire_again(self, session: Session, unit: Unit) -> None:
        """Queue the newest configuration once more: the unit's keys or site changed. Another site is a new version."""
        row = session.get(UnitSetup, unit.id)
        if row is not None:
            desired = Desired(unit=unit.id, site=unit.site, version=row.version, tables=cbor2.loads(row.tables))
            if desired.digest() != row.digest:
                desired = desired.model_copy(update={"version": _newest(row) + 1})
            row.version, row.digest = desired.version, desired.digest()
            dispatches.post_to_unit(session, self._context, topics.DN_DESIRED, desired, unit.id)

    def retire_replaced(self, session: Session, replaced: str, successor: str) -> None:
        """The successor lives: the unit whose place it took goes, if it has not gone yet."""
        unit = session.get(Unit, replaced, with_for_update=True)
        if unit is not None and unit.state != UnitState.RETIRED:
            self.move(session, unit, UnitEvent.RETIRED, successor, {"reason": f"replaced by {successor}"})

    def take_reported(self, session: Session, unit_id: str, payload: bytes) -> None:
        """What a unit made of its configuration. Raises RemoteError."""
        reported = decode(Reported, payload, MESSAGE_BYTES_MAX)
        unit, row = self._known(session, unit_id)
        row.reported = reported.model_dump_json()
        if reported.problem is not None:
            log.warning("configuration refused", unit=unit_id, problem=reported.problem, detail=reported.detail)
        self._go_on(session, unit, row)

    def take_selftest(self, session: Session, unit_id: str, payload: bytes) -> None:
        """What a unit found of its devices. Raises RemoteError."""
        report = decode(SelftestReport, payload, MESSAGE_BYTES_MAX)
        unit, row = self._known(session, unit_id)
        row.selftest = report.model_dump_json()
        self._go_on(session, unit, row)

    def _go_on(self, session: Session, unit: Unit, row: UnitSetup) -> None:
        """Take every step that what the unit reported allows."""
        reported = reported_of(row)
        if unit.state == UnitState.KEYED and reported is not None and reported.digest == row.digest:
            self.move(session, unit, UnitEvent.CONFIGURED, unit.id, {"version": row.version})
        report = selftest_of(row)
        if unit.state == UnitState.CONFIGURED and report is not None and report.passed and report.digest == row.digest:
            self.move(session, unit, UnitEvent.TEST_PASSED, unit.id, {"devices": len(report.rows)})
            self.move(session, unit, UnitEvent.ENTERED_SERVICE, unit.id, {})

    def _known(self, session: Session, unit_id: str) -> tuple[Unit, UnitSetup]:
        unit = presence.locked_unit(session, unit_id)
        with session.no_autoflush:  # by its key
            row = session.get(UnitSetup, unit_id)
        if unit is None or row is None:
            raise Refusal(Problem.CONFIGURATION_FOR_OTHER_UNIT, "The hub has none for it.")
        return unit, row


def _newest(row: UnitSetup) -> int:
    """The highest version that hub or unit has seen: a hub from its backup counts on from the unit.

    What the unit has refused counts too: it would take another configuration under that number for the same one.
    """
    reported = reported_of(row)
    return max(row.version, reported.version, reported.refused_version) if reported else row.version


def reported_of(row: UnitSetup) -> Reported | None:
    """What the unit last reported of its configuration."""
    return Reported.model_validate_json(row.reported) if row.reported else None


def selftest_of(row: UnitSetup) -> SelftestReport | None:
    """What the unit last found of its devices."""
    return SelftestReport.model_validate_json(row.selftest) if row.selftest else None
