"""The embedded store: Qdrant's own engine in this process, no server at all. One process may open the folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from headrace.concurrency.retries import ATTEMPTS, WRITE_DEADLINE_SECONDS, with_retries
from headrace.concurrency.threads import open_threads
from headrace.errors import ConfigurationError, StoreUnavailableError
from headrace.stores.edge_engine import ApiError, Engine
from headrace.stores.qdrant import API, QdrantStore


class EmbeddedQdrant:
    """A QdrantTransport to an engine in one thread of this process."""

    def __init__(self, engine: Engine, executor: ThreadPoolExecutor) -> None:
        self._engine = engine
        self._executor = executor

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        allow: frozenset[int] = frozenset(),
        deadline_seconds: float = WRITE_DEADLINE_SECONDS,
    ) -> Any:
        answer = partial(self._engine.answer, method, path.partition("?")[0], dict(body or {}))

        async def once() -> Any:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._executor, answer)
            except ApiError as error:
                if error.status in allow:
                    return None
                if API.passes(error.status, str(error)):
                    raise StoreUnavailableError("The embedded vector store is being set up.") from error
                raise ConfigurationError(f"The embedded vector store refused a request: {error}") from error

        return await with_retries(
            once,
            attempts=ATTEMPTS,
            deadline_seconds=deadline_seconds,
            on_timeout=lambda: StoreUnavailableError(
                f"The embedded vector store did not answer within {deadline_seconds:g} seconds. Try again in a moment."
            ),
        )


@asynccontextmanager
async def open_embedded_store(folder: Path, *, collection: str) -> AsyncIterator[QdrantStore]:
    """A store that lives in `folder`; what was written is there at the next opening."""
    async with open_threads(1, "vector-engine") as executor:
        run = asyncio.get_running_loop().run_in_executor
        engine = await run(executor, Engine, folder)
        try:
            yield QdrantStore(EmbeddedQdrant(engine, executor), collection)
        finally:
            await run(executor, engine.close)
