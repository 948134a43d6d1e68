"""A hundred clients ask the same question at once, cold, of two processes: how many calls, and how far behind the last is."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
import uuid
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from headrace.embedders.minilm import open_minilm_embedder
from headrace.redis_client import open_redis
from headrace.registries.redis import RedisRegistry
from headrace.settings import Settings
from headrace.stores.qdrant import open_qdrant_store
from headrace.wiring import collection_of
from infra.local.processes import free_port
from tests.support.http import served, sse_events
from tests.support.library import Library
from tests.support.openai_server import Script, openai_app
from tests.support.processes import qdrant_server, redis_server, running

CLIENTS = 100
ROUNDS = 7


async def run() -> None:
    """Print a line."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis_url = await asyncio.to_thread(stack.enter_context, redis_server(folder))
        qdrant_url = await asyncio.to_thread(stack.enter_context, qdrant_server(folder))
        script = Script(reply=lambda _: "twenty-six weeks it is, and no more [1]", token_gap_seconds=0.1)
        openai_url = await stack.enter_async_context(served(openai_app(script)))
        settings = Settings(collection_prefix=f"flight-{uuid.uuid4().hex[:8]}")
        embedder = await stack.enter_async_context(open_minilm_embedder(settings.embedding_model))
        redis = await stack.enter_async_context(open_redis(redis_url))
        store = await stack.enter_async_context(
            open_qdrant_store(qdrant_url, api_key="", collection=collection_of(settings))
        )
        library = Library("default", embedder, store, RedisRegistry(redis))
        await library.put("handbook.txt", "Parents may take 26 weeks of parental leave.")
        environment = {
            "REDIS_URL": redis_url, "QDRANT_URL": qdrant_url, "COLLECTION_PREFIX": settings.collection_prefix,
            "OPENAI_BASE_URL": f"{openai_url}/v1", "OPENAI_API_KEY": "k", "CHAT_MODEL": "m",
            "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-central-1",
        }  # fmt: skip
        urls = []
        for number in range(2):
            port = free_port()
            command = [sys.executable, "-m", "uvicorn", "functions.chat.main:app", "--port", str(port)]
            command += ["--log-level", "warning"]
            await asyncio.to_thread(stack.enter_context, running(command, port, folder / f"{number}.log", environment))
            urls.append(f"http://127.0.0.1:{port}")
        connector = aiohttp.TCPConnector(limit=0)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        lags, calls = [], []
        for number in range(ROUNDS):
            before = len(script.requests)
            question = f"How many weeks of parental leave are there in case {number}?"
            firsts = await asyncio.gather(*(_first(urls[n % 2], session, question) for n in range(CLIENTS)))
            calls.append(len(script.requests) - before)
            leader = next(at for at, verdict in firsts if verdict == "miss")
            lags.append(1000 * (max(at for at, _ in firsts) - leader))
        print(
            f"\n{CLIENTS} clients, 2 processes, the same question at once, cold, {ROUNDS} rounds: "
            f"{statistics.mean(calls):g} model call a round; the last follower's first token "
            f"{statistics.median(lags):.0f} ms after the leader's (median; from {min(lags):.0f} to {max(lags):.0f})"
        )


async def _first(url: str, session: aiohttp.ClientSession, question: str) -> tuple[float, str]:
    """When the first token came, and the verdict."""
    at = 0.0
    async with session.post(f"{url}/chat", json={"question": question}) as response:
        async for event in sse_events(response):
            if event.name == "token" and not at:
                at = time.perf_counter()
        return at, response.headers["X-Cache"]
