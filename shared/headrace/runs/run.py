"""One run in the process that makes it: a task that makes the events, a log that readers read from any event on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any

from headrace.concurrency.stop import Stop
from headrace.errors import DeadlineExceededError, HeadraceError
from headrace.types import AnswerEvent, DoneEvent, FinishReason, RunName

Make = Callable[[Stop], AsyncGenerator[AnswerEvent, None]]
Observe = Callable[[AnswerEvent], None]

# The end of a request waits so long for other processes to be told of the end of its run.
PUBLISHING_SECONDS = 1.0

logger = logging.getLogger(__name__)


def is_stopped(log: Sequence[AnswerEvent]) -> bool:
    """Whether a run that is over was stopped, or cancelled, before its own end."""
    last = log[-1] if log else None
    return not isinstance(last, DoneEvent) or last.finish_reason is FinishReason.STOPPED


class Run:
    """An answer that is being made, or was.

    Readers come and go; when the last one has been gone for `grace_seconds`, the run is stopped. `observe` is called with
    each event as it is made, `on_end` with the run when it is over. The answer takes `deadline_seconds` at most.
    """

    def __init__(
        self,
        name: RunName,
        make: Make,
        *,
        observe: Observe,
        on_end: Callable[[Run], None],
        grace_seconds: float,
        deadline_seconds: float,
    ) -> None:
        self.name = name
        self.log: list[AnswerEvent] = []
        self.fault: Exception | None = None
        self.is_over = False
        # On the monotonic clock, in seconds.
        self.ended_at = 0.0
        self._make = make
        self._observe = observe
        self._on_end = on_end
        self._grace_seconds = grace_seconds
        self._deadline_seconds = deadline_seconds
        self._stop = Stop()
        self._news, self._end = asyncio.Event(), asyncio.Event()
        self._readers = 0
        self._leaving: asyncio.TimerHandle | None = None
        self._held = AsyncExitStack()
        self._publishing: asyncio.Task[None] | None = None
        self._task = asyncio.create_task(self._run())

    @property
    def id(self) -> str:
        return self.name.id

    async def events(self, after: int = 0) -> AsyncGenerator[tuple[int, AnswerEvent], None]:
        """The numbered events behind number `after`, as they come, to the last. Raises what made the run fail."""
        self._come()
        try:
            number = after
            while True:
                while number < len(self.log):
                    number += 1
                    yield number, self.log[number - 1]
                if self.log and isinstance(self.log[-1], DoneEvent):
                    # What the run still has to do is nothing to read.
                    return
                if self.is_over:
                    break
                await self.news()
        finally:
            self._go()
        if self.fault is not None:
            # Without the frames of those who read it before.
            raise self.fault.with_traceback(None)

    async def news(self) -> None:
        """Wait until there is another event, or the end."""
        await self._news.wait()

    async def end(self) -> None:
        """Wait until there are no more events."""
        await self._end.wait()

    def ask_to_stop(self) -> None:
        """Have the run end with what there is."""
        self._stop.ask()

    async def stop(self) -> bool:
        """Stop the run, and wait until it is over; False when it came to its own end."""
        if self.is_over:
            return False
        self.ask_to_stop()
        await asyncio.wait({self._task})
        return is_stopped(self.log)

    async def settled(self) -> None:
        """Wait until the run is over and what it holds is released, and a little for its end to be told elsewhere."""
        await asyncio.wait({self._task})
        if self._publishing is not None:
            await asyncio.wait({self._publishing}, timeout=PUBLISHING_SECONDS)

    def close_at_end(self, place: AsyncExitStack) -> None:
        """Close this when the run is over: what its asker has taken up, say."""
        self._held.push_async_callback(place.aclose)

    def publish(self, publishing: Coroutine[Any, Any, None]) -> None:
        """Have this tell other processes of the run, beside it; it ends by itself, soon after the run."""
        self._publishing = asyncio.create_task(publishing)

    async def aclose(self) -> None:
        """End it at once, wherever it is."""
        tasks = {task for task in (self._task, self._publishing) if task is not None}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if not self.is_over:
            # It was cancelled before it began.
            await self._finish()

    async def _run(self) -> None:
        try:
            async with (
                asyncio.timeout(self._deadline_seconds),
                aclosing(self._make(self._stop)) as events,
            ):
                async for event in events:
                    self.log.append(event)
                    self._observe(event)
                    self._wake()
        except TimeoutError:
            self.fault = DeadlineExceededError()
        except Exception as error:
            self.fault = error
            if not (self._readers or isinstance(error, HeadraceError)):
                logger.exception("a run failed that nobody reads")
        finally:
            await self._finish()

    async def _finish(self) -> None:
        self.is_over, self.ended_at = True, time.monotonic()
        self._on_end(self)
        self._end.set()
        self._wake()
        if self._leaving is not None:
            self._leaving.cancel()
        await self._held.aclose()

    def _wake(self) -> None:
        """Wake who waits for news now; who comes later waits for the next."""
        self._news.set()
        self._news.clear()

    def _come(self) -> None:
        self._readers += 1
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def _go(self) -> None:
        self._readers -= 1
        if not (self._readers or self.is_over):
            self._leaving = asyncio.get_running_loop().call_later(self._grace_seconds, self.ask_to_stop)
