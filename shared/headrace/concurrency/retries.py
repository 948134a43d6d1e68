"""One way to try again: jittered, bounded by a deadline, and patient only as far as the server asks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from headrace.errors import UnavailableError

T = TypeVar("T")

# What a store, or another server on a question's way, is given: tries, and time to read or to write.
ATTEMPTS = 4
READ_DEADLINE_SECONDS = 5.0
WRITE_DEADLINE_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0


async def with_retries(
    operation: Callable[[], Awaitable[T]],
    *,
    attempts: int,
    deadline_seconds: float,
    on_timeout: Callable[[], UnavailableError],
) -> T:
    """Run `operation` until it succeeds, up to `attempts` times within the deadline.

    Only UnavailableError is tried again, after its `retry_after_seconds` (capped)
    or an exponential pause with full jitter. Raises the last one, or `on_timeout()`.
    """
    try:
        async with asyncio.timeout(deadline_seconds):
            for attempt in range(attempts):
                try:
                    return await operation()
                except UnavailableError as error:
                    if attempt == attempts - 1:
                        raise
                    await asyncio.sleep(_pause(attempt, error.retry_after_seconds))
    except TimeoutError:
        raise on_timeout() from None
    raise AssertionError("attempts must be at least 1")


def read_retry_after(text: str | None) -> float | None:
    """The seconds that a `Retry-After` header asks for; None for none, and for a date."""
    return float(text) if text and text.replace(".", "", 1).isdigit() else None


def _pause(attempt: int, asked_seconds: float | None) -> float:
    if asked_seconds is not None:
        return min(asked_seconds, LONGEST_PAUSE_SECONDS)
    return min(FIRST_PAUSE_SECONDS * 2**attempt, LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
