"""What units say of their software, as it is kept: which release each runs, and what became of the newest job."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.updates import Artefact, Running, UpdateReport, UpdateState
from hub.schema.update_tables import UnitUpdate
from hub.update_repository import ReleaseTarget

FAILED = frozenset({UpdateState.RETURNED, UpdateState.REFUSED})


def reports(session: Session, units: Collection[str]) -> dict[str, UpdateReport]:
    """The newest report of each of these units that ever sent one."""
    rows = session.scalars(select(UnitUpdate).where(UnitUpdate.unit.in_(units)))
    return {row.unit: report_of(row) for row in rows}


def report_of(row: UnitUpdate) -> UpdateReport:
    """What a unit last reported."""
    return UpdateReport.model_validate_json(row.report)


def runs(running: Running, release: ReleaseTarget) -> bool:
    """Whether a unit runs this release or a later one."""
    number = {
        Artefact.EDGE: running.number,
        Artefact.FIRMWARE: running.firmware_number,
        Artefact.CONFIGURATION_SCHEMA: running.schema_number,
    }.get(release.custom.artefact, 0)
    return number >= release.custom.number
