"""What Headrace adds to a language model's time to its first token, and the processor time that a chat takes.

Open loop: so many chats begin in a second, whether or not earlier ones have ended; every question is a new one. The model is
a server of its own that takes 300 ms to its first token.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import psutil

from infra.local.processes import Processes, answers_http, free_port
from infra.local.stack import Stack, StackOptions, run_stack
from tests.bench.model_server import FIRST_TOKEN_SECONDS

QUESTION = "How many weeks of parental leave are there in year {}?"
CHATS_A_SECOND = (1, 4, 7)
SECONDS = 12.0


async def run() -> None:
    """Print the table."""
    port = free_port()
    async with Processes(None) as processes:
        serve = [sys.executable, "-m", "uvicorn", "tests.bench.model_server:app", "--port", str(port)]
        child = await processes.start("model", [*serve, "--log-level", "warning"], os.environ)
        await processes.until_ready(child, lambda: answers_http(f"http://127.0.0.1:{port}/v1/models"))
        environ = {
            **os.environ,
            "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
            "CHAT_MODEL": "test-model",
            "CACHE_JUDGE": "off",
            "REQUESTS_PER_MINUTE": "1000000",
            "STREAMS_PER_PRINCIPAL": "1000",
        }
        with tempfile.TemporaryDirectory() as folder:
            options = StackOptions(Path(folder), port=free_port(), s3_port=free_port())
            async with run_stack(options, environ=environ, report=lambda _: None) as stack:
                await _measure(stack)


async def _measure(stack: Stack) -> None:
    chat = next(child for child in stack.processes._children if child.name == "chat")
    process = psutil.Process(chat.process.pid)
    async with aiohttp.ClientSession(stack.url, connector=aiohttp.TCPConnector(limit=0)) as session:
        for number in range(3):
            await _added_seconds(session, QUESTION.format(f"warm {number}"))
        print("chats a second     added to the first token p50 / p99, ms     CPU a chat, ms")
        for rate in CHATS_A_SECOND:
            before = process.cpu_times()
            asked = []
            for number in range(int(rate * SECONDS)):
                asked.append(asyncio.create_task(_added_seconds(session, QUESTION.format(f"{rate}-{number}"))))
                await asyncio.sleep(1 / rate)
            added = await asyncio.gather(*asked)
            after = process.cpu_times()
            cpu = (after.user + after.system - before.user - before.system) / len(added)
            cuts = statistics.quantiles(added, n=100, method="inclusive")
            print(f"{rate:>14}     {cuts[49] * 1000:16.1f} / {cuts[98] * 1000:8.1f}     {cpu * 1000:24.1f}")


async def _added_seconds(session: aiohttp.ClientSession, question: str) -> float:
    """Seconds to the first token, beyond the model's own."""
    started = time.perf_counter()
    first = 0.0
    async with session.post("/chat", json={"question": question}) as response:
        async for line in response.content:
            if line.startswith(b"event: token") and not first:
                first = time.perf_counter() - started
    return first - FIRST_TOKEN_SECONDS
