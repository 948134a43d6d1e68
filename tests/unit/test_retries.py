"""Retries are bounded by attempts and by a deadline."""

from __future__ import annotations

import pytest

from headrace.concurrency import retries
from headrace.errors import ConfigurationError, UnavailableError


async def attempt(*failures: Exception, attempts: int = 3, deadline_seconds: float = 5.0) -> int:
    left = list(failures)
    calls = 0

    async def operation() -> int:
        nonlocal calls
        calls += 1
        if left:
            raise left.pop(0)
        return calls

    return await retries.with_retries(
        operation, attempts=attempts, deadline_seconds=deadline_seconds, on_timeout=lambda: UnavailableError("late")
    )


async def test_what_is_unavailable_is_tried_again() -> None:
    assert await attempt(UnavailableError("x"), UnavailableError("x", retry_after_seconds=0.01)) == 3


async def test_the_last_fault_is_raised() -> None:
    with pytest.raises(UnavailableError, match="third"):
        await attempt(*[UnavailableError(name) for name in ("first", "second", "third")])


async def test_other_faults_are_final() -> None:
    with pytest.raises(ConfigurationError):
        await attempt(ConfigurationError("x"))


async def test_the_deadline_ends_the_waiting() -> None:
    with pytest.raises(UnavailableError, match="late"):
        await attempt(UnavailableError("x", retry_after_seconds=60), deadline_seconds=0.05)
