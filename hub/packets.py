"""The database side of ingest: a packet, its record with history and its receipt, written in one transaction.

A good packet is first receipted as `stored`; once the hub has dealt with it (hub.intake), a second receipt says
`released` and the unit purges its copy. What cannot be trusted is receipted as `quarantined`, kept, and listed for a
person (M18).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import structlog
from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from contract.errors import DeviceError, RekamError, RemoteError
from contract.identifiers import checked_pid, pid_of
from contract.lifecycle import RecordEvent, RecordState, UnitState
from contract.packet import EnrolmentBody, Envelope
from contract.packet import decode as decode_packet
from contract.seal import PublicKey, open_sealed
from contract.transfer import Disposition, Receipt
from hub import capture_order, register
from hub.context import HubContext
from hub.ingest import Arrival, PendingReceipt
from hub.records import Records
from hub.schema.tables import Checkpoint, Packet, ReceiptRow, Record, Unit

RESTORE = "Replace the disk where it fails, and restore the blob folder from its backup; the unit keeps its copy."
OTHER_CAPTURE = "The capture id belongs to a capture of another unit or person."
FAILED = (RecordState.ENROLL_FAILURE_AT_CENTRAL, RecordState.ENROLL_FAILURE_AT_REGIONAL)
NOT_ARRIVED = (RecordState.UNREGISTERED, RecordState.PROCESSING, RecordState.SENT_FOR_ENROLLMENT)
_TOLD_BY_PACKET = (
    *("pid", "site", "biodata", "appeal_of", "boot_id", "monotonic_ms", "sequence", "wall_ms"),
    *("earliest_ms", "latest_ms", "received_ms"),
)
# When a capture happened stays as its first packet proved it, however often it is corrected and sent again.
_CORRECTED = ("pid", "site", "biodata", "appeal_of")
log = structlog.get_logger("packets")


class UnitKeys:
    """Who may sign packets (hub.ingest.Senders)."""

    def __init__(self, context: HubContext) -> None:
        self._database = context.database

    def public_key(self, unit: str) -> PublicKey | None:
        """The key that verifies this unit's packets, whatever state the unit is in; None for an unknown one."""
        with self._database.reading() as session:
            return register.signer_of(session, unit)

    def refusal(self, unit: str) -> str:
        """Why this unit's packets are quarantined although they verify, or an empty string."""
        with self._database.reading() as session:
            found = session.get(Unit, unit)
        if found is not None and found.state != UnitState.IN_SERVICE:
            return f"Unit {unit} is {found.state}; a person decides about what it still sends."
        return ""


