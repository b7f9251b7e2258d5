"""Orders of technicians that the hub refused, in a history of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
HISTORY = "technician_history"


def upgrade() -> None:
    """Apply."""
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
    op.create_index(op.f("ix_technician_history_subject"), HISTORY, ["subject"], unique=False)
    head = sa.table("chain_head", sa.column("name"), sa.column("length"), sa.column("sha256"))
    op.bulk_insert(head, [{"name": HISTORY, "length": 0, "sha256": bytes(32)}])
    _protect_history()


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
