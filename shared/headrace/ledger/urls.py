"""A database's URL, as its owner has it, as SQLAlchemy's asynchronous drivers take it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from headrace.errors import ConfigurationError

KNOWN = "sqlite:///path/to/ledger.db or postgresql://user:password@host/name"
CONNECT_SECONDS = 10.0
# Chat asks seldom, and maintenance alone writes.
CONNECTIONS = 2


def make_engine(url: str) -> AsyncEngine:
    """An engine for the database at `url`, which connects at its first use. Raises ConfigurationError."""
    address, options = _options(url)
    return create_async_engine(address, **options)


def _options(url: str) -> tuple[URL, dict[str, Any]]:
    try:
        given = make_url(url)
    except ArgumentError:
        raise ConfigurationError(f"LEDGER_URL is no database's URL. It is like {KNOWN}.") from None
    match given.get_backend_name():
        case "sqlite":
            if given.database and given.database != ":memory:":
                Path(given.database).parent.mkdir(parents=True, exist_ok=True)
            # Several processes share the file: who finds it locked waits.
            return given.set(drivername="sqlite+aiosqlite"), {"connect_args": {"timeout": CONNECT_SECONDS}}
        case "postgresql" | "postgres":
            # libpq's name for it, which everybody's URLs have.
            ssl = given.query.get("sslmode")
            address = given.set(drivername="postgresql+asyncpg").difference_update_query(["sslmode"])
            connect = {"timeout": CONNECT_SECONDS, **({"ssl": ssl} if ssl else {})}
            pool = {"pool_size": CONNECTIONS, "max_overflow": 0, "pool_pre_ping": True, "pool_recycle": 300}
            return address, {"connect_args": connect, **pool}
        case other:
            raise ConfigurationError(f"LEDGER_URL names {other!r}, which is not known here. It is like {KNOWN}.")
