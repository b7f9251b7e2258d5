"""Keeps sealed packets on the unit until the hub's receipt frees them, through crashes and power cuts (M14, M17, M18).

A packet is a file named by its pid (synced, renamed, folder synced) and then a row of SQLite (WAL, synchronous FULL):
`put` returns when both are durable, and only then may a status say BIO_CAPTURED. The bytes are sealed to the hub, the
row's kind and subject are locked under the unit's store key, so nothing at rest can be read here. Nothing but a
verified receipt that frees a packet ever deletes one: a full spool refuses new captures before they start.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from contract.channel_disk import DRAFT_SUFFIX, Disk, SyncSite
from contract.clock import Clock
from contract.dispatch import decode_kept, encode
from contract.errors import DeviceError, RemoteError
from contract.identifiers import checked_pid, pid_of
from contract.lifecycle import PacketEvent, PacketState, advance
from contract.packet import Model, Name, Text
from contract.seal import SEALED_BYTES_MAX, lock, unlock
from contract.transfer import Observer, Receipt, Step, unobserved

RESERVE_BYTES = 2 * SEALED_BYTES_MAX
LABEL_BYTES_MAX = 4096
BUSY_TIMEOUT_S = 10.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS packet (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    pid TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    length INTEGER NOT NULL,
    spooled_ms INTEGER NOT NULL,
    held_reason TEXT NOT NULL DEFAULT '',
    hub_sequence INTEGER NOT NULL DEFAULT 0,
    label BLOB NOT NULL
) STRICT
"""
_COLUMNS = "pid, state, length, spooled_ms, held_reason, hub_sequence"

log = structlog.get_logger("spool")


class Label(Model):
    """What a packet is about; locked at rest. subject_id: the capture id, or the event's own."""

    kind: Name
    subject_id: Text


@dataclass(frozen=True, slots=True)
class SpooledPacket:
    """One row of the spool. held_reason: set aside after repeated failures, until a technician releases it."""

    pid: str
    state: PacketState
    length: int
    spooled_ms: int
    held_reason: str = ""
    hub_sequence: int = 0


@dataclass(frozen=True, slots=True)
class SpoolCounts:
    """What lies in the spool (M19). oldest_age_s: of what has not been receipted; unclaimed: files without a row."""

    pending: int
    pending_bytes: int
    awaiting_release: int
    held: int
    unclaimed: int
    total: int
    total_bytes: int
    oldest_age_s: int


