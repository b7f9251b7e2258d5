"""Looks at what a campaign left: every acknowledged capture once at the hub, whole, and nothing else anywhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sqlalchemy import select

from contract.clock import SystemClock
from contract.identifiers import pid_of
from contract.lifecycle import RecordEvent
from contract.transfer import Disposition
from edge.spool import Spool
from hub.packets import open_capture
from hub.schema.tables import Packet, Record, RecordHistory
from tests.fault.rig import UNIT, Rig, capture_id
from tests.fault.rig_hub import hub_context, store_of


@dataclass
class Audit:
    """What was found. lost: acknowledged captures that are missing or damaged; twice: captures committed again."""

    captures: int
    lost: int = 0
    twice: int = 0
    left_on_unit: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Nothing lost, nothing twice, nothing left."""
        return not (self.lost or self.twice or self.left_on_unit or self.problems)


def audit(rig: Rig, acknowledged: dict[int, str]) -> Audit:
    """Compare the hub's database and files, and the unit's spool, with what the spool acknowledged ({number: pid})."""
    found = Audit(captures=len(acknowledged))
    context = hub_context(rig)
    book, _ = store_of(context)
    with context.database.reading() as session:
        packets = Counter(session.scalars(select(Packet.event_id)))
        pids = set(session.scalars(select(Packet.pid)))
        records = Counter(session.scalars(select(Record.capture_id)))
        received = select(RecordHistory.subject).where(RecordHistory.event == RecordEvent.PACKET_RECEIVED)
        arrivals = Counter(session.scalars(received))
    for number, pid in sorted(acknowledged.items()):
        capture = capture_id(number)
        receipt = book.find(pid)
        if receipt is None or records[capture] != 1 or not _whole(rig, pid):
            found.lost += 1
            found.problems.append(f"capture {number} is not at the hub as it was acknowledged")
            continue
        if packets[capture] != 1 or arrivals[capture] != 1:
            found.twice += 1
            found.problems.append(f"capture {number}: {packets[capture]} packets, {arrivals[capture]} arrivals")
        if receipt.disposition is not Disposition.RELEASED or open_capture(context, pid).biodata.nik[2:] != (
            f"{number:014d}"
        ):
            found.problems.append(f"capture {number} is {receipt.disposition}, or is not what was captured")
    strangers = pids - set(acknowledged.values())
    if strangers:
        found.twice += len(strangers)
        found.problems.append(f"{len(strangers)} packets at the hub that no spool acknowledged")
    spool = Spool(rig.folder / "units" / UNIT / "data" / "spool", rig.store_key(), SystemClock(), 10**9, 10**6)
    found.left_on_unit = spool.counts().total
    spool.close()
    context.database.close()
    return found


def _whole(rig: Rig, pid: str) -> bool:
    context_folder = rig.folder / "hub" / "blobs" / "packets" / pid[:2] / pid
    return context_folder.exists() and pid_of(context_folder.read_bytes()) == pid
