"""A round of visits to units whose data does not reach the centre (M19): whom to visit by when, which visit is done.

Nothing is kept of a round: what is to do follows from what the centre knows of the fleet and from the tour's media, so
it is the same on every laptop, and after every break.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from contract.export_list import ExportList
from contract.technician import PacketFate, UnitRow


class VisitState(StrEnum):
    """How far a visit is."""

    LATE = "late"
    DUE = "due"
    CARRIED = "carried"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Visit:
    """One unit of the round. pending: packets that it last said it held; collected: on the tour's media, of which
    absent are not at the centre yet; by_ms: when its oldest packet has waited too long."""

    unit: str
    site: str
    state: VisitState
    by_ms: int
    pending: int
    pending_bytes: int
    oldest_age_s: int
    collected: int = 0
    absent: int = 0


def plan(
    rows: Sequence[UnitRow], lists: Sequence[ExportList], fates: Mapping[str, PacketFate], now_ms: int, until_ms: int
) -> list[Visit]:
    """The visits that are due until then, and those that the tour has made; the most pressing site first.

    A visit is done when the export named at least as many packets as the unit said it held, and each is at the centre.
    An export of before the oldest of these was captured is of an earlier round: media keep their lists.
    """
    newest = {item.unit: item for item in sorted(lists, key=lambda item: item.at_ms)}
    visits = [
        _visit(row, newest.get(row.unit), fates, now_ms)
        for row in rows
        if row.unit in newest or (row.pending > 0 and row.visit_by_ms <= until_ms)
    ]
    pressing = {site: min(v.by_ms for v in visits if v.site == site) for site in {v.site for v in visits}}
    return sorted(visits, key=lambda visit: (pressing[visit.site], visit.site, visit.by_ms, visit.unit))


def _visit(row: UnitRow, found: ExportList | None, fates: Mapping[str, PacketFate], now_ms: int) -> Visit:
    collected = found.packets if found is not None else ()
    absent = sum(fates.get(pid, PacketFate.ABSENT) is PacketFate.ABSENT for pid in collected)
    state = VisitState.LATE if row.visit_by_ms < now_ms else VisitState.DUE
    since_ms = now_ms - row.oldest_age_s * 1000 if row.pending > 0 else 0
    if found is not None and found.at_ms >= since_ms and len(collected) >= row.pending:
        state = VisitState.CARRIED if absent else VisitState.DONE
    return Visit(
        unit=row.unit,
        site=row.site,
        state=state,
        by_ms=row.visit_by_ms,
        pending=max(0, row.pending),
        pending_bytes=row.pending_bytes,
        oldest_age_s=row.oldest_age_s,
        collected=len(collected),
        absent=absent,
    )