class Spool:
    """The durable queue of one unit. Safe to call from several threads; every method blocks on the disk."""

    def __init__(
        self,
        directory: Path,
        store_key: bytes,
        clock: Clock,
        bytes_max: int,
        packets_max: int,
        *,
        disk: Disk | None = None,
        observe: Observer = unobserved,
    ) -> None:
        """directory: made if missing (its parent exists); bytes_max, packets_max: the high-water mark."""
        self._directory = directory
        self._store_key = store_key
        self._clock = clock
        self._bytes_max = bytes_max
        self._packets_max = packets_max
        self._disk = disk or Disk()
        self._observe = observe
        self._lock = threading.RLock()
        for folder in (directory, self._packets, self._unclaimed):
            self._disk.make_folder(folder, SyncSite.SPOOL_ROOT)
        self._database = self._open_database()
        self._recover()

    def refuses(self) -> str | None:
        """Why no new capture may start, to be shown before it does; None while there is room."""
        counts = self.counts()
        if counts.total >= self._packets_max:
            return f"The spool holds {counts.total} packets. Connect this unit, or collect its packets by media."
        if counts.total_bytes >= self._bytes_max:
            return f"The spool holds {counts.total_bytes} bytes. Connect this unit, or collect its packets by media."
        if self._disk.free_bytes(self._directory) < RESERVE_BYTES:
            return "The unit's disk is nearly full. Connect this unit, or ask a technician to make room."
        return None

    def put(self, sealed: bytes, *, kind: str, subject_id: str) -> str:
        """Keep a sealed packet durably and return its pid; the same bytes again change nothing. Raises DeviceError."""
        if not 0 < len(sealed) <= SEALED_BYTES_MAX:
            raise RemoteError(f"A sealed packet has 1 to {SEALED_BYTES_MAX} bytes, not {len(sealed)}.")
        pid = pid_of(sealed)
        label = lock(encode(Label(kind=kind, subject_id=subject_id)), self._store_key, pid.encode())
        with self._lock:
            if self._find(pid) is not None:
                return pid
            path = self._path(pid)
            draft = self._disk.write_draft(path, sealed, SyncSite.SPOOL_FILE)
            self._observe(Step.SPOOL_FILE_WRITTEN, pid)
            self._disk.publish_draft(draft, path, SyncSite.SPOOL_NAME)
            self._observe(Step.SPOOL_FILE_DURABLE, pid)
            state = advance(PacketState.SEALED, PacketEvent.SPOOLED)
            with self._transaction() as database:
                database.execute(
                    "INSERT INTO packet (pid, state, length, spooled_ms, label) VALUES (?, ?, ?, ?, ?)",
                    (pid, state.value, len(sealed), self._clock.wall_ms(), label),
                )
            self._observe(Step.SPOOL_ROW_DURABLE, pid)
        return pid

    def pending(self) -> list[SpooledPacket]:
        """Packets without a receipt that are not held, oldest first."""
        return self._select("state IN (?, ?) AND held_reason = ''", PacketState.QUEUED, PacketState.SENT)

    def awaiting_release(self) -> list[SpooledPacket]:
        """Packets that the hub has stored but not yet freed, oldest first."""
        return self._select("state = ?", PacketState.RECEIPTED)

    def held(self) -> list[SpooledPacket]:
        """Packets set aside after repeated failures, oldest first."""
        return self._select("held_reason != ''")

    def all(self) -> list[SpooledPacket]:
        """Everything that the spool keeps, oldest first."""
        return self._select("1 = 1")

    def find(self, pid: str) -> SpooledPacket | None:
        """The packet with this pid, or None."""
        with self._lock:
            return self._find(pid)

    def label(self, pid: str) -> Label:
        """What a packet is about. Raises RemoteError for an unknown pid, or where the store key is another one."""
        with self._lock:
            rows = self._query("SELECT label FROM packet WHERE pid = ?", pid)
        if not rows:
            raise RemoteError("The spool has no such packet.")
        return decode_kept(Label, unlock(rows[0][0], self._store_key, pid.encode()), LABEL_BYTES_MAX)

    def read(self, pid: str) -> bytes:
        """The sealed bytes. Raises DeviceError where the file is gone or damaged."""
        try:
            sealed = self._path(checked_pid(pid)).read_bytes()
        except OSError as error:
            raise _damaged(pid, error.strerror or "unreadable") from None
        if pid_of(sealed) != pid:
            raise _damaged(pid, "its bytes have changed")
        return sealed

    def mark_sent(self, pid: str) -> SpooledPacket | None:
        """All chunks were handed to the broker."""
        return self._advance(pid, PacketEvent.SENT_COMPLETELY)

    def mark_asked_again(self, pid: str) -> SpooledPacket | None:
        """The hub needs chunks of a packet that was sent."""
        return self._advance(pid, PacketEvent.ASKED_AGAIN)

    def accept_receipt(self, receipt: Receipt) -> SpooledPacket | None:
        """Record a verified receipt. The same one again changes nothing; one for nothing of ours gives None.

        Raises RemoteError where the receipt's length is not the packet's.
        """
        with self._lock:
            packet = self._find(receipt.pid)
            if packet is None:
                return None
            if packet.length != receipt.length:
                raise RemoteError("The receipt is for a packet of another length.")
            if packet.state is PacketState.PURGEABLE:
                return packet
            if packet.state is PacketState.RECEIPTED and not receipt.disposition.frees:
                return packet
            event = PacketEvent.RECEIPT_FREES if receipt.disposition.frees else PacketEvent.RECEIPT_STORED
            with self._transaction() as database:
                database.execute(
                    "UPDATE packet SET state = ?, hub_sequence = ?, held_reason = '' WHERE pid = ?",
                    (advance(packet.state, event).value, receipt.hub_sequence, receipt.pid),
                )
            self._observe(Step.RECEIPT_RECORDED, receipt.pid)
            return self._find(receipt.pid)

    def hold(self, pid: str, reason: str) -> None:
        """Set a packet aside: it stays, is counted and shown, and lets the next one pass."""
        with self._lock, self._transaction() as database:
            database.execute("UPDATE packet SET held_reason = ? WHERE pid = ?", (reason[:200] or "held", pid))
        log.warning("packet held", pid=pid, reason=reason)

    def release_held(self) -> int:
        """Offer everything that was set aside again; returns how many."""
        with self._lock, self._transaction() as database:
            return database.execute("UPDATE packet SET held_reason = '' WHERE held_reason != ''").rowcount

    def purge(self) -> int:
        """Delete what the hub has freed, and only that; returns how many. The file goes first, then its row."""
        purged = 0
        with self._lock:
            for packet in self._select("state = ?", PacketState.PURGEABLE):
                self._disk.remove(self._path(packet.pid), SyncSite.SPOOL_REMOVAL)
                self._observe(Step.FILE_PURGED, packet.pid)
                with self._transaction() as database:
                    database.execute(
                        "DELETE FROM packet WHERE pid = ? AND state = ?", (packet.pid, PacketState.PURGEABLE.value)
                    )
                self._observe(Step.ROW_PURGED, packet.pid)
                purged += 1
        return purged

    def counts(self) -> SpoolCounts:
        """Numbers and ages for the panel and for the high-water mark."""
        packets = self.all()
        waiting = [packet for packet in packets if packet.state in (PacketState.QUEUED, PacketState.SENT)]
        oldest_ms = min((packet.spooled_ms for packet in waiting), default=self._clock.wall_ms())
        return SpoolCounts(
            pending=len(waiting),
            pending_bytes=sum(packet.length for packet in waiting),
            awaiting_release=sum(packet.state is PacketState.RECEIPTED for packet in packets),
            held=sum(bool(packet.held_reason) for packet in packets),
            unclaimed=sum(1 for _ in self._unclaimed.iterdir()),
            total=len(packets),
            total_bytes=sum(packet.length for packet in packets),
            oldest_age_s=max(0, self._clock.wall_ms() - oldest_ms) // 1000,
        )

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    @property
    def _packets(self) -> Path:
        return self._directory / "packets"

    @property
    def _unclaimed(self) -> Path:
        return self._directory / "unclaimed"

    def _path(self, pid: str) -> Path:
        return self._packets / pid

    def _open_database(self) -> sqlite3.Connection:
        path = self._directory / "spool.db"
        try:
            database = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=64
            )
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"PRAGMA synchronous = {self._disk.synchronous(SyncSite.SPOOL_DATABASE)}")
            database.execute("PRAGMA secure_delete = ON")
            database.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise DeviceError(
                f"The spool's database cannot be opened ({error}).",
                next_step="Do not delete it: collect the unit's packets by media, then call the technician.",
            ) from None
        path.chmod(0o600)
        return database

    def _recover(self) -> None:
        """After a start: drafts go, files whose row never became durable are set aside, rows must have their file."""
        known = {packet.pid for packet in self.all()}
        for path in self._packets.iterdir():
            if path.name.endswith(DRAFT_SUFFIX):
                path.unlink()
            elif path.name not in known:
                # Their capture was never acknowledged, so it did not happen (M14); yet nothing unsent is deleted.
                path.rename(self._unclaimed / path.name)
                log.warning("file without a row set aside", pid=path.name)
        for packet in self.pending():
            if not self._path(packet.pid).exists():
                self.hold(packet.pid, "The packet's file is missing.")

    def _select(self, condition: str, *states: PacketState) -> list[SpooledPacket]:
        statement = f"SELECT {_COLUMNS} FROM packet WHERE {condition} ORDER BY number"  # noqa: S608 - fixed conditions
        with self._lock:
            rows = self._query(statement, *(state.value for state in states))
        return [SpooledPacket(pid, PacketState(state), *rest) for pid, state, *rest in rows]

    def _find(self, pid: str) -> SpooledPacket | None:
        rows = self._query(f"SELECT {_COLUMNS} FROM packet WHERE pid = ?", pid)  # noqa: S608 - fixed columns
        return SpooledPacket(rows[0][0], PacketState(rows[0][1]), *rows[0][2:]) if rows else None

    def _query(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise DeviceError(
                f"The spool's database cannot be read ({error}).",
                next_step="Restart the unit; if that does not help, collect its packets by media.",
            ) from None

    def _advance(self, pid: str, event: PacketEvent) -> SpooledPacket | None:
        with self._lock:
            packet = self._find(pid)
            if packet is None:
                return None
            following = advance(packet.state, event)
            with self._transaction() as database:
                database.execute("UPDATE packet SET state = ? WHERE pid = ?", (following.value, pid))
            return self._find(pid)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield self._database
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise DeviceError(
                f"The spool's database does not take a row ({error}).",
                next_step="Make room on the unit's disk or replace it; nothing that was acknowledged is lost.",
            ) from None
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")


def _damaged(pid: str, problem: str) -> DeviceError:
    return DeviceError(
        f"Packet {pid[:12]}… cannot be read from the spool: {problem}.",
        next_step="The packet is set aside. Tell the technician; the disk may be failing.",
    )
