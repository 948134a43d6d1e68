"""Alembic's environment: the connection that `headrace.ledger.migrating` has put into the configuration."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

from headrace.ledger import tables

context.configure(connection=context.config.attributes["connection"], target_metadata=SQLModel.metadata)
# In the transaction of whoever has opened the connection.
context.run_migrations()

__all__ = ["tables"]
