"""The table of evaluations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r002"
down_revision = "r001"
branch_labels = depends_on = None


def upgrade() -> None:
    """Make it."""
    op.create_table(
        "evaluations",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("scores", sa.Text(), nullable=False),
        sa.Column("questions", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Float(53), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("dollars", sa.Float(53), nullable=True),
    )
    op.create_index("evaluations_by_time", "evaluations", ["tenant", "at", "id"])


def downgrade() -> None:
    """Take it away."""
    op.drop_table("evaluations")
