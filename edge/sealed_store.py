"""Everything a unit keeps at rest besides packets: sealed values in one SQLite file (M17).

Values are locked under the unit's store key, bound to their kind and name, so that a row copied to another place does
not open. Names may be NIKs, so rows are filed under a keyed hash of the name; the name itself is inside the value.
A stolen disk tells how many things of each kind there are, and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contract.errors import DeviceError, RemoteError
from contract.seal import lock, unlock

BUSY_TIMEOUT_S = 10.0
FILE_MODE = 0o600
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sealed (
    kind TEXT NOT NULL, place BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, place)
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Change:
    """One write of a transaction: `value` under (kind, name), or its removal where value is None."""

    kind: str
    name: str
    value: bytes | None


class SealedStore:
    """Named values by kind. Thread-safe; every write is durable when it returns."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._key = key
        self._place_key = hmac.digest(key, b"rekam place", "sha256")
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, FILE_MODE))
            self._rows = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, check_same_thread=False, isolation_level=None)
            self._rows.execute("PRAGMA journal_mode=WAL")
            self._rows.execute("PRAGMA synchronous=FULL")
            self._rows.execute("PRAGMA secure_delete=ON")
            self._rows.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise DeviceError(f"The unit's store {path} cannot be opened: {error}.") from None

    def close(self) -> None:
        """Close the file; may be called twice."""
        with self._lock:
            self._rows.close()

    def put(self, kind: str, name: str, value: bytes) -> None:
        """Keep `value`; one that was there under the same kind and name is replaced."""
        self.change((Change(kind, name, value),))

    def remove(self, kind: str, name: str) -> None:
        """Forget a value; nothing happens where there is none."""
        self.change((Change(kind, name, None),))

    def change(self, changes: Sequence[Change]) -> None:
        """Make all changes, or none of them. Raises DeviceError when the disk does not take them."""
        with self._transaction() as rows:
            for change in changes:
                place = self._place(change.kind, change.name)
                if change.value is None:
                    rows.execute("DELETE FROM sealed WHERE kind = ? AND place = ?", (change.kind, place))
                else:
                    sealed = self._seal(change.kind, place, change.name, change.value)
                    rows.execute("INSERT OR REPLACE INTO sealed VALUES (?, ?, ?)", (change.kind, place, sealed))

    def get(self, kind: str, name: str) -> bytes | None:
        """The value, or None. Raises RemoteError where somebody has altered the file."""
        place = self._place(kind, name)
        with self._reading() as rows:
            row = rows.execute("SELECT value FROM sealed WHERE kind = ? AND place = ?", (kind, place)).fetchone()
        return None if row is None else self._open(kind, place, row[0])[1]

    def items(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """Every (name, value) of a kind. Raises RemoteError where somebody has altered the file."""
        with self._reading() as rows:
            found = rows.execute("SELECT place, value FROM sealed WHERE kind = ?", (kind,)).fetchall()
        for place, sealed in found:
            yield self._open(kind, place, sealed)

    def count(self, kind: str) -> int:
        """How many values of a kind there are."""
        with self._reading() as rows:
            return int(rows.execute("SELECT count(*) FROM sealed WHERE kind = ?", (kind,)).fetchone()[0])

    def _place(self, kind: str, name: str) -> bytes:
        return hmac.digest(self._place_key, f"{kind}\0{name}".encode(), hashlib.sha256)

    def _seal(self, kind: str, place: bytes, name: str, value: bytes) -> bytes:
        label = name.encode()
        return lock(len(label).to_bytes(2, "big") + label + value, self._key, kind.encode() + place)

    def _open(self, kind: str, place: bytes, sealed: bytes) -> tuple[str, bytes]:
        plain = unlock(sealed, self._key, kind.encode() + place)
        length = int.from_bytes(plain[:2], "big")
        name = plain[2 : 2 + length].decode()
        if not hmac.compare_digest(self._place(kind, name), place):
            raise RemoteError(f"A value of kind '{kind}' does not lie where its name belongs.")
        return name, plain[2 + length :]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                yield self._rows
        except sqlite3.Error as error:
            raise DeviceError(
                f"The unit's store cannot be read: {error}.", next_step="Check the unit's disk."
            ) from None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as rows:
            rows.execute("BEGIN IMMEDIATE")
            try:
                yield rows
                rows.execute("COMMIT")
            except BaseException:
                if rows.in_transaction:
                    rows.execute("ROLLBACK")
                raise
