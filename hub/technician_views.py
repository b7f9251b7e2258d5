"""What a technician is shown: who knocks, how units are, and what is known of the data of a unit that went.

Reads only, in the caller's transaction, a page at a time.
"""

from __future__ import annotations

import cbor2
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from contract.certificates import fingerprint
from contract.commissioning import MESSAGE_BYTES_MAX, Knock
from contract.commissioning_problems import Problem, Refusal
from contract.dispatch import decode
from contract.technician import (
    ROWS_MAX,
    CertificateRow,
    DepartureResult,
    KnockRow,
    KnocksResult,
    PacketFate,
    SettingsResult,
    StatusResult,
    UnitRow,
    WhereaboutsOrder,
    WhereaboutsResult,
)
from contract.transfer import UplinkStatus
from hub import certificates, fleet_watch, presence
from hub.context import HubContext
from hub.fleet_watch import Watched
from hub.schema.commissioning_tables import ClaimRow, Commissioning, UnitSetup
from hub.schema.tables import Packet, ReceiptRow, Unit
from hub.unit_setup import reported_of, selftest_of

CERTIFICATES_SHOWN = 5
# A page of rows has to fit into one reply, whatever letters they are written in.
DETAIL_CHARACTERS_MAX, DETAIL_CHARACTERS_IN_LIST, WORDS_CHARACTERS_MAX = 400, 80, 40


def find_knock(session: Session, nonce: str) -> Commissioning:
    """The box that knocked with a claim. Raises Refusal."""
    row = session.get(Commissioning, nonce, with_for_update=True)
    if row is None:
        raise Refusal(Problem.CLAIM_UNKNOWN, "Nothing has knocked with it.")
    return row


def knocks(session: Session, page: int) -> KnocksResult:
    """A page of boxes that knocked, the newest first."""
    query = select(Commissioning).order_by(Commissioning.knocked_ms.desc(), Commissioning.nonce)
    rows = session.scalars(query.offset(page * ROWS_MAX).limit(ROWS_MAX + 1)).all()
    return KnocksResult(rows=tuple(_knock(session, row) for row in rows[:ROWS_MAX]), more=len(rows) > ROWS_MAX)


def _knock(session: Session, row: Commissioning) -> KnockRow:
    knock = decode(Knock, row.knock, MESSAGE_BYTES_MAX)
    claim = session.get_one(ClaimRow, row.nonce)
    state = "waiting"
    if claim.burned_ms is not None:
        state = "done"
    elif row.problem and row.problem != Problem.SERIAL_SHARED:
        state = "refused"
    elif row.approval is not None:
        state = "approved"
    return KnockRow(
        nonce=row.nonce,
        serial=row.serial,
        model=knock.model[:WORDS_CHARACTERS_MAX],
        software=knock.software[:WORDS_CHARACTERS_MAX],
        key_home=knock.key_home,
        fingerprint=fingerprint(row.key_digest),
        key_digest=row.key_digest,
        knocked_ms=row.knocked_ms,
        clock_off_ms=row.clock_off_ms,
        state=state,
        unit=row.unit or "",
        problem=Problem(row.problem) if row.problem else None,
    )


def status(session: Session, context: HubContext, unit: str, page: int, alarm: str) -> StatusResult:
    """One unit with its certificates and uplink, or a page of all. alarm: what threatens everybody, or nothing."""
    query = select(Unit).order_by(Unit.id)
    if unit:
        query = query.where(Unit.id == unit)
    rows = session.scalars(query.offset(page * ROWS_MAX).limit(ROWS_MAX + 1)).all()
    now, deadlines = context.clock.wall_ms(), context.settings.deadlines
    seen = fleet_watch.look(session, rows[:ROWS_MAX], deadlines, now)
    stuck_ms = int(deadlines.data_stuck_h * fleet_watch.HOUR_MS)
    shown = tuple(_unit(session, row, now + stuck_ms, whole=bool(unit)) for row in seen)
    return StatusResult(rows=shown, more=len(rows) > ROWS_MAX, alarm=alarm)


