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
# Of these sslmode is heeded; the others are in the URLs that hosts of Postgres give, and make no difference here.
LIBPQ = frozenset(
    {"sslmode", "channel_binding", "application_name", "connect_timeout", "target_session_attrs", "options"}
)
# Chat asks seldom, and maintenance alone writes.
CONNECTIONS = 2


def make_engine(url: str) -> AsyncEngine:
    """An engine for the database at `url`, which connects at its first use. Raises ConfigurationError."""
    address, options = _options(url)
    # A fault's text would have rows in it.
    return create_async_engine(address, hide_parameters=True, **options)


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
            # libpq's names, which everybody's URLs have, and asyncpg has not.
            strange = sorted(set(given.query) - LIBPQ)
            if strange:
                raise ConfigurationError(f"LEDGER_URL has {strange[0]!r}, which is not known here. Leave it out.")
            ssl = given.query.get("sslmode")
            address = given.set(drivername="postgresql+asyncpg").difference_update_query(given.query)
            connect = {"timeout": CONNECT_SECONDS, **({"ssl": ssl} if ssl else {})}
            pool = {"pool_size": CONNECTIONS, "max_overflow": 0, "pool_pre_ping": True, "pool_recycle": 300}
            return address, {"connect_args": connect, **pool}
        case other:
            raise ConfigurationError(f"LEDGER_URL names {other!r}, which is not known here. It is like {KNOWN}.")
