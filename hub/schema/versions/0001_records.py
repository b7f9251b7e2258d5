"""Register, fleet, packets, records and what leaves the hub."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply."""
    _create_chain_head()
    _create_checkpoint()
    _create_clock_step()
    _create_operator()
    _create_outbox()
    _create_packet()
    _create_record()
    _create_record_history()
    _create_site()
    _create_receipt()
    _create_resident()
    _create_site_key()
    _create_stale_page()
    _create_template()
    _create_unit()


def _create_chain_head() -> None:
    op.create_table(
        "chain_head",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def _create_checkpoint() -> None:
    op.create_table(
        "checkpoint",
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("previous_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("sha256"),
    )


def _create_clock_step() -> None:
    op.create_table(
        "clock_step",
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("step", sa.String(length=200), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=200), nullable=False),
        sa.Column("capture_id", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("source", "step", "started_ms"),
    )
    op.create_index(op.f("ix_clock_step_capture_id"), "clock_step", ["capture_id"], unique=False)


def _create_operator() -> None:
    op.create_table(
        "operator",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("roles", sa.String(length=200), nullable=False),
        sa.Column("sites", sa.Text(), nullable=False),
        sa.Column("templates", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("private_key", sa.LargeBinary(), nullable=False),
        sa.Column("lease_days", sa.BigInteger(), nullable=False),
        sa.Column("console_secret", sa.String(length=200), nullable=False),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("topic", sa.String(length=200), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("qos", sa.BigInteger(), nullable=False),
        sa.Column("retain", sa.Boolean(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("published_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_outbox_published_ms"), "outbox", ["published_ms"], unique=False)
    op.create_index(op.f("ix_outbox_topic"), "outbox", ["topic"], unique=False)


def _create_packet() -> None:
    op.create_table(
        "packet",
        sa.Column("pid", sa.String(length=200), nullable=False),
        sa.Column("carrier", sa.String(length=200), nullable=False),
        sa.Column("signer", sa.String(length=200), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("settled_ms", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(length=200), nullable=False),
        sa.Column("event_id", sa.String(length=200), nullable=False),
        sa.Column("quarantine", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pid"),
    )
    op.create_index(op.f("ix_packet_event_id"), "packet", ["event_id"], unique=False)
    op.create_index(op.f("ix_packet_settled_ms"), "packet", ["settled_ms"], unique=False)


def _create_record() -> None:
    op.create_table(
        "record",
        sa.Column("capture_id", sa.String(length=200), nullable=False),
        sa.Column("nik_digest", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=200), nullable=False),
        sa.Column("site", sa.String(length=200), nullable=False),
        sa.Column("unit", sa.String(length=200), nullable=False),
        sa.Column("pid", sa.String(length=200), nullable=False),
        sa.Column("boot_id", sa.LargeBinary(), nullable=False),
        sa.Column("monotonic_ms", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("wall_ms", sa.BigInteger(), nullable=False),
        sa.Column("earliest_ms", sa.BigInteger(), nullable=False),
        sa.Column("latest_ms", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("biodata", sa.LargeBinary(), nullable=False),
        sa.Column("failure", sa.String(length=200), nullable=False),
        sa.Column("appeal_of", sa.String(length=200), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("capture_id"),
    )
    op.create_index(op.f("ix_record_nik_digest"), "record", ["nik_digest"], unique=False)
    op.create_index(op.f("ix_record_state"), "record", ["state"], unique=False)


def _create_record_history() -> None:
    op.create_table(
        "record_history",
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
    op.create_index(op.f("ix_record_history_subject"), "record_history", ["subject"], unique=False)


def _create_site() -> None:
    op.create_table(
        "site",
        sa.Column("code", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("region", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("code"),
    )


def _create_receipt() -> None:
    op.create_table(
        "receipt",
        sa.Column(
            "hub_sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("pid", sa.String(length=200), nullable=False),
        sa.Column("unit", sa.String(length=200), nullable=False),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("disposition", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("published", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["pid"],
            ["packet.pid"],
        ),
        sa.PrimaryKeyConstraint("hub_sequence"),
    )
    op.create_index(op.f("ix_receipt_pid"), "receipt", ["pid"], unique=False)
    op.create_index(op.f("ix_receipt_published"), "receipt", ["published"], unique=False)


def _create_resident() -> None:
    op.create_table(
        "resident",
        sa.Column("nik_digest", sa.String(length=200), nullable=False),
        sa.Column("biodata", sa.LargeBinary(), nullable=False),
        sa.Column("site", sa.String(length=200), nullable=False),
        sa.Column("desk", sa.String(length=200), nullable=False),
        sa.Column("page", sa.String(length=200), nullable=False),
        sa.Column("eligible", sa.Boolean(), nullable=False),
        sa.Column("old_card_due", sa.Boolean(), nullable=False),
        sa.Column("papers", sa.Text(), nullable=False),
        sa.Column("standing", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(
            ["site"],
            ["site.code"],
        ),
        sa.PrimaryKeyConstraint("nik_digest"),
    )
    op.create_index(op.f("ix_resident_site"), "resident", ["site"], unique=False)


def _create_site_key() -> None:
    op.create_table(
        "site_key",
        sa.Column("site", sa.String(length=200), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["site"],
            ["site.code"],
        ),
        sa.PrimaryKeyConstraint("site", "epoch"),
    )


def _create_stale_page() -> None:
    op.create_table(
        "stale_page",
        sa.Column("site", sa.String(length=200), nullable=False),
        sa.Column("page", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["site"],
            ["site.code"],
        ),
        sa.PrimaryKeyConstraint("site", "page"),
    )


def _create_template() -> None:
    op.create_table(
        "template",
        sa.Column("capture_id", sa.String(length=200), nullable=False),
        sa.Column("modality", sa.String(length=200), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("impression", sa.BigInteger(), nullable=False),
        sa.Column("extractor", sa.String(length=200), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["capture_id"],
            ["record.capture_id"],
        ),
        sa.PrimaryKeyConstraint("capture_id", "modality", "position", "impression"),
    )


def _create_unit() -> None:
    op.create_table(
        "unit",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("site", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=200), nullable=False),
        sa.Column("sign_public_pem", sa.Text(), nullable=False),
        sa.Column("open_public_pem", sa.Text(), nullable=False),
        sa.Column("presence", sa.Text(), nullable=False),
        sa.Column("uplink", sa.Text(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["site"],
            ["site.code"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
