"""Cases, proposals, print orders and cards; triggers that keep every history as it was written."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
APPEND_ONLY = ("record_history", "card_history", "blank_movement", "checkpoint")
CHAINS = ("record_history", "card_history")


def upgrade() -> None:
    """Apply."""
    _create_adjudication_case()
    _create_card_history()
    _create_blank_movement()
    _create_case_candidate()
    _create_case_decision()
    _create_proposal()
    _create_print_order()
    _create_card()
    _begin_chains()
    _protect_histories()


def _begin_chains() -> None:
    head = sa.table("chain_head", sa.column("name"), sa.column("length"), sa.column("sha256"))
    op.bulk_insert(head, [{"name": name, "length": 0, "sha256": bytes(32)} for name in CHAINS])


def _protect_histories() -> None:
    """Refuse every change of a written row, whoever asks."""
    if op.get_bind().dialect.name == "sqlite":
        for table in APPEND_ONLY:
            for action in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
        return
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def _create_adjudication_case() -> None:
    op.create_table(
        "adjudication_case",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("capture_id", sa.String(length=200), nullable=False),
        sa.Column("cause", sa.String(length=200), nullable=False),
        sa.Column("opened_ms", sa.BigInteger(), nullable=False),
        sa.Column("decided_ms", sa.BigInteger(), nullable=True),
        sa.Column("verdict", sa.String(length=200), nullable=False),
        sa.Column("same_as", sa.String(length=200), nullable=True),
        sa.Column("first", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_adjudication_case_capture_id"), "adjudication_case", ["capture_id"], unique=False)


def _create_card_history() -> None:
    op.create_table(
        "card_history",
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
    op.create_index(op.f("ix_card_history_subject"), "card_history", ["subject"], unique=False)


def _create_blank_movement() -> None:
    op.create_table(
        "blank_movement",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("place", sa.String(length=200), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.String(length=200), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["place"],
            ["site.code"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_blank_movement_place"), "blank_movement", ["place"], unique=False)


def _create_case_candidate() -> None:
    op.create_table(
        "case_candidate",
        sa.Column("case_id", sa.String(length=200), nullable=False),
        sa.Column("capture_id", sa.String(length=200), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["adjudication_case.id"],
        ),
        sa.PrimaryKeyConstraint("case_id", "capture_id"),
    )


def _create_case_decision() -> None:
    op.create_table(
        "case_decision",
        sa.Column("case_id", sa.String(length=200), nullable=False),
        sa.Column("adjudicator", sa.String(length=200), nullable=False),
        sa.Column("claimed_ms", sa.BigInteger(), nullable=False),
        sa.Column("decided_ms", sa.BigInteger(), nullable=True),
        sa.Column("verdict", sa.String(length=200), nullable=False),
        sa.Column("same_as", sa.String(length=200), nullable=True),
        sa.Column("first", sa.String(length=200), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["adjudicator"],
            ["operator.id"],
        ),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["adjudication_case.id"],
        ),
        sa.PrimaryKeyConstraint("case_id", "adjudicator"),
    )


def _create_proposal() -> None:
    op.create_table(
        "proposal",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=200), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("proposed_by", sa.String(length=200), nullable=False),
        sa.Column("proposed_ms", sa.BigInteger(), nullable=False),
        sa.Column("decided_by", sa.String(length=200), nullable=True),
        sa.Column("decided_ms", sa.BigInteger(), nullable=True),
        sa.Column("confirmed", sa.Boolean(), nullable=True),
        sa.CheckConstraint("decided_by IS NULL OR decided_by <> proposed_by", name="two_persons"),
        sa.ForeignKeyConstraint(
            ["decided_by"],
            ["operator.id"],
        ),
        sa.ForeignKeyConstraint(
            ["proposed_by"],
            ["operator.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_proposal_subject"), "proposal", ["subject"], unique=False)


def _create_print_order() -> None:
    op.create_table(
        "print_order",
        sa.Column("job_id", sa.String(length=200), nullable=False),
        sa.Column("capture_id", sa.String(length=200), nullable=False),
        sa.Column("card_number", sa.String(length=200), nullable=False),
        sa.Column("station", sa.String(length=200), nullable=False),
        sa.Column("desk", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=200), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("attestation", sa.LargeBinary(), nullable=False),
        sa.Column("job", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["capture_id"],
            ["record.capture_id"],
        ),
        sa.ForeignKeyConstraint(
            ["station"],
            ["unit.id"],
        ),
        sa.PrimaryKeyConstraint("job_id"),
        sa.UniqueConstraint("card_number"),
    )
    op.create_index(op.f("ix_print_order_capture_id"), "print_order", ["capture_id"], unique=False)


def _create_card() -> None:
    op.create_table(
        "card",
        sa.Column("card_uid", sa.String(length=200), nullable=False),
        sa.Column("card_number", sa.String(length=200), nullable=False),
        sa.Column("capture_id", sa.String(length=200), nullable=False),
        sa.Column("nik_digest", sa.String(length=200), nullable=False),
        sa.Column("job_id", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=200), nullable=False),
        sa.Column("made_at", sa.String(length=200), nullable=False),
        sa.Column("place", sa.String(length=200), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("recalled", sa.Boolean(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["print_order.job_id"],
        ),
        sa.ForeignKeyConstraint(
            ["made_at"],
            ["site.code"],
        ),
        sa.ForeignKeyConstraint(
            ["place"],
            ["site.code"],
        ),
        sa.PrimaryKeyConstraint("card_uid"),
    )
    op.create_index(op.f("ix_card_capture_id"), "card", ["capture_id"], unique=False)
    op.create_index(op.f("ix_card_made_at"), "card", ["made_at"], unique=False)
    op.create_index(op.f("ix_card_state"), "card", ["state"], unique=False)
    op.create_index(
        "one_live_card",
        "card",
        ["nik_digest"],
        unique=True,
        sqlite_where=sa.text("live"),
        postgresql_where=sa.text("live"),
    )
