"""The update repository's metadata, rollouts in waves, and what units report of their software."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "update_metadata",
        sa.Column("role", sa.String(length=200), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("encoded", sa.LargeBinary(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("role", "version"),
    )
    _create_rollout()
    _create_rollout_unit()
    op.create_table(
        "unit_update",
        sa.Column("unit", sa.String(length=200), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("heard_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["unit"], ["unit.id"]),
        sa.PrimaryKeyConstraint("unit"),
    )


def _create_rollout() -> None:
    op.create_table(
        "rollout",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("target", sa.String(length=200), nullable=False),
        sa.Column("artefact", sa.String(length=200), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.String(length=200), nullable=False),
        sa.Column("made_by", sa.String(length=200), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=200), nullable=False),
        sa.Column("waves", sa.Text(), nullable=False),
        sa.Column("wave", sa.BigInteger(), nullable=False),
        sa.Column("wave_count", sa.BigInteger(), nullable=False),
        sa.Column("soak_ms", sa.BigInteger(), nullable=False),
        sa.Column("overdue_ms", sa.BigInteger(), nullable=False),
        sa.Column("good_share", sa.Float(), nullable=False),
        sa.Column("stop_share", sa.Float(), nullable=False),
        sa.Column("reached_ms", sa.BigInteger(), nullable=True),
        sa.Column("forgiven", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["made_by"], ["technician.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_rollout_made_ms"), "rollout", ["made_ms"], unique=False)
    op.create_index(op.f("ix_rollout_state"), "rollout", ["state"], unique=False)


def _create_rollout_unit() -> None:
    op.create_table(
        "rollout_unit",
        sa.Column("rollout", sa.String(length=200), nullable=False),
        sa.Column("unit", sa.String(length=200), nullable=False),
        sa.Column("wave", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.String(length=200), nullable=False),
        sa.Column("job", sa.String(length=200), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("problem", sa.String(length=200), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollout.id"]),
        sa.ForeignKeyConstraint(["unit"], ["unit.id"]),
        sa.PrimaryKeyConstraint("rollout", "unit"),
    )
    op.create_index(op.f("ix_rollout_unit_job"), "rollout_unit", ["job"], unique=False)
    op.create_index(op.f("ix_rollout_unit_unit"), "rollout_unit", ["unit"], unique=False)
    op.create_index(
        "one_open_rollout",
        "rollout_unit",
        ["unit"],
        unique=True,
        sqlite_where=sa.text("open = 1"),
        postgresql_where=sa.text("open"),
    )