class PacketBook:
    """Packets and receipts in the database (hub.ingest.PacketStore)."""

    def __init__(self, context: HubContext, records: Records) -> None:
        self._context = context
        self._records = records

    def find(self, pid: str) -> Receipt | None:
        """The newest receipt for this packet, or None where it has never been committed."""
        with self._context.database.reading() as session:
            query = select(ReceiptRow, Packet.length).join(Packet, Packet.pid == ReceiptRow.pid)
            newest = query.where(ReceiptRow.pid == pid).order_by(ReceiptRow.hub_sequence.desc()).limit(1)
            found = session.execute(newest).first()
            return _receipt(*found) if found is not None else None

    def commit_packet(self, arrival: Arrival) -> Receipt:
        """Write packet, record with history and receipt, all or nothing. Idempotent on the pid and the capture id.

        What the database does not take is committed without what it says: quarantined, its bytes kept, for a person.
        """
        try:
            return self.commit_packets([arrival])[0]
        except RekamError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a packet brings must not stop those behind it
            log.critical("packet cannot be entered", pid=arrival.pid, error=type(error).__name__)
            reason = f"The hub could not enter what this packet says ({type(error).__name__})."
            return self.commit_packets([replace(arrival, signer="", envelope=None, quarantine_reason=reason)])[0]

    def commit_packets(self, arrivals: Sequence[Arrival]) -> list[Receipt]:
        """What `commit_packet` does, for all of them in one transaction; where one fails, nothing is written."""
        with self._context.database.transaction() as session:
            query = select(ReceiptRow).where(ReceiptRow.pid.in_([arrival.pid for arrival in arrivals]))
            rows = {row.pid: row for row in session.scalars(query.order_by(ReceiptRow.hub_sequence))}  # the newest
            fresh = {arrival.pid: arrival for arrival in arrivals if arrival.pid not in rows}
            packets = {pid: _packet_row(arrival) for pid, arrival in fresh.items()}
            session.add_all(packets.values())
            session.flush()
            for pid, packet in packets.items():
                rows[pid] = self._first_receipt(session, packet, fresh[pid])
            session.flush()
            return [_receipt(rows[arrival.pid], arrival.sealed_length) for arrival in arrivals]

    def _first_receipt(self, session: Session, packet: Packet, arrival: Arrival) -> ReceiptRow:
        """Enter what a packet says, where it is a capture; its receipt, which is not flushed."""
        envelope = arrival.envelope
        if envelope is not None and isinstance(envelope.body, EnrolmentBody) and not packet.quarantine:
            packet.quarantine = self.enter(session, packet, envelope, envelope.body)
        if packet.quarantine:
            packet.settled_ms = arrival.received_ms
        disposition = Disposition.QUARANTINED if packet.quarantine else Disposition.STORED
        return self._add_receipt(session, packet, disposition, packet.quarantine)

    def pending_receipts(self, limit: int, after: int) -> Sequence[PendingReceipt]:
        """Receipts that nobody has heard yet, above `after`, in order; of each packet only the newest."""
        with self._context.database.reading() as session:
            query = (
                select(ReceiptRow, Packet.length)
                .join(Packet, Packet.pid == ReceiptRow.pid)
                .where(ReceiptRow.published.is_(False), ReceiptRow.hub_sequence > after)
                .order_by(ReceiptRow.hub_sequence)
                .limit(limit)
            )
            found = session.execute(query).all()
            return [PendingReceipt(row.unit, _receipt(row, length)) for row, length in found]

    def mark_published(self, settled: Sequence[tuple[str, int]]) -> None:
        """Units have heard these receipts, by pid and hub sequence, and with each every older one of its packet."""
        heard = update(ReceiptRow).where(
            ReceiptRow.pid == bindparam("heard_pid"), ReceiptRow.hub_sequence <= bindparam("heard")
        )
        with self._context.database.transaction() as session:
            session.connection().execute(
                heard.values(published=True),
                [{"heard_pid": pid, "heard": hub_sequence} for pid, hub_sequence in sorted(settled)],
            )

    def receipt(self, session: Session, packet: Packet, disposition: Disposition, reason: str) -> ReceiptRow:
        """Write one more receipt for a packet."""
        row = self._add_receipt(session, packet, disposition, reason)
        session.flush()
        return row

    def _add_receipt(self, session: Session, packet: Packet, disposition: Disposition, reason: str) -> ReceiptRow:
        row = ReceiptRow(
            pid=packet.pid,
            unit=packet.carrier,
            time_ms=self._context.clock.wall_ms(),
            disposition=disposition,
            reason=reason[:200],
        )
        session.add(row)
        return row

    def settle(self, session: Session, packet: Packet, quarantine: str = "") -> None:
        """The hub has dealt with a packet: the unit may purge it. quarantine: why a person has to look at it."""
        packet.settled_ms = self._context.clock.wall_ms()
        packet.quarantine = quarantine
        disposition = Disposition.QUARANTINED if quarantine else Disposition.RELEASED
        self.receipt(session, packet, disposition, quarantine)

    def enter(self, session: Session, packet: Packet, envelope: Envelope, body: EnrolmentBody) -> str:
        """Enter a capture, or let a failed one enter again; returns why it is refused, or an empty string."""
        record = session.get(Record, envelope.id, with_for_update=True)
        digest = self._context.vault.nik_digest(body.biodata.nik)
        is_new = record is None
        if record is None:
            record = self._new_record(session, packet, envelope, body, digest)
            self._records.add(session, record)
        elif record.unit != envelope.unit or record.nik_digest != digest:
            return OTHER_CAPTURE
        state = RecordState(record.state)
        if state in FAILED:
            self._learn(session, record, self._new_record(session, packet, envelope, body, digest), _CORRECTED)
            self._records.move(session, record, RecordEvent.PACKET_ENTERED, packet.carrier)
            self._records.move(session, record, RecordEvent.REPROCESSED)
            self._records.arrive(session, record, packet.carrier)
        elif state in NOT_ARRIVED:
            if not is_new:
                self._learn(session, record, self._new_record(session, packet, envelope, body, digest), _TOLD_BY_PACKET)
            self._records.arrive(session, record, envelope.unit)
        return ""

    def _learn(self, session: Session, record: Record, told: Record, columns: Sequence[str]) -> None:
        """Fill in what a packet tells of a capture that was known only by its name, or that is sent corrected."""
        for column in columns:
            setattr(record, column, getattr(told, column))
        session.flush()

    def _new_record(
        self, session: Session, packet: Packet, envelope: Envelope, body: EnrolmentBody, digest: str
    ) -> Record:
        moment = envelope.moment
        return Record(
            capture_id=envelope.id,
            nik_digest=digest,
            site=envelope.site,
            unit=envelope.unit,
            pid=packet.pid,
            boot_id=moment.boot_id,
            monotonic_ms=moment.monotonic_ms,
            sequence=moment.sequence,
            wall_ms=moment.wall_ms,
            earliest_ms=self._earliest_ms(session, envelope),
            latest_ms=packet.received_ms,
            received_ms=packet.received_ms,
            biodata=self._context.vault.lock(body.biodata.model_dump_json().encode(), "record", envelope.id),
            appeal_of=body.appeal_of,
        )

    def _earliest_ms(self, session: Session, envelope: Envelope) -> int:
        """The latest time before which the capture cannot have happened (M28)."""
        moment = envelope.moment
        found = session.scalars(select(Checkpoint).where(Checkpoint.sha256 == moment.checkpoint)).first()
        query = select(Record).where(Record.unit == envelope.unit, Record.boot_id == moment.boot_id)
        anchors = [(row.monotonic_ms, row.earliest_ms) for row in session.scalars(query)]
        carried = capture_order.earliest_within_boot(moment.monotonic_ms, anchors)
        return max(found.time_ms if found is not None else 0, carried)


