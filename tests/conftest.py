"""Fixtures that every test may ask for: real servers, and parts opened on them."""

from __future__ import annotations

import inspect
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from headrace.clients.redis import open_redis
from headrace.embedders.minilm import MiniLM, MiniLMEmbedder, load_minilm, open_minilm_embedder
from headrace.redis_state.registry import RedisRegistry
from headrace.stores.qdrant import QdrantStore, open_qdrant_store
from tests.support.http import served
from tests.support.loop_guard import guarded_loop
from tests.support.openai_server import Script, openai_app
from tests.support.processes import aws_emulator, qdrant_server, redis_server

# Clients in environments of their own, and a deployment, take minutes: `make test-all` asks for them.
collect_ignore = [] if os.environ.get("HEADRACE_TEST_ALL") else ["clients", "cloud"]


# These take a minute or two each. They begin first, so that no process is left alone with one of them at the end.
SLOW_FILES = frozenset({
    "test_cache_truth.py", "test_local_stack.py", "test_chaos.py", "test_permissions.py", "test_openapi.py", "test_confinement.py",
    "test_template.py", "test_isolation.py", "test_stack.py", "test_chat_artifact.py",
})  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first; the order within a file stays."""
    items.sort(key=lambda item: item.path.name not in SLOW_FILES)


@pytest.fixture(autouse=True)
def _no_blocked_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every asynchronous test fails when something blocks its event loop."""
    if not inspect.iscoroutinefunction(request.function):
        yield
        return
    with guarded_loop():
        yield


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def qdrant_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with qdrant_server(tmp_path_factory.mktemp("qdrant")) as url:
        yield url


@pytest.fixture(scope="session")
def aws_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with aws_emulator(tmp_path_factory.mktemp("aws")) as url:
        yield url


@pytest.fixture(scope="session")
def minilm() -> MiniLM:
    return load_minilm()


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test has."""
    return f"tenant-{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with open_redis(redis_url) as client:
        yield client


@pytest.fixture
def registry(redis: Redis) -> RedisRegistry:
    return RedisRegistry(redis)


@pytest.fixture
async def store(qdrant_url: str) -> AsyncIterator[QdrantStore]:
    async with open_qdrant_store(qdrant_url, api_key="", collection=f"test-{uuid.uuid4().hex}") as opened:
        yield opened


@pytest.fixture
async def embedder(minilm: MiniLM) -> AsyncIterator[MiniLMEmbedder]:
    async with open_minilm_embedder("all-MiniLM-L6-v2", network=minilm) as opened:
        yield opened


@pytest.fixture
def script() -> Script:
    """What the OpenAI-compatible server does in this test."""
    return Script()


@pytest.fixture
async def openai_url(script: Script) -> AsyncIterator[str]:
    async with served(openai_app(script)) as url:
        yield f"{url}/v1"


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Opens contexts for as long as the test runs."""
    async with AsyncExitStack() as opened:
        yield opened
