"""Operators' rights: enrolments, leases, rosters as they were said, sign-ons, and a history of it all."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
HISTORY = "operator_history"


def upgrade() -> None:
    """Apply."""
    op.add_column("site", sa.Column("sign_on", sa.String(length=200), nullable=False, server_default="finger"))
    op.add_column("operator", sa.Column("second_factor", sa.LargeBinary(), nullable=True))
    op.add_column("operator", sa.Column("approved_ms", sa.BigInteger(), nullable=True))
    _create_history()
    _create_enrolment()
    _create_lease()
    _create_roster()
    _create_sign_on()
    head = sa.table("chain_head", sa.column("name"), sa.column("length"), sa.column("sha256"))
    op.bulk_insert(head, [{"name": HISTORY, "length": 0, "sha256": bytes(32)}])
    _protect_history()


def _create_history() -> None:
    op.create_table(
        HISTORY,
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("event", sa.String(length=200), nullable=False),
        sa.Column("from_state", sa.String(length=200), nullable=False),
        sa.Column("to_state", sa.String(length=200), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("previous_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
    )
    op.create_index(op.f("ix_operator_history_subject"), HISTORY, ["subject"], unique=False)


def _create_enrolment() -> None:
    op.create_table(
        "operator_enrolment",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("operator", sa.String(length=200), nullable=False),
        sa.Column("unit", sa.String(length=200), nullable=False),
        sa.Column("site", sa.String(length=200), nullable=False),
        sa.Column("enrolled_by", sa.String(length=200), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("similar", sa.Text(), nullable=False),
        sa.Column("warning", sa.String(length=200), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=200), nullable=False),
        sa.Column("decided_by", sa.String(length=200), nullable=True),
        sa.Column("decided_ms", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint("decided_by IS NULL OR decided_by <> enrolled_by", name="enrolled_by_another"),
        sa.CheckConstraint("decided_by IS NULL OR decided_by <> operator", name="nobody_approves_themselves"),
        sa.ForeignKeyConstraint(["unit"], ["unit.id"]),
        sa.ForeignKeyConstraint(["site"], ["site.code"]),
        sa.ForeignKeyConstraint(["enrolled_by"], ["operator.id"]),
        sa.ForeignKeyConstraint(["decided_by"], ["operator.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_operator_enrolment_operator"), "operator_enrolment", ["operator"], unique=False)
    op.create_index(op.f("ix_operator_enrolment_state"), "operator_enrolment", ["state"], unique=False)


def _create_lease() -> None:
    op.create_table(
        "operator_lease",
        sa.Column("operator", sa.String(length=200), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("roles", sa.String(length=200), nullable=False),
        sa.Column("sites", sa.Text(), nullable=False),
        sa.Column("key_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["operator"], ["operator.id"]),
        sa.PrimaryKeyConstraint("operator"),
    )


def _create_roster() -> None:
    op.create_table(
        "unit_roster",
        sa.Column("unit", sa.String(length=200), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("sign_on", sa.String(length=200), nullable=False),
        sa.Column("entries", sa.Text(), nullable=False),
        sa.Column("base", sa.BigInteger(), nullable=False),
        sa.Column("base_entries", sa.Text(), nullable=False),
        sa.Column("touched", sa.Text(), nullable=False),
        sa.Column("whole_said_ms", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("held_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["unit"], ["unit.id"]),
        sa.PrimaryKeyConstraint("unit"),
    )


def _create_sign_on() -> None:
    op.create_table(
        "sign_on",
        sa.Column("unit", sa.String(length=200), nullable=False),
        sa.Column("operator", sa.String(length=200), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("signed_on", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("locked", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["unit"], ["unit.id"]),
        sa.PrimaryKeyConstraint("unit", "operator"),
    )


def _protect_history() -> None:
    """Refuse every change of a written row; the function was made with the first histories."""
    if op.get_bind().dialect.name == "sqlite":
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {HISTORY}_no_{action.lower()} BEFORE {action} ON {HISTORY} "
                f"BEGIN SELECT RAISE(ABORT, '{HISTORY} is append-only'); END"
            )
        return
    op.execute(
        f"CREATE TRIGGER {HISTORY}_no_change BEFORE UPDATE OR DELETE ON {HISTORY} "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        f"CREATE TRIGGER {HISTORY}_no_truncate BEFORE TRUNCATE ON {HISTORY} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
