"""The ASGI lifespan protocol: one start and one shutdown for the life of the execution environment.

Source: https://asgi.readthedocs.io/en/latest/specs/lifespan.html
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
App = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

logger = logging.getLogger(__name__)


class LifespanError(Exception):
    """The application said that its start failed, or failed in it."""


class Lifespan:
    """Runs the application's lifespan in a task of its own. `state` is shared with every request."""

    def __init__(self, app: App) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Start the application. Raises LifespanError when it says that it can't; one that knows no lifespan is fine."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        self._task = asyncio.create_task(self._run(scope))
        self._to_app.put_nowait({"type": "lifespan.startup"})
        answer = await self._from_app.get()
        if answer["type"] == "lifespan.startup.failed":
            raise LifespanError(answer.get("message") or "The application's start-up failed.")

    async def shutdown(self) -> None:
        """End the application; what fails in it is logged."""
        if self._task is None or self._task.done():
            return
        self._to_app.put_nowait({"type": "lifespan.shutdown"})
        answer = await self._from_app.get()
        if answer["type"] == "lifespan.shutdown.failed":
            logger.error("the application's shutdown failed: %s", answer.get("message", ""))
        await self._task

    async def _run(self, scope: MutableMapping[str, Any]) -> None:
        started = False

        async def send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "lifespan.startup.complete"
            self._from_app.put_nowait(message)

        try:
            await self._app(scope, self._to_app.get, send)
        except Exception:
            if started:
                logger.exception("the application's lifespan failed")
            else:
                # By the specification: an application that raises here knows no lifespan.
                logger.debug("the application has no lifespan", exc_info=True)
        # Whoever still waits for an answer gets one.
        self._from_app.put_nowait({"type": "lifespan.shutdown.complete"})
