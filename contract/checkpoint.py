"""The hub's signed clock: checkpoints that units build into every moment they sign (M28).

A unit's own clock proves nothing. A capture that carries the hash of checkpoint n happened after n was published; when
the hub receives it, it happened before now. `k/{unit}/dn/checkpoint` is retained, so a unit has the newest one as soon
as it is on-line, and keeps it while it is not.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import Field

from contract.dispatch import decode, encode
from contract.packet import Digest, Millis, Model
from contract.seal import STATEMENT_BYTES_MAX, StatementKey, StatementPublicKey, sign_statement, verify_statement

PURPOSE = "checkpoint"


class Checkpoint(Model):
    """One tick of the hub's clock.

    sequence: counts from 1; time_ms: the hub's wall clock; previous_sha256: digest of the one before, or zeros.
    """

    sequence: Annotated[int, Field(ge=1, le=2**53)]
    time_ms: Millis
    previous_sha256: Digest = bytes(32)

    def digest(self) -> bytes:
        """SHA-256 of the checkpoint's canonical encoding: what `Moment.checkpoint` and the next one carry."""
        return hashlib.sha256(encode(self)).digest()

    def following(self, time_ms: int) -> Checkpoint:
        """The next checkpoint; its time never goes back, whatever the wall clock does."""
        return Checkpoint(sequence=self.sequence + 1, time_ms=max(self.time_ms, time_ms), previous_sha256=self.digest())

    def supersedes(self, known: Checkpoint | None) -> bool:
        """Whether a unit that holds `known` should take this one: later in sequence, never earlier in time."""
        return known is None or (self.sequence > known.sequence and self.time_ms >= known.time_ms)


def sign_checkpoint(checkpoint: Checkpoint, key: StatementKey) -> bytes:
    """The checkpoint as the hub publishes it."""
    return sign_statement(encode(checkpoint), key, PURPOSE)


def verify_checkpoint(signed: bytes, public: StatementPublicKey) -> Checkpoint:
    """A checkpoint from the hub. Raises RemoteError."""
    return decode(Checkpoint, verify_statement(signed, public, PURPOSE), STATEMENT_BYTES_MAX)
