"""Technicians, claims, certificates and the history of units, from a sealed box to service and out of it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
HISTORY = "unit_history"


def upgrade() -> None:
    """Apply."""
    _create_unit_history()
    _create_technician()
    _create_technician_order()
    _create_claim()
    _create_commissioning()
    _create_certificate()
    _create_revocation_list()
    _create_unit_setup()
    _begin_chain()
    _protect_history()


def _create_unit_history() -> None:
    op.create_table(
        "unit_history",
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
    op.create_index(op.f("ix_unit_history_subject"), "unit_history", ["subject"], unique=False)


def _create_technician() -> None:
    op.create_table(
        "technician",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["id"],
            ["operator.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )


def _create_technician_order() -> None:
    op.create_table(
        "technician_order",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("technician", sa.String(length=200), nullable=False),
        sa.Column("verb", sa.String(length=200), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.Column("reply", sa.LargeBinary(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["technician"],
            ["technician.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_technician_order_at_ms"), "technician_order", ["at_ms"], unique=False)


def _create_claim() -> None:
    op.create_table(
        "claim",
        sa.Column("nonce", sa.String(length=200), nullable=False),
        sa.Column("serial", sa.String(length=200), nullable=False),
        sa.Column("made_by", sa.String(length=200), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("burned_ms", sa.BigInteger(), nullable=True),
        sa.Column("unit", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(
            ["made_by"],
            ["technician.id"],
        ),
        sa.PrimaryKeyConstraint("nonce"),
    )


def _create_commissioning() -> None:
    op.create_table(
        "commissioning",
        sa.Column("nonce", sa.String(length=200), nullable=False),
        sa.Column("serial", sa.String(length=200), nullable=False),
        sa.Column("key_digest", sa.LargeBinary(), nullable=False),
        sa.Column("knock", sa.LargeBinary(), nullable=False),
        sa.Column("knocked_ms", sa.BigInteger(), nullable=False),
        sa.Column("clock_off_ms", sa.BigInteger(), nullable=False),
        sa.Column("challenge", sa.LargeBinary(), nullable=False),
        sa.Column("problem", sa.String(length=200), nullable=False),
        sa.Column("detail", sa.String(length=200), nullable=False),
        sa.Column("approval", sa.LargeBinary(), nullable=True),
        sa.Column("unit", sa.String(length=200), nullable=True),
        sa.Column("site", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=200), nullable=False),
        sa.Column("replaces", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["nonce"],
            ["claim.nonce"],
        ),
        sa.PrimaryKeyConstraint("nonce"),
    )
    op.create_index(op.f("ix_commissioning_knocked_ms"), "commissioning", ["knocked_ms"], unique=False)
    op.create_index(op.f("ix_commissioning_serial"), "commissioning", ["serial"], unique=False)
    op.create_index(op.f("ix_commissioning_unit"), "commissioning", ["unit"], unique=False)


def _create_certificate() -> None:
    op.create_table(
        "certificate",
        sa.Column("serial", sa.String(length=200), nullable=False),
        sa.Column("holder", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=200), nullable=False),
        sa.Column("encoded", sa.LargeBinary(), nullable=False),
        sa.Column("key_home", sa.String(length=200), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("issued_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("nonce", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("serial"),
    )
    op.create_index(op.f("ix_certificate_holder"), "certificate", ["holder"], unique=False)
    op.create_index(op.f("ix_certificate_nonce"), "certificate", ["nonce"], unique=False)
    op.create_index(op.f("ix_certificate_state"), "certificate", ["state"], unique=False)
    op.create_index(
        "one_active_certificate",
        "certificate",
        ["holder"],
        unique=True,
        sqlite_where=sa.text("state = 'ACTIVE'"),
        postgresql_where=sa.text("state = 'ACTIVE'"),
    )


def _create_revocation_list() -> None:
    op.create_table(
        "revocation_list",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("encoded", sa.LargeBinary(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )


def _create_unit_setup() -> None:
    op.create_table(
        "unit_setup",
        sa.Column("unit", sa.String(length=200), nullable=False),
        sa.Column("serial", sa.String(length=200), nullable=False),
        sa.Column("replaces", sa.String(length=200), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("tables", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("reported", sa.Text(), nullable=False),
        sa.Column("selftest", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["unit"],
            ["unit.id"],
        ),
        sa.PrimaryKeyConstraint("unit"),
    )
    op.create_index(op.f("ix_unit_setup_serial"), "unit_setup", ["serial"], unique=False)


def _begin_chain() -> None:
    head = sa.table("chain_head", sa.column("name"), sa.column("length"), sa.column("sha256"))
    op.bulk_insert(head, [{"name": HISTORY, "length": 0, "sha256": bytes(32)}])


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
