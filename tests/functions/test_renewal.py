"""A rotated secret reaches a chat function that runs: new answers use it, and those under way end as they began."""

from __future__ import annotations

import asyncio
import json
import uuid

import aiohttp
import boto3
import pytest

from functions.chat import main
from headrace.redis_state.registry import RedisRegistry
from tests.support.http import served, sse_events
from tests.support.openai_server import Script


async def test_a_rotated_key_is_taken_up_and_no_answer_is_cut(
    aws_url: str, redis_url: str, qdrant_url: str, openai_url: str, script: Script, registry: RedisRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    access = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}
    client = await asyncio.to_thread(
        boto3.client, "secretsmanager", endpoint_url=aws_url, region_name="us-east-1",
        aws_access_key_id="k", aws_secret_access_key="s",
    )  # fmt: skip

    async def write(key: str) -> str:
        text = json.dumps({"OPENAI_API_KEY": key, "QDRANT_URL": qdrant_url, "REDIS_URL": redis_url})
        if not arn:
            made = await asyncio.to_thread(client.create_secret, Name=f"test-{uuid.uuid4().hex}", SecretString=text)
            return str(made["ARN"])
        await asyncio.to_thread(client.put_secret_value, SecretId=arn, SecretString=text)
        return arn

    arn = ""
    arn = await write("sk-first")
    tenant = f"tenant-{uuid.uuid4().hex[:8]}"
    environment = {
        **access, "AWS_ENDPOINT_URL": aws_url, "SECRET_ARN": arn, "OPENAI_BASE_URL": openai_url, "CHAT_MODEL": "m",
        "EMBEDDING_MODEL": "e", "AUTH": "none", "AUTH_TENANT": tenant, "COLLECTION_PREFIX": tenant,
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(main, "LOOK_SECONDS", 0.2)
    await registry.open_epoch(tenant)
    # A question that needs no passages: the conversation answers it, slowly.
    script.read = lambda _: {"kind": "conversation", "question": ""}
    script.reply, script.token_gap_seconds = lambda _: "word " * 40, 0.05
    async with served(main.app) as url, aiohttp.ClientSession() as session:

        async def ask(question: str, said: list[str]) -> None:
            stream = {"accept": "text/event-stream"}
            async with session.post(f"{url}/chat", json={"question": question}, headers=stream) as response:
                async for event in sse_events(response):
                    said.append(event.name)  # noqa: PERF401 - looked at while it grows

        first: list[str] = []
        asking = asyncio.create_task(ask("Thank you!", first))
        async with asyncio.timeout(10):
            while "token" not in first:
                await asyncio.sleep(0.02)
        before = main.app.state.dependencies
        script.api_key = "sk-second"
        await write("sk-second")
        async with asyncio.timeout(10):
            while main.app.state.dependencies is before:
                await asyncio.sleep(0.05)
        assert main.app.state.dependencies.load is before.load
        script.reply = lambda _: "You are welcome."
        second: list[str] = []
        await ask("Hello there!", second)
        assert second[-1] == "done", script.authorizations
        await asking
        assert first[-1] == "done"
    assert "Bearer sk-first" in script.authorizations
    assert "Bearer sk-second" in script.authorizations
