"""When something happened, as far as this unit can attest it (M28): boot, monotonic time, sequence, checkpoint.

The wall clock of a unit can be set by anybody; the order of what it signed, and the last hub checkpoint it had seen,
cannot. The sequence is durable before it is used, so that no two moments ever carry the same one.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable

from contract.checkpoint import Checkpoint, verify_checkpoint
from contract.clock import Clock
from contract.dispatch import decode, encode
from contract.errors import RemoteError
from contract.packet import Moment
from contract.seal import StatementPublicKey
from edge.sealed_store import SealedStore

KIND = "moment"
BOOT_ID_BYTES = 16


class MomentSource:
    """Makes moments. Thread-safe, and writes to disk: call it off the event loop."""

    def __init__(
        self,
        store: SealedStore,
        clock: Clock,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        heard: Callable[[int], None] = lambda _time_ms: None,
    ) -> None:
        """heard: told the time of each checkpoint that is taken, and of the one that was known."""
        self._store = store
        self._heard = heard
        self._clock = clock
        self._boot_id = random_bytes(BOOT_ID_BYTES)
        self._lock = threading.Lock()
        self._sequence = int.from_bytes(store.get(KIND, "sequence") or b"", "big")
        self._boot = int.from_bytes(store.get(KIND, "boot") or b"", "big") + 1
        store.put(KIND, "boot", self._boot.to_bytes(8, "big"))
        known = store.get(KIND, "checkpoint")
        try:
            self._checkpoint = None if known is None else decode(Checkpoint, known)
        except (
            RemoteError
        ):  # a later release kept one that has more in it, so its digest cannot be told: the next will do
            self._checkpoint = None
        if self._checkpoint is not None:
            heard(self._checkpoint.time_ms)

    @property
    def boot(self) -> int:
        """How many times the agent has started on this unit: tells an older boot's will from this one's."""
        return self._boot

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The newest hub checkpoint that this unit has seen."""
        return self._checkpoint

    def next(self) -> Moment:
        """A moment for now, with a sequence that was never used before and never will be again."""
        with self._lock:
            sequence = self._sequence + 1
            self._store.put(KIND, "sequence", sequence.to_bytes(8, "big"))
            self._sequence = sequence
            return Moment(
                boot_id=self._boot_id,
                monotonic_ms=self._clock.monotonic_ms(),
                sequence=sequence,
                wall_ms=self._clock.wall_ms(),
                checkpoint=self._checkpoint.digest() if self._checkpoint else b"",
            )

    def take_checkpoint(self, signed: bytes, public: StatementPublicKey) -> bool:
        """Keep a checkpoint that the hub published; False where it is no newer. Raises RemoteError for a false one."""
        found = verify_checkpoint(signed, public)
        with self._lock:
            if not found.supersedes(self._checkpoint):
                return False
            self._store.put(KIND, "checkpoint", encode(found))
            self._checkpoint = found
        self._heard(found.time_ms)
        return True
