"""What is asked within a turn of the event loop is answered at once: a hundred askers cost one round trip."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
Q = TypeVar("Q")
A = TypeVar("A")


class Turns(Generic[K, Q, A]):
    """Collects questions by key; `answer` answers those of one key, `most` at a time, each in its place."""

    def __init__(self, answer: Callable[[K, Sequence[Q]], Awaitable[Sequence[A]]], *, most: int) -> None:
        self._answer = answer
        self._most = most
        self._waiting: dict[K, list[tuple[Q, asyncio.Future[A]]]] = defaultdict(list)
        self._answering: set[asyncio.Task[None]] = set()

    def ask(self, key: K, question: Q) -> asyncio.Future[A]:
        """The answer to come, or what `answer` raises."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._begin)
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting[key].append((question, future))
        return future

    def _begin(self) -> None:
        waiting, self._waiting = self._waiting, defaultdict(list)
        for key, asked in waiting.items():
            for start in range(0, len(asked), self._most):
                task = asyncio.create_task(self._answer_some(key, asked[start : start + self._most]))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)

    async def _answer_some(self, key: K, asked: Sequence[tuple[Q, asyncio.Future[A]]]) -> None:
        try:
            answers = await self._answer(key, [question for question, _ in asked])
        except Exception as error:  # noqa: BLE001 - it is each asker's
            for _, future in asked:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(asked, answers, strict=True):
            if not future.done():
                future.set_result(answer)
