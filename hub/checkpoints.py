"""The hub's signed clock: a chain of checkpoints, each published to every unit (M28)."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract import topics
from contract.checkpoint import Checkpoint, sign_checkpoint
from hub import outbox
from hub.context import HubContext
from hub.schema.tables import Checkpoint as CheckpointRow
from hub.schema.tables import Unit


def tick(session: Session, context: HubContext) -> Checkpoint:
    """Make the next checkpoint and queue it for every unit."""
    now = context.clock.wall_ms()
    row = session.scalars(select(CheckpointRow).order_by(CheckpointRow.sequence.desc()).limit(1)).first()
    if row is None:
        checkpoint = Checkpoint(sequence=1, time_ms=now)
    else:
        known = Checkpoint(sequence=row.sequence, time_ms=row.time_ms, previous_sha256=row.previous_sha256)
        checkpoint = known.following(now)
    signed = sign_checkpoint(checkpoint, context.keys.statement)
    session.add(
        CheckpointRow(
            sequence=checkpoint.sequence,
            time_ms=checkpoint.time_ms,
            previous_sha256=checkpoint.previous_sha256,
            sha256=checkpoint.digest(),
            signed=signed,
        )
    )
    outbox.post_to_each(session, topics.DN_CHECKPOINT, signed, now, session.scalars(select(Unit.id)).all())
    session.flush()
    return checkpoint
