"""The servers that are compared, each a process of its own on the same model, store and Redis."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from headrace.clients.redis import open_redis
from headrace.embedders.openai import open_openai_embedder
from headrace.redis_state.registry import RedisRegistry
from headrace.settings import Settings
from headrace.stores.qdrant import open_qdrant_store
from headrace.wiring import collection_of
from infra.local.processes import free_port
from tests.bench.chat_processes import UNLIMITED
from tests.bench.load.client import V1, Door
from tests.support.library import Library
from tests.support.processes import qdrant_server, redis_server, running

DOCUMENTS = 200
PEERS_PYTHON = Path(".venv-peers/bin/python")
UVICORN = ("-m", "uvicorn", "--log-level", "warning", "--no-access-log")
SETTINGS = {
    **UNLIMITED, "MOST_OPEN_REQUESTS": "100000",
    "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-central-1",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs: where it is, how it is asked, and its processes."""

    name: str
    urls: list[str]
    door: Door
    processes: list[psutil.Process]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all servers stand on. `peer` is the environment of those who know nothing of Headrace's settings."""

    folder: Path
    headrace: Mapping[str, str]
    peer: Mapping[str, str]

    @contextmanager
    def headrace_server(self, name: str = "headrace", *, door: Door = V1, processes: int = 1) -> Iterator[Server]:
        """Our chat function, in so many processes."""
        command = [sys.executable, *UVICORN, "functions.chat.main:app", "--port"]
        with self._server(name, command, self.headrace, door, processes) as server:
            yield server

    @contextmanager
    def peer_server(self, name: str, *, module: str, python: str = sys.executable) -> Iterator[Server]:
        """A peer that uvicorn serves."""
        command = [python, *UVICORN, f"tests.bench.load.{module}:app", "--port"]
        with self._server(name, command, self.peer, V1) as server:
            yield server

    @contextmanager
    def by_hand(self) -> Iterator[Server]:
        """The bound."""
        command = [sys.executable, "-m", "tests.bench.load.by_hand"]
        with self._server("by hand (aiohttp)", command, self.peer, V1) as server:
            yield server

    @contextmanager
    def litellm(self, executable: str) -> Iterator[Server]:
        """LiteLLM's proxy, which passes on what the model says, and searches for nothing."""
        config = self.folder / "litellm.yaml"
        model = {"model": "openai/m", "api_base": self.peer["MODEL_URL"], "api_key": "k"}
        config.write_text(json.dumps({"model_list": [{"model_name": "headrace", "litellm_params": model}]}))
        command = [executable, "--config", str(config), "--host", "127.0.0.1", "--telemetry", "False", "--port"]
        environment = {**self.peer, "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
        with self._server("LiteLLM's proxy (no search)", command, environment, V1) as server:
            server.processes.extend(server.processes[0].children(recursive=True))
            yield server

    @contextmanager
    def _server(
        self, name: str, command: list[str], environment: Mapping[str, str], door: Door, processes: int = 1
    ) -> Iterator[Server]:
        server = Server(name, [], door, [])
        log = self.folder / f"{uuid.uuid4().hex[:6]}.log"
        with ExitStack() as stack:
            for _ in range(processes):
                port = free_port()
                child = stack.enter_context(running([*command, str(port)], port, log, dict(environment)))
                server.urls.append(f"http://127.0.0.1:{port}")
                server.processes.append(psutil.Process(child.pid))
            yield server


@asynccontextmanager
async def surroundings() -> AsyncIterator[Surroundings]:
    """A language model that is a double, and real Redis and vector engine with documents in it."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis_url = await asyncio.to_thread(stack.enter_context, redis_server(folder))
        qdrant_url = await asyncio.to_thread(stack.enter_context, qdrant_server(folder))
        port = free_port()
        serve = [sys.executable, "-m", "tests.bench.load.model_server", str(port)]
        await asyncio.to_thread(stack.enter_context, running(serve, port, folder / "model.log"))
        model_url = f"http://127.0.0.1:{port}/v1"
        settings = Settings(collection_prefix="bench", embedding_model="e")
        opening = open_openai_embedder(api_key="k", base_url=model_url, model="e", batch=64)
        embedder = await stack.enter_async_context(opening)
        redis = await stack.enter_async_context(open_redis(redis_url))
        collection = collection_of(settings)
        store = await stack.enter_async_context(open_qdrant_store(qdrant_url, api_key="", collection=collection))
        library = Library("default", embedder, store, RedisRegistry(redis))
        for number in range(DOCUMENTS):
            text = f"Parental leave in office {number} is {number} weeks for every parent. " * 8
            await library.put(f"leave-{number}.txt", text)
        yield Surroundings(
            folder,
            {
                **SETTINGS,
                "REDIS_URL": redis_url,
                "QDRANT_URL": qdrant_url,
                "COLLECTION_PREFIX": "bench",
                "EMBEDDING_MODEL": "e",
                "OPENAI_BASE_URL": model_url,
                "OPENAI_API_KEY": "k",
                "CHAT_MODEL": "m",
            },
            {"MODEL_URL": model_url, "QDRANT_URL": qdrant_url, "COLLECTION": collection},
        )


def peers_python() -> str:
    """The interpreter that has the peers' packages."""
    return os.fspath(PEERS_PYTHON.absolute())
