"""Find the cases in which a capture was a candidate: each step towards a card asks for the verdicts on a capture."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply."""
    op.create_index(op.f("ix_case_candidate_capture_id"), "case_candidate", ["capture_id"], unique=False)
