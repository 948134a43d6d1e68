"""Requests that come within a turn of the event loop are loaded together: a hundred askers cost one round trip."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
Q = TypeVar("Q")
A = TypeVar("A")


class BatchLoader(Generic[K, Q, A]):
    """Collects requests by key. `load` gets those of one key, `most` at a time, and gives their results in order."""

    def __init__(self, load: Callable[[K, Sequence[Q]], Awaitable[Sequence[A]]], *, most: int) -> None:
        self._load = load
        self._most = most
        self._waiting: dict[K, list[tuple[Q, asyncio.Future[A]]]] = defaultdict(list)
        self._loading: set[asyncio.Task[None]] = set()

    def load(self, key: K, request: Q) -> asyncio.Future[A]:
        """The request's result, or what `load` raises."""
        if not self._waiting:
            # The task begins in the loop's next turn, and finds whoever came in this one.
            self._start(self._load_waiting())
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting[key].append((request, future))
        return future

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._loading.add(task)
        task.add_done_callback(self._loading.discard)

    async def _load_waiting(self) -> None:
        waiting, self._waiting = self._waiting, defaultdict(list)
        first, *others = [
            (key, requests[start : start + self._most])
            for key, requests in waiting.items()
            for start in range(0, len(requests), self._most)
        ]
        for key, requests in others:
            self._start(self._load_batch(key, requests))
        await self._load_batch(*first)

    async def _load_batch(self, key: K, requests: Sequence[tuple[Q, asyncio.Future[A]]]) -> None:
        try:
            results = await self._load(key, [request for request, _ in requests])
        except Exception as error:  # noqa: BLE001 - each requester raises it
            for _, future in requests:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(requests, results, strict=True):
            # A requester who left has cancelled his future.
            if not future.done():
                future.set_result(result)
