"""The ledger's tables, as SQLModel has them. Text, numbers and no foreign keys: SQLite, Postgres and Aurora DSQL take them alike.

A change here needs a migration: `migrations/versions`.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Text
from sqlmodel import Field, SQLModel


class AnswerRow(SQLModel, table=True):
    """One AnswerRecord. Lists are JSON; `day` is the UTC day of `at`, for sums by day; `principal` is whose conversations they are."""

    __tablename__ = "answers"
    __table_args__ = (
        Index("answers_by_time", "tenant", "at", "id"),
        Index("answers_by_mode", "tenant", "mode", "at"),
        Index("answers_by_principal", "tenant", "principal"),
    )

    id: str = Field(primary_key=True, max_length=64)
    tenant: str
    principal: str
    at: float = Field(sa_column=Column(Float(53), nullable=False))
    day: str = Field(max_length=10)
    question: str = Field(sa_column=Column(Text, nullable=False))
    asked_as: str = Field(sa_column=Column(Text, nullable=False))
    answer: str = Field(sa_column=Column(Text, nullable=False))
    mode: str
    verdict: str
    finish: str
    error: str
    model: str
    is_fallback: bool
    prompt_tokens: int
    completion_tokens: int
    judge_tokens: int
    tokens_spent: int
    dollars: float | None = Field(sa_column=Column(Float(53), nullable=True))
    seconds: float = Field(sa_column=Column(Float(53), nullable=False))
    first_token_seconds: float | None = Field(sa_column=Column(Float(53), nullable=True))
    passages: str = Field(sa_column=Column(Text, nullable=False))
    citations: str = Field(sa_column=Column(Text, nullable=False))
    steps: str = Field(sa_column=Column(Text, nullable=False))
    nearest: str = Field(sa_column=Column(Text, nullable=False))
    unsupported: str = Field(sa_column=Column(Text, nullable=False))
    answer_id: str
    conversation_id: str


class FeedbackRow(SQLModel, table=True):
    """One FeedbackRecord: the last word of one principal on one record."""

    __tablename__ = "feedback"

    record: str = Field(primary_key=True, max_length=64)
    tenant: str = Field(primary_key=True)
    principal: str = Field(primary_key=True)
    at: float = Field(sa_column=Column(Float(53), nullable=False))
    rating: str
    comment: str = Field(sa_column=Column(Text, nullable=False))


class EvaluationRow(SQLModel, table=True):
    """One Evaluation. `scores` and `questions` are JSON."""

    __tablename__ = "evaluations"
    __table_args__ = (Index("evaluations_by_time", "tenant", "at", "id"),)

    id: str = Field(primary_key=True, max_length=64)
    tenant: str
    principal: str
    at: float = Field(sa_column=Column(Float(53), nullable=False))
    name: str
    scores: str = Field(sa_column=Column(Text, nullable=False))
    questions: str = Field(sa_column=Column(Text, nullable=False))
    seconds: float = Field(sa_column=Column(Float(53), nullable=False))
    tokens: int
    dollars: float | None = Field(sa_column=Column(Float(53), nullable=True))
