"""Queue numbers of one unit (M9, M41): per calendar day and service, durable before they are printed, never twice.

The day is that of the office's own time zone. A clock that is set back goes on where that day had ended. Units of one
site that both hand out numbers have different prefixes. A number names nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import Field

from contract.clock import Clock
from contract.dispatch import decode_kept, encode
from contract.errors import TransientError
from contract.packet import Millis, Model, Name
from edge.sealed_store import Change, SealedStore

KIND, HIGHEST = "queue", "queue-highest"
ENTRY_BYTES_MAX = 512
NUMBER_MAX = 9999
DAYS_KEPT = 7


class QueueEntry(Model):
    """One number that was handed out. called_ms: 0 while it waits."""

    day: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    prefix: Name
    ordinal: Annotated[int, Field(ge=1, le=NUMBER_MAX)]
    service: Name
    issued_ms: Millis
    called_ms: Millis = 0

    @property
    def number(self) -> str:
        """As it is printed and called."""
        return f"{self.prefix}-{self.ordinal:03d}"

    @property
    def key(self) -> str:
        """Its name in the store."""
        return f"{self.day}/{self.number}"


class _Highest(Model):
    """The highest number of a day and prefix; kept when the numbers themselves are cleared away."""

    ordinal: Annotated[int, Field(ge=0, le=NUMBER_MAX)]


class QueueNumbers:
    """The queue of this unit. Blocks on the disk: call it off the event loop, one call at a time."""

    def __init__(
        self, store: SealedStore, clock: Clock, prefixes: Mapping[str, str], day: Callable[[int], str]
    ) -> None:
        """prefixes: of each service; day: the calendar day of a wall time."""
        self._store, self._clock, self._prefixes, self._day = store, clock, dict(prefixes), day
        self._highest = {
            name: decode_kept(_Highest, value, ENTRY_BYTES_MAX).ordinal for name, value in store.items(HIGHEST)
        }
        self._entries = {name: decode_kept(QueueEntry, value, ENTRY_BYTES_MAX) for name, value in store.items(KIND)}

    @property
    def services(self) -> tuple[str, ...]:
        """What numbers are handed out for."""
        return tuple(self._prefixes)

    def issue(self, service: str) -> QueueEntry:
        """The next number of a service, durable when it returns. Raises TransientError when the day has no more."""
        now_ms = self._clock.wall_ms()
        day, prefix = self._day(now_ms), self._prefixes[service]
        ordinal = self._highest.get(f"{day}/{prefix}", 0) + 1
        if ordinal > NUMBER_MAX:
            raise TransientError("No more numbers today.", next_step="Serve people in the order in which they stand.")
        entry = QueueEntry(day=day, prefix=prefix, ordinal=ordinal, service=service, issued_ms=now_ms)
        self._store.change(
            (
                Change(HIGHEST, f"{day}/{prefix}", encode(_Highest(ordinal=ordinal))),
                Change(KIND, entry.key, encode(entry)),
                *(Change(KIND, old.key, None) for old in self._outdated(day)),
            )
        )
        self._highest[f"{day}/{prefix}"] = ordinal
        for old in self._outdated(day):
            del self._entries[old.key]
        self._entries[entry.key] = entry
        return entry

    def waiting(self, service: str = "") -> list[QueueEntry]:
        """Today's numbers that were not called yet, in their order."""
        return [entry for entry in self._today(service) if not entry.called_ms]

    def last_called(self) -> list[QueueEntry]:
        """Today's called numbers, the latest first."""
        called = [entry for entry in self._today() if entry.called_ms]
        return sorted(called, key=lambda entry: entry.called_ms, reverse=True)

    def call(self, service: str = "") -> QueueEntry | None:
        """Call the next number, of one service or of all; None where nobody waits."""
        waiting = self.waiting(service)
        if not waiting:
            return None
        called = waiting[0].model_copy(update={"called_ms": max(1, self._clock.wall_ms())})
        self._store.put(KIND, called.key, encode(called))
        self._entries[called.key] = called
        return called

    def find(self, number: str) -> QueueEntry | None:
        """One of today's numbers."""
        return next((entry for entry in self._today() if entry.number == number), None)

    def ahead_of(self, entry: QueueEntry) -> int:
        """How many wait before it."""
        return sum(
            other.issued_ms <= entry.issued_ms and other.key != entry.key for other in self.waiting(entry.service)
        )

    def _today(self, service: str = "") -> list[QueueEntry]:
        day = self._day(self._clock.wall_ms())
        # A copy: a number may be handed out on another thread meanwhile.
        found = [e for e in list(self._entries.values()) if e.day == day and service in ("", e.service)]
        return sorted(found, key=lambda entry: (entry.issued_ms, entry.prefix, entry.ordinal))

    def _outdated(self, day: str) -> list[QueueEntry]:
        days = sorted({entry.day for entry in self._entries.values()} | {day})[-DAYS_KEPT:]
        return [entry for entry in self._entries.values() if entry.day not in days]
