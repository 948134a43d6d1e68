"""What can be done without must not make anybody wait: a deadline for each command, and a pause after failures."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from headrace.clients.redis import REDIS_FAULTS
from headrace.concurrency.deadlines import ServerDeadline

T = TypeVar("T")

# After so many failures in a row the circuit is open: the server is not asked for a while.
FAILURES = 3
PAUSE_SECONDS = 5.0

logger = logging.getLogger(__name__)


class CircuitBreaker:
    """Runs commands, each for `timeout_seconds` at most; after failures in a row it runs none for `pause_seconds`.

    `what` names the part that the commands are for, at the start of a sentence.
    """

    def __init__(self, what: str, timeout_seconds: float, *, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._what = what
        self._timeout_seconds = timeout_seconds
        self._pause_seconds = pause_seconds
        self._failures = 0
        self._open_until = 0.0

    async def run(self, command: Callable[[], Awaitable[T]], *, in_time: bool = False) -> T | None:
        """What the command returns; None when the server did not answer in time, or was not asked.

        `in_time` for a command that has a deadline of its own.
        """
        if time.monotonic() < self._open_until:
            return None
        try:
            if in_time:
                answer = await command()
            else:
                async with ServerDeadline(self._timeout_seconds):
                    answer = await command()
        except (*REDIS_FAULTS, ValueError, KeyError, TypeError, AttributeError) as error:
            self._failures += 1
            if self._failures >= FAILURES:
                self._open_until = time.monotonic() + self._pause_seconds
            logger.warning("%s did not answer (%s); going on without it.", self._what, type(error).__name__)
            return None
        self._failures = 0
        return answer
