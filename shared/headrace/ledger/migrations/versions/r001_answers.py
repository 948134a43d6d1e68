"""The tables of answers and feedback."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r001"
down_revision = None
branch_labels = depends_on = None

TEXTS = ("question", "asked_as", "answer", "passages", "citations", "steps", "nearest", "unsupported")
NAMES = ("tenant", "principal", "mode", "verdict", "finish", "error", "model", "answer_id", "conversation_id")
COUNTS = ("prompt_tokens", "completion_tokens", "judge_tokens", "tokens_spent")


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "answers",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in NAMES),
        *(sa.Column(name, sa.Text(), nullable=False) for name in TEXTS),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in COUNTS),
        sa.Column("is_fallback", sa.Boolean(), nullable=False),
        sa.Column("dollars", sa.Float(53), nullable=True),
        sa.Column("seconds", sa.Float(53), nullable=False),
        sa.Column("first_token_seconds", sa.Float(53), nullable=True),
    )
    op.create_index("answers_by_time", "answers", ["tenant", "at", "id"])
    op.create_index("answers_by_mode", "answers", ["tenant", "mode", "at"])
    op.create_index("answers_by_principal", "answers", ["tenant", "principal"])
    op.create_table(
        "feedback",
        sa.Column("record", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(), primary_key=True),
        sa.Column("principal", sa.String(), primary_key=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("rating", sa.String(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    """Take them away."""
    op.drop_table("feedback")
    op.drop_table("answers")
