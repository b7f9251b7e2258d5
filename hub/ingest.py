"""The receiving end: offers are answered by what is missing, chunks become a packet, a packet is committed once.

The order of a packet's end is the promise of this module: SHA-256 equals the pid; bytes and name are synced; then a
database transaction writes the packet, the record with its history and the receipt in the outbox; only then does the
receipt leave. Packets that come together share a transaction (`finish`): a fleet that is back from an outage has one
each. A crash at any point is answered by the unit's next offer. What cannot be opened, or is signed by one who is
unknown or revoked, is kept and receipted as quarantined: it arrived, and goes before a person (M18).

`Ingest` is plain and blocking and owned by one thread; hub.ingest_service puts it on the line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from contract.channel_disk import Disk, SyncSite
from contract.clock import Clock
from contract.dispatch import decode, encode
from contract.errors import DeviceError, RekamError, RemoteError, TransientError
from contract.identifiers import checked_pid, pid_of
from contract.packet import Envelope
from contract.packet import decode as decode_packet
from contract.seal import OpeningKey, PublicKey, StatementKey, UnknownSigner, open_sealed
from contract.topics import DN_NEED, DN_RECEIPT
from contract.transfer import (
    ATTEMPT_ANEW,
    MESSAGE_BYTES_MAX,
    Need,
    Observer,
    Offer,
    Receipt,
    Step,
    decode_chunk,
    ranges_of,
    sign_receipt,
    unobserved,
)
from hub.parts import Part, PartStore, Quota, QuotaReached

OUTBOX_BATCH = 100
GROUP_PACKETS_MAX, GROUP_BYTES_MAX = 50, 8 * 1024 * 1024
DISK_RETRY_AFTER_MS = 60_000

log = structlog.get_logger("ingest")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A packet that lies durably in the hub's store, opened as far as it could be.

    carrier: the unit that delivered it (by media it need not be the one that captured); signer: who signed it, empty
    where that is not known; envelope: None where it could not be opened; quarantine_reason: empty for a good packet.
    """

    pid: str
    sealed_length: int
    blob_name: str
    carrier: str
    signer: str
    envelope: Envelope | None
    quarantine_reason: str
    received_ms: int


@dataclass(frozen=True, slots=True)
class PendingReceipt:
    """A receipt in the outbox, and the unit that waits for it."""

    unit: str
    receipt: Receipt


class PacketStore(Protocol):
    """The hub's database, as far as ingest needs it. Each method is one transaction."""

    def find(self, pid: str) -> Receipt | None:
        """The newest receipt for this packet, or None where it has never been committed."""
        ...

    def commit_packet(self, arrival: Arrival) -> Receipt:
        """Write packet, record with history and outbox row, all or nothing, and return the receipt.

        Idempotent on the pid (the receipt of before comes back) and on the capture id (no second record).
        """
        ...

    def commit_packets(self, arrivals: Sequence[Arrival]) -> list[Receipt]:
        """What `commit_packet` does, for all of them in one transaction; where one fails, nothing is written."""
        ...

    def pending_receipts(self, limit: int, after: int) -> Sequence[PendingReceipt]:
        """Receipts not marked as published whose hub sequence is above `after`, in that order, at most `limit`."""
        ...

    def mark_published(self, settled: Sequence[tuple[str, int]]) -> None:
        """Receipts, by pid and hub sequence, were handed to units that listen; a unit that lost it offers again."""
        ...


