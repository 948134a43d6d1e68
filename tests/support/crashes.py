"""Processes that die: a part whose n-th call ends the world, before or after it takes effect."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any


class Crash(BaseException):
    """The process is gone. No `except Exception` outlives it."""


class Fuse:
    """Burns down with each await of a process, and yields to the other processes on the way."""

    def __init__(self, generator: random.Random, steps: int | None) -> None:
        self._generator = generator
        self._left = steps

    async def burn(self) -> None:
        for _ in range(self._generator.choice((0, 0, 1, 3))):
            await asyncio.sleep(0)
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise Crash


# What asks nobody, and so can't die half-way.
WITHOUT_WAITING = {"expects"}


class Mortal:
    """A part in a process that may die at any await: before a call takes effect, or after it did."""

    def __init__(self, part: Any, fuse: Fuse) -> None:
        self._part = part
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if not callable(found) or name in WITHOUT_WAITING:
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._fuse.burn()
            answer = await found(*args, **kwargs)
            await self._fuse.burn()
            return answer

        def iterate(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            return self._iterate(found(*args, **kwargs))

        return iterate if name in {"scan", "objects"} else call

    async def _iterate(self, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for item in items:
            await self._fuse.burn()
            yield item
