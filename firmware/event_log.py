"""Events that the host must learn of, kept in flash until it says that it has journaled them.

One file: a header {log id, first number}, then one record an event, each with a checksum, so that a record torn by a
power cut ends the log and spoils nothing. Numbers grow by one and are never used twice within a log id, so that the
host can tell a repeat; a record's place follows from its number, and nothing of the log lies in memory. A full log
counts what it could not take and says so once there is room.
"""

import os
import struct
from binascii import crc32

from firmware.dictionary import AGE_UNKNOWN_S, EVENT_LAYOUT, EVENTS_MISSED
from firmware.flash import exists, remove

FILE = "events.log"
PENDING_MAX = 64
FILE_RECORDS_MAX = 128
MAGIC = b"RKE1"
HEADER_LAYOUT = "<4sII"
HEADER_BYTES = 16  # with its checksum
RECORD_LAYOUT = "<IIBHI"  # number, boot, event, detail, uptime in s
RECORD_BYTES = 19  # with its checksum


class EventLog:
    """The log. boot: the number of this start, to tell what is of an earlier one. fresh_id: for a new log."""

    def __init__(self, boot: int, fresh_id: int) -> None:
        self.log_id = fresh_id
        self.missed = 0
        self._boot = boot
        self._first = 1  # the number of the file's first record
        self._next = 1
        self._kept = 0  # the host has every event up to this number
        if exists(FILE):
            self._load()
        else:
            self._rewrite()

    def _load(self) -> None:
        with open(FILE, "rb") as file:
            header = _whole(file.read(HEADER_BYTES))
            if header is not None and header[:4] == MAGIC:
                _, self.log_id, self._first = struct.unpack(HEADER_LAYOUT, header)
                self._next = self._first
                data = file.read(RECORD_BYTES)
                while _whole(data) is not None and struct.unpack("<I", data[:4])[0] == self._next:
                    self._next += 1
                    data = file.read(RECORD_BYTES)
                if not data:
                    self._kept = max(self._first, self._next - PENDING_MAX) - 1
                    return
        self._kept = max(self._first, self._next - PENDING_MAX) - 1
        self._rewrite()  # torn or damaged: what followed would stand behind it

    def add(self, event: int, detail: int, now_ms: int) -> None:
        """Keep an event. Raises OSError where the flash does not take it."""
        if self._next - 1 - self._kept >= PENDING_MAX:
            self.missed += 1
            return
        if self._next - self._first >= FILE_RECORDS_MAX:
            self._rewrite()
        record = struct.pack(RECORD_LAYOUT, self._next, self._boot, event, detail & 0xFFFF, now_ms // 1000)
        with open(FILE, "ab") as file:
            file.write(_summed(record))
        self._next += 1

    def after(self, number: int, now_ms: int) -> tuple[int, bytes] | None:
        """The first event behind `number` that the host may lack, as (its number, the message's body), or None."""
        number = max(number, self._kept) + 1
        record = self._record(number) if number < self._next else None
        if record is None:
            return None
        _, boot, event, detail, at_s = struct.unpack(RECORD_LAYOUT, record)
        age_s = now_ms // 1000 - at_s if boot == self._boot else AGE_UNKNOWN_S
        return number, struct.pack(EVENT_LAYOUT, self.log_id, number, event, detail, age_s)

    def _record(self, number: int) -> bytes | None:
        try:
            with open(FILE, "rb") as file:
                file.seek(HEADER_BYTES + (number - self._first) * RECORD_BYTES)
                return _whole(file.read(RECORD_BYTES))
        except OSError:
            return None

    def forget(self, log_id: int, number: int, now_ms: int) -> None:
        """The host has every event of this log up to `number`. Raises OSError."""
        if log_id != self.log_id or not self._kept < number < self._next:
            return
        self._kept = number
        if self._kept == self._next - 1 and self._next - self._first > PENDING_MAX:
            self._rewrite()
        if self.missed:
            missed, self.missed = self.missed, 0
            self.add(EVENTS_MISSED, min(missed, 0xFFFF), now_ms)

    def erase(self, fresh_id: int) -> None:
        """Start a new log under another id. Raises OSError."""
        remove(FILE)
        self.log_id, self.missed = fresh_id, 0
        self._first = self._next = 1
        self._kept = 0
        self._rewrite()

    def _rewrite(self) -> None:
        """Write the log anew with what the host lacks; the old file stands until the new one is whole."""
        first = self._kept + 1
        with open(FILE + ".new", "wb") as file:
            file.write(_summed(struct.pack(HEADER_LAYOUT, MAGIC, self.log_id, first)))
            for number in range(first, self._next):
                file.write(_summed(self._record(number) or bytes(RECORD_BYTES - 4)))
        os.rename(FILE + ".new", FILE)
        self._first = first


def _summed(content: bytes) -> bytes:
    return content + struct.pack("<I", crc32(content))


def _whole(data: bytes) -> bytes | None:
    if len(data) < 5 or struct.unpack("<I", data[-4:])[0] != crc32(data[:-4]):
        return None
    return data[:-4]
