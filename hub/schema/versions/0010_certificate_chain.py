"""Which certificate each was asked for with: a superseded one is followed only while its successor is unused."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Apply. Of what was issued before nobody knows what it followed; the certificate in use is followed as ever."""
    op.add_column("certificate", sa.Column("follows", sa.String(length=200), nullable=False, server_default=""))
