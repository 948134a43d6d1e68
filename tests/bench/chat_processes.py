"""Chat functions in processes of their own, with real Redis and vector engine, and a language model that is a double."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from headrace.clients.redis import open_redis
from headrace.embedders.minilm import open_minilm_embedder
from headrace.redis_state.registry import RedisRegistry
from headrace.settings import Settings
from headrace.stores.qdrant import open_qdrant_store
from headrace.wiring import collection_of
from infra.local.processes import free_port
from tests.support.http import served
from tests.support.library import Library
from tests.support.openai_server import Script, openai_app
from tests.support.processes import qdrant_server, redis_server, running

# For those who ask more at once than anybody may.
UNLIMITED = {"STREAMS_PER_PRINCIPAL": "100000", "REQUESTS_PER_MINUTE": "1000000"}


@asynccontextmanager
async def chat_processes(
    script: Script, documents: dict[str, str], *environments: dict[str, str]
) -> AsyncIterator[list[str]]:
    """The URL of a process for each environment; all know the same documents (name: text) and ask the same model."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis_url = await asyncio.to_thread(stack.enter_context, redis_server(folder))
        qdrant_url = await asyncio.to_thread(stack.enter_context, qdrant_server(folder))
        openai_url = await stack.enter_async_context(served(openai_app(script)))
        settings = Settings(collection_prefix=f"bench-{uuid.uuid4().hex[:8]}")
        embedder = await stack.enter_async_context(open_minilm_embedder(settings.embedding_model))
        redis = await stack.enter_async_context(open_redis(redis_url))
        store = await stack.enter_async_context(
            open_qdrant_store(qdrant_url, api_key="", collection=collection_of(settings))
        )
        library = Library("default", embedder, store, RedisRegistry(redis))
        for name, text in documents.items():
            await library.put(name, text)
        shared = {
            "REDIS_URL": redis_url, "QDRANT_URL": qdrant_url, "COLLECTION_PREFIX": settings.collection_prefix,
            "OPENAI_BASE_URL": f"{openai_url}/v1", "OPENAI_API_KEY": "k", "CHAT_MODEL": "m",
            "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-central-1",
        }  # fmt: skip
        urls = []
        for number, environment in enumerate(environments):
            port = free_port()
            command = [sys.executable, "-m", "uvicorn", "functions.chat.main:app", "--port", str(port)]
            command += ["--log-level", "warning"]
            log = folder / f"{number}.log"
            await asyncio.to_thread(stack.enter_context, running(command, port, log, shared | environment))
            urls.append(f"http://127.0.0.1:{port}")
        yield urls
