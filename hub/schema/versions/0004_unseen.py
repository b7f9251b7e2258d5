"""Keep with a declaration of loss what the proof of capture says, so that nothing happens before it is confirmed."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply."""
    op.add_column("proposal", sa.Column("unseen", sa.LargeBinary(), nullable=True))
