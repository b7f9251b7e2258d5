"""What units report of their boxes in a table of its own: found by its id, dropped a while after somebody saw it."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
ALARM = "alarm "


def upgrade() -> None:
    """Apply. What stands in the units' histories is entered as not yet seen: nobody could say that it was."""
    table = op.create_table(
        "alarm",
        sa.Column("unit", sa.String(length=200), nullable=False),
        sa.Column("alarm_id", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=200), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("unit_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("heard_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_by", sa.String(length=200), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["unit"], ["unit.id"]),
        sa.PrimaryKeyConstraint("unit", "alarm_id"),
    )
    op.create_index(op.f("ix_alarm_heard_ms"), "alarm", ["heard_ms"], unique=False)
    op.create_index(op.f("ix_alarm_seen_ms"), "alarm", ["seen_ms"], unique=False)
    history = sa.table("unit_history", *map(sa.column, ("subject", "event", "at_ms", "note")))
    known = op.get_bind().execute(
        sa.select(history.c.subject, history.c.event, history.c.at_ms, history.c.note).where(
            history.c.event.startswith(ALARM)
        )
    )
    rows = {
        (subject, json.loads(note)["alarm_id"]): (event, at_ms, json.loads(note))
        for subject, event, at_ms, note in known
    }
    if rows:
        op.bulk_insert(
            table,
            [
                {
                    "unit": unit, "alarm_id": alarm_id, "kind": event.removeprefix(ALARM), "source": note["source"],
                    "detail": note["detail"], "unit_at_ms": note["unit_at_ms"], "heard_ms": at_ms, "seen_by": "",
                    "seen_ms": None,
                }
                for (unit, alarm_id), (event, at_ms, note) in rows.items()
            ],
        )  # fmt: skip
