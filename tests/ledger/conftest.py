"""The ledger on SQLite and on a real Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from headrace.ledger.pricing import Pricing
from headrace.ledger.sql import SqlLedger, open_sql_ledger
from tests.support.postgres import Postgres, postgres

PRICING = Pricing({"gpt-x": (1.0, 10.0)})


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database; Postgres' one is shared by all tests, each of which has tenants of its own."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/ledger.db"
    server: Postgres = request.getfixturevalue("server")
    return f"{server.url}?sslmode=disable&channel_binding=prefer&connect_timeout=5"


@pytest.fixture
async def ledger(ledger_url: str, stack: AsyncExitStack) -> SqlLedger:
    opened = await stack.enter_async_context(open_sql_ledger(ledger_url, pricing=PRICING))
    await opened.migrate()
    return opened