def _packet_row(arrival: Arrival) -> Packet:
    envelope = arrival.envelope
    return Packet(
        pid=arrival.pid,
        carrier=arrival.carrier,
        signer=arrival.signer,
        length=arrival.sealed_length,
        received_ms=arrival.received_ms,
        kind=envelope.kind if envelope else "",
        event_id=envelope.id if envelope else "",
        quarantine=arrival.quarantine_reason,
    )


def blob_path(context: HubContext, pid: str) -> Path:
    """Where a sealed packet lies, as hub.ingest stores it."""
    return context.blob_dir / "packets" / pid[:2] / checked_pid(pid)


def open_packet(context: HubContext, pid: str) -> Envelope:
    """A stored packet, decrypted, its signature verified again.

    Raises RemoteError for what its sender did wrong, and DeviceError where the hub's own copy is missing or damaged:
    that is no fault of the packet, and the unit must keep its good copy until the blob is back.
    """
    try:
        sealed = blob_path(context, pid).read_bytes()
    except OSError as error:
        raise DeviceError(f"A sealed packet cannot be read ({error.strerror}).", next_step=RESTORE) from None
    if pid_of(sealed) != pid:
        raise DeviceError("A sealed packet was damaged on the hub's disk.", next_step=RESTORE)
    opened = open_sealed(sealed, context.keys.packet, UnitKeys(context).public_key)
    envelope = decode_packet(opened.payload)
    if envelope.unit != opened.signer:
        raise RemoteError("The packet names another unit than the one that signed it.")
    return envelope


def open_capture(context: HubContext, pid: str) -> EnrolmentBody:
    """The capture in a stored packet. Raises RemoteError and DeviceError as `open_packet` does."""
    body = open_packet(context, pid).body
    if not isinstance(body, EnrolmentBody):
        raise RemoteError("The packet holds no capture.")
    return body


def _receipt(row: ReceiptRow, length: int) -> Receipt:
    return Receipt(
        pid=row.pid,
        length=length,
        hub_sequence=row.hub_sequence,
        time_ms=row.time_ms,
        disposition=Disposition(row.disposition),
        reason=row.reason,
    )