class Senders(Protocol):
    """Who may sign packets."""

    def public_key(self, unit: str) -> PublicKey | None:
        """The key that verifies this unit's packets, also of a suspended unit; None for an unknown one."""
        ...

    def refusal(self, unit: str) -> str:
        """Why packets of this unit are quarantined although they verify (revoked, suspended), or an empty string."""
        ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish. settles: (pid, hub sequence) of the receipt in it, to be marked once it was heard."""

    topic: str
    payload: bytes
    step: Step
    pid: str
    settles: tuple[str, int] | None = None


@dataclass
class Ingest:
    """Offers and chunks in, needs and receipts out. `folder` holds `parts` and the sealed `packets` as received."""

    folder: Path
    store: PacketStore
    senders: Senders
    opening_key: OpeningKey
    statement_key: StatementKey
    clock: Clock
    quota: Quota = field(default_factory=Quota)
    disk: Disk = field(default_factory=Disk)
    observe: Observer = unobserved

    def __post_init__(self) -> None:
        self.disk.make_folder(self.folder, SyncSite.PART_ROOT)
        self.disk.make_folder(self._packets, SyncSite.PART_ROOT)
        for shard in range(256):
            self._make_shard(self._packets / f"{shard:02x}")
        self.disk.sync_folder(self._packets, SyncSite.PART_ROOT)
        self._parts = PartStore(self.folder / "parts", self.clock, self.quota, self.disk, self.observe)
        self._complete: list[Part] = []
        self._found: list[tuple[str, str]] = []

    @property
    def _packets(self) -> Path:
        return self.folder / "packets"

    def blob_path(self, pid: str) -> Path:
        """Where the sealed packet lies, exactly as it was received."""
        return self._packets / pid[:2] / checked_pid(pid)

    def on_offer(self, unit: str, pid: str, payload: bytes) -> list[Outgoing]:
        """Answer an offer by a receipt (the packet is here) or by what is missing. Raises RemoteError.

        Where all of it is here and its receipt is not, `finish` has the answer.
        """
        offer = decode(Offer, payload, MESSAGE_BYTES_MAX)
        self.observe(Step.OFFER_RECEIVED, checked_pid(pid))
        receipt = self.store.find(pid)
        if receipt is not None:
            return [self._receipt(unit, receipt)]
        if self.blob_path(pid).exists():
            self._found.append((unit, pid))
            return []
        under_way = self._parts.find(unit, pid)
        if under_way is not None and under_way.complete:  # however it is cut now: it is not begun anew
            self._end(under_way)
            return []
        try:
            part = self._parts.open(unit, pid, offer)
        except QuotaReached as quota:
            return [self._need(unit, pid, self._later(offer, quota.retry_after_ms))]
        except DeviceError as full:
            log.warning("disk does not take parts", **full.diagnostics())
            return [self._need(unit, pid, self._later(offer, DISK_RETRY_AFTER_MS))]
        need = Need(attempt=offer.attempt, chunk=part.chunk, ranges=ranges_of(part.missing))
        return [self._need(unit, pid, need)]

    def on_chunk(self, unit: str, pid: str, payload: bytes) -> list[Outgoing]:
        """Take a chunk; the last one is answered by `finish`. Raises RemoteError for what nobody asked for."""
        chunk = decode_chunk(payload)
        part = self._parts.find(unit, pid)
        if part is None:
            if self.store.find(checked_pid(pid)) is not None:
                return []  # a late copy of what is committed already
            raise RemoteError("A chunk came for a packet that was not offered, or is refused.")
        if self._parts.write(part, chunk) and part.complete:
            self._end(part)
        return []

    def finish(self) -> list[Outgoing]:
        """Put away and commit what is complete by now, many packets at once; their receipts, or what is needed anew.

        What disk or database do not take has no answer, and is offered again.
        """
        complete, self._complete = self._complete, []
        found, self._found = self._found, []
        answers: list[Outgoing] = []
        arrivals: list[Arrival] = []
        for unit, pid in [*self._put_away(complete, answers), *found]:
            try:
                arrivals.append(self._open(unit, pid, self._sealed(pid)))
            except RekamError as error:
                log.warning("packet not taken", unit=unit, **error.diagnostics())
            except Exception as error:  # noqa: BLE001 - one packet must not end the service of all the others
                log.critical("packet not taken", unit=unit, pid=pid, error=type(error).__name__)
            if len(arrivals) >= GROUP_PACKETS_MAX or sum(one.sealed_length for one in arrivals) >= GROUP_BYTES_MAX:
                answers += self._commit(arrivals)
                arrivals = []
        return answers + self._commit(arrivals)

    def tick(self) -> None:
        """Once a second: make slow parts durable, drop abandoned ones."""
        self._parts.tick()

    def outbox(self, after: int) -> list[Outgoing]:
        """The next receipts that have not been handed to anybody yet, behind hub sequence `after`."""
        pending = self.store.pending_receipts(OUTBOX_BATCH, after)
        return [self._receipt(waiting.unit, waiting.receipt) for waiting in pending]

    def mark_published(self, settled: Sequence[tuple[str, int]]) -> None:
        """Take receipts, by pid and hub sequence, out of the outbox."""
        self.store.mark_published(settled)
        for pid, _ in settled:
            self.observe(Step.RECEIPT_MARKED, pid)

    def close(self) -> None:
        """Make everything durable that has arrived."""
        self._parts.close()

    def _end(self, part: Part) -> None:
        if not any(part is known for known in self._complete):
            self._complete.append(part)

    def _put_away(self, parts: Sequence[Part], answers: list[Outgoing]) -> Iterator[tuple[str, str]]:
        """Give complete parts their names; the unit and pid of each that is good. answers: gets what is needed anew."""
        for part in parts:
            try:
                self._parts.finish(part, self.blob_path(part.pid))
            except RemoteError as error:
                log.warning("packet thrown away", unit=part.unit, **error.diagnostics())
                everything = ranges_of(range(len(part.arrived)))
                need = Need(attempt=ATTEMPT_ANEW, chunk=part.chunk, ranges=everything)
                answers.append(self._need(part.unit, part.pid, need))
            except DeviceError as error:
                log.warning("packet not kept", unit=part.unit, **error.diagnostics())
            except Exception as error:  # noqa: BLE001 - see finish
                log.critical("packet not kept", unit=part.unit, pid=part.pid, error=type(error).__name__)
            else:
                yield part.unit, part.pid

    def _sealed(self, pid: str) -> bytes:
        """A packet whose file is durable; one that was there when the hub stopped may be damaged."""
        try:
            sealed = self.blob_path(pid).read_bytes()
        except OSError as error:
            raise DeviceError(
                f"A packet that arrived cannot be read back ({error.strerror}).",
                next_step="Look at the disk's health; the unit keeps the packet and offers it again.",
            ) from None
        if pid_of(sealed) != pid:
            self.blob_path(pid).unlink()
            raise RemoteError("A stored packet was damaged; the unit is asked for it again.")
        return sealed

    def _commit(self, arrivals: Sequence[Arrival]) -> list[Outgoing]:
        """Commit them together or, where one spoils that, each alone; the receipts of those that are committed."""
        receipts: list[tuple[str, Receipt]] = []
        try:
            if arrivals:
                together = self.store.commit_packets(arrivals)
                receipts = [(arrival.carrier, receipt) for arrival, receipt in zip(arrivals, together, strict=True)]
        except TransientError as error:
            log.warning("packets not committed, their units offer them again", **error.diagnostics())
        except Exception as error:  # noqa: BLE001 - see finish
            log.warning("packets are committed one by one", error=type(error).__name__)
            receipts = list(self._commit_apart(arrivals))
        for _, receipt in receipts:
            self.observe(Step.COMMITTED, receipt.pid)
        return [self._receipt(carrier, receipt) for carrier, receipt in receipts]

    def _commit_apart(self, arrivals: Sequence[Arrival]) -> Iterator[tuple[str, Receipt]]:
        for arrival in arrivals:
            try:
                yield arrival.carrier, self.store.commit_packet(arrival)
            except Exception as error:  # noqa: BLE001 - see finish
                log.critical("packet not committed", unit=arrival.carrier, pid=arrival.pid, error=type(error).__name__)

    def _open(self, carrier: str, pid: str, sealed: bytes) -> Arrival:
        """Open and check a packet; whatever is wrong with it becomes the reason for its quarantine."""
        signer, envelope, reason = "", None, ""
        try:
            opened = open_sealed(sealed, self.opening_key, self.senders.public_key)
            signer = opened.signer
            envelope = decode_packet(opened.payload)
            reason = self.senders.refusal(signer)
            if envelope.unit != signer:
                reason = "The packet names another unit than the one that signed it."
        except UnknownSigner as unknown:
            signer, reason = unknown.signer, unknown.message
        except RemoteError as error:
            reason = error.message
        return Arrival(
            pid=pid,
            sealed_length=len(sealed),
            blob_name=f"{pid[:2]}/{pid}",
            carrier=carrier,
            signer=signer,
            envelope=envelope,
            quarantine_reason=reason,
            received_ms=self.clock.wall_ms(),
        )

    def _make_shard(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise DeviceError(f"The hub cannot make its folders ({error.strerror}).") from None

    def _later(self, offer: Offer, retry_after_ms: int) -> Need:
        return Need(attempt=offer.attempt, chunk=offer.chunk, ranges=(), retry_after_ms=retry_after_ms)

    def _need(self, unit: str, pid: str, need: Need) -> Outgoing:
        return Outgoing(DN_NEED.at(unit=unit, pid=pid), encode(need), Step.NEED_SENT, pid)

    def _receipt(self, unit: str, receipt: Receipt) -> Outgoing:
        signed = sign_receipt(receipt, self.statement_key)
        topic = DN_RECEIPT.at(unit=unit, pid=receipt.pid)
        return Outgoing(topic, signed, Step.RECEIPT_SENT, receipt.pid, (receipt.pid, receipt.hub_sequence))
