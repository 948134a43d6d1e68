"""How long an admin's pages take with ten thousand answers, on SQLite and on Postgres."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from headrace.ledger.pricing import Pricing
from headrace.ledger.sql import SqlLedger, open_sql_ledger
from headrace.protocols import RecordFilter
from tests.support.postgres import postgres
from tests.support.records import NOW, many

ANSWERS = 10_000
ROUNDS = 5
TENANT = "bench"


async def run() -> None:
    """Print a table of medians."""
    with postgres() as server, tempfile.TemporaryDirectory() as folder:
        print(f"{'milliseconds, medians of ' + str(ROUNDS):36}{'sqlite':>10}{'postgres':>10}")
        measured = [await _measure(url) for url in (f"sqlite:///{folder}/ledger.db", server.url)]
        for name in measured[0]:
            print(f"{name:36}" + "".join(f"{each[name] * 1000:10.1f}" for each in measured))


async def _measure(url: str) -> dict[str, float]:
    async with open_sql_ledger(url, pricing=Pricing({"gpt-x": (1.0, 10.0)})) as ledger:
        await ledger.migrate()
        records = await asyncio.to_thread(many, TENANT, ANSWERS)
        began = time.perf_counter()
        for start in range(0, len(records), 500):
            await ledger.write(records[start : start + 500])
        found = {"writing 500": (time.perf_counter() - began) / (len(records) / 500)}
        return found | {name: await _median(ask) for name, ask in _asks(ledger).items()}


def _asks(ledger: SqlLedger) -> dict[str, Callable[[], Awaitable[Any]]]:
    kinds = ("all", "refused", "failed", "slow", "down")
    return {
        "usage by day": partial(ledger.usage, NOW, tenant=TENANT),
        "p95 of the first token": partial(ledger.first_token_seconds, TENANT, NOW, share=0.95),
        "what was asked in vain": partial(ledger.unanswered, TENANT, NOW, limit=50),
        **{f"answers: {kind}": partial(ledger.records, RecordFilter(TENANT, since=NOW, kind=kind)) for kind in kinds},
    }


async def _median(ask: Callable[[], Awaitable[Any]]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await ask()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)
