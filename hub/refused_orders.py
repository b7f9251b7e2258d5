"""Orders of technicians that the hub refused: who asked for what, and why not, in a history that nobody can change.

An order is said again until its reply comes, and a refusal is decided anew each time; it is written down once. A
machine that gives orders without end costs the book HOURLY_MAX lines an hour; the next one says how many were left out.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.cbor_bounds import loads_map
from contract.commissioning_problems import Problem, Refusal
from contract.errors import RekamError, RemoteError
from contract.technician import ROWS_MAX, Order, RefusedResult, RefusedRow
from hub import history
from hub.context import HubContext
from hub.schema.commissioning_tables import TechnicianHistory

HOUR_MS = 3600 * 1000
HOURLY_MAX = 100
REMEMBERED_MAX = 1000
WHY_CHARACTERS_MAX = 200
EVENT = "refused "
_ABOUT = ("unit", "nonce", "technician", "rollout", "release")
_BODY_BYTES_MAX = 48 * 1024


@dataclass(slots=True)
class _Hour:
    begun_ms: int
    written: int = 0
    left_out: int = 0


class RefusedOrders:
    """Writes them down, each in a transaction of its own."""

    def __init__(self, context: HubContext) -> None:
        self._context = context
        self._noted: OrderedDict[str, None] = OrderedDict()
        self._hours: dict[str, _Hour] = {}

    def note(self, order: Order, error: RekamError) -> None:
        """An order by a known technician that was refused."""
        if order.id in self._noted:
            return
        self._noted[order.id] = None
        if len(self._noted) > REMEMBERED_MAX:
            self._noted.popitem(last=False)
        now = self._context.clock.wall_ms()
        hour = self._hours.setdefault(order.technician, _Hour(now))
        if not 0 <= now - hour.begun_ms < HOUR_MS:
            hour.begun_ms, hour.written = now, 0
        if hour.written >= HOURLY_MAX:
            hour.left_out += 1
            return
        note: history.Note = {
            "order": order.id,
            "about": _about(order),
            "problem": error.problem.value if isinstance(error, Refusal) else "",
            "why": error.message[:WHY_CHARACTERS_MAX],
            "left_out_before": hour.left_out,
        }
        with self._context.database.transaction() as session:
            history.append(
                session, TechnicianHistory, subject=order.technician, event=f"{EVENT}{order.verb}", from_state="",
                to_state="", at_ms=now, actor=order.technician, note=note,
            )  # fmt: skip
        hour.written, hour.left_out = hour.written + 1, 0


def refused(session: Session, technician: str, page: int) -> RefusedResult:
    """A page of them, the newest first. technician: whose, empty for everybody's."""
    query = select(TechnicianHistory).where(TechnicianHistory.event.startswith(EVENT))
    if technician:
        query = query.where(TechnicianHistory.subject == technician)
    query = query.order_by(TechnicianHistory.sequence.desc()).offset(page * ROWS_MAX).limit(ROWS_MAX + 1)
    rows = session.scalars(query).all()
    return RefusedResult(rows=tuple(_row(link) for link in rows[:ROWS_MAX]), more=len(rows) > ROWS_MAX)


def _row(link: TechnicianHistory) -> RefusedRow:
    note = json.loads(link.note)
    return RefusedRow(
        technician=link.subject,
        verb=link.event.removeprefix(EVENT),
        about=note["about"],
        at_ms=link.at_ms,
        problem=Problem(note["problem"]) if note["problem"] else None,
        why=note["why"],
        left_out_before=note["left_out_before"],
    )


def _about(order: Order) -> str:
    """What the order is about, as far as its body says so."""
    try:
        body = loads_map(order.body, _BODY_BYTES_MAX)
    except RemoteError:
        return ""
    named = (body.get(name) for name in _ABOUT)
    return next((name[:64] for name in named if isinstance(name, str) and name), "")