def _unit(session: Session, watched: Watched, new_until_ms: int, *, whole: bool) -> UnitRow:
    """new_until_ms: how long a packet of now may wait before somebody has to fetch it."""
    unit, said, uplink, setup = watched.unit, watched.said, watched.uplink, watched.setup
    problem, detail, version = _trouble(setup)
    panel = UplinkStatus.model_validate(uplink.model_dump(exclude={"heard_ms"})) if uplink else None
    broken = uplink.links.broken_at if uplink and uplink.links else None
    held = certificates.all_of(session, unit.id)[: CERTIFICATES_SHOWN if whole else 1]
    return UnitRow(
        unit=unit.id,
        site=unit.site,
        role=unit.role,
        state=unit.state,
        online=said is not None and said.state == "online",
        seen_ms=unit.seen_ms,
        software=said.software[:WORDS_CHARACTERS_MAX] if said else "",
        serial=setup.serial if setup else "",
        pending=uplink.pending if uplink else -1,
        desired_version=setup.version if setup else 0,
        reported_version=version,
        problem=problem,
        detail=detail[: DETAIL_CHARACTERS_MAX if whole else DETAIL_CHARACTERS_IN_LIST],
        certificates=tuple(
            CertificateRow(
                serial=row.serial,
                state=row.state,
                key_home=row.key_home,
                from_ms=row.from_ms,
                until_ms=row.until_ms,
                reason=row.reason,
            )
            for row in held
        ),
        held=uplink.held if uplink else 0,
        oldest_age_s=watched.oldest_age_s,
        alerts=watched.alerts,
        broken_hop=broken.name[:40] if broken else "",
        uplink=panel if whole else None,
        pending_bytes=uplink.pending_bytes if uplink else 0,
        visit_by_ms=max(0, new_until_ms - watched.oldest_age_s * 1000) if uplink and uplink.pending else 0,
    )


def whereabouts(session: Session, asked: WhereaboutsOrder) -> WhereaboutsResult:
    """What has become of these packets, by the newest receipt of each."""
    names = [pid.hex() for pid in asked.pids]
    query = select(ReceiptRow.pid, ReceiptRow.disposition).where(ReceiptRow.pid.in_(names))
    known = {pid: PacketFate(word) for pid, word in session.execute(query.order_by(ReceiptRow.hub_sequence))}
    return WhereaboutsResult(fates=tuple(known.get(name, PacketFate.ABSENT) for name in names))


def settings(session: Session, unit: Unit) -> SettingsResult:
    """What a unit is told to be, and what it made of it."""
    setup, said = session.get(UnitSetup, unit.id), presence.presence_of(unit)
    reported = reported_of(setup) if setup else None
    refused = bool(setup and reported and reported.problem and reported.refused_version == setup.version)
    return SettingsResult(
        unit=unit.id,
        version=setup.version if setup else 0,
        tables=cbor2.loads(setup.tables) if setup else {},
        online=said is not None and said.state == "online",
        reported_version=reported.version if reported else 0,
        in_force=bool(setup and reported and reported.digest == setup.digest),
        refused=refused,
        problem=reported.problem if reported and refused else None,
        detail=reported.detail if reported and refused else "",
    )


def _trouble(setup: UnitSetup | None) -> tuple[Problem | None, str, int]:
    """What a unit itself complains of, and the version it runs on."""
    if setup is None:
        return None, "", 0
    reported, report = reported_of(setup), selftest_of(setup)
    version = reported.version if reported else 0
    if reported is not None and reported.problem is not None:
        return reported.problem, reported.detail, version
    if report is not None and not report.passed:
        failed = " ".join(f"{row.kind}: {row.next_step}" for row in report.rows if not row.passed)
        return Problem.SELFTEST_FAILED, failed, version
    return None, "", version


def account_for(session: Session, context: HubContext, unit: Unit) -> DepartureResult:
    """What is here of a unit's packets, and what it last said it still held."""
    received = session.scalar(select(func.count()).select_from(Packet).where(Packet.signer == unit.id)) or 0
    folder = context.blob_dir / "parts" / unit.id
    uplink = presence.uplink_of(unit)
    return DepartureResult(
        unit=unit.id,
        state=unit.state,
        received=received,
        partial=sum(1 for path in folder.glob("*.part")) if folder.is_dir() else 0,
        pending=uplink.pending if uplink else -1,
        oldest_age_s=uplink.oldest_age_s if uplink else 0,
        said_ms=unit.seen_ms,
    )
