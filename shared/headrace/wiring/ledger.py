"""Wiring of the ledger: where records wait, and where they are kept."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from headrace.errors import ConfigurationError
from headrace.settings import Settings

if TYPE_CHECKING:
    from redis.asyncio import Redis  # noqa: TID251 - the type only

    from headrace.ledger.pricing import Pricing
    from headrace.protocols import Ledger, LedgerQueue


def ledger_queue_on(client: Redis, settings: Settings) -> LedgerQueue | None:
    """Where records are put; None where no ledger is kept."""
    queue: LedgerQueue
    match settings.ledger_kind:
        case "sql":
            from headrace.redis_state.ledger_queue import RedisLedgerQueue

            queue = RedisLedgerQueue(client)
        case "logs":
            from headrace.ledger.logs import LoggedLedger

            queue = LoggedLedger()
        case _:
            return None
    if settings.ledger_content == "none":
        from headrace.ledger.redacted import RedactedQueue

        return RedactedQueue(queue)
    return queue


def open_ledger(settings: Settings) -> AbstractAsyncContextManager[Ledger]:
    """The ledger's database. Raises ConfigurationError where there is none."""
    if settings.ledger_kind != "sql":
        raise ConfigurationError(
            "There is no ledger to ask: set LEDGER_URL to a database (sqlite:///… or postgresql://…). See docs/ledger.md."
        )
    from headrace.ledger.sql import open_sql_ledger

    return open_sql_ledger(
        settings.ledger_url, pricing=pricing_of(settings), keeps_words=settings.ledger_content == "full"
    )


def pricing_of(settings: Settings) -> Pricing:
    """What models cost, as far as it is known. Raises ConfigurationError."""
    from headrace.ledger.pricing import Pricing

    try:
        given = json.loads(settings.model_prices or "{}")
        prices = {str(model): (float(reads), float(writes)) for model, (reads, writes) in given.items()}
    except (ValueError, TypeError, AttributeError):
        raise ConfigurationError(
            'MODEL_PRICES is no JSON like {"gpt-4.1-mini": [0.40, 1.60]}: dollars for a million tokens read and written.'
        ) from None
    return Pricing(prices, settings.judge_model)
