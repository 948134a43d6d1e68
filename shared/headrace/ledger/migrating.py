"""Alembic's migrations of the ledger, run on a connection that is open; beside others who do the same, one after another.

Reference: https://alembic.sqlalchemy.org/en/latest/cookbook.html#sharing-a-connection-across-one-or-more-programmatic-migration-commands
"""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from headrace.ledger.urls import make_engine

MIGRATIONS = Path(__file__).with_name("migrations")
# Postgres' lock of this name: two who migrate at once would make the same tables.
LOCK = 0x6865616472616365


def migrate(url: str) -> None:
    """Bring the tables of the database at `url` to the newest revision, on an event loop of its own: Alembic reads files."""
    asyncio.run(_migrate(url))


async def _migrate(url: str) -> None:
    engine = make_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(upgrade)
    finally:
        await engine.dispose()


def upgrade(connection: Connection) -> None:
    """Bring the tables behind a connection to the newest revision."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    elif connection.dialect.name == "sqlite":
        # Else the lock is taken with the first write, when others have read that there are no tables, too.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
