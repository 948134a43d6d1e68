"""The chat artifact as Lambda launches it: wrapper, task root and layer, and nothing else on the path."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from functions.ingest.chunk import chunk_blocks
from headrace.embedders.openai import open_openai_embedder
from headrace.redis_state.registry import RedisRegistry
from headrace.settings import Settings
from headrace.stores.qdrant import open_qdrant_store
from headrace.types import Block, Document, DocumentKey, DocumentState, EmbeddedChunk
from headrace.wiring import collection_of
from tests.support.openai_server import Script
from tests.support.runtime_api import RuntimeApiDouble, url_event

TEXT = "The main bearing takes 18 litres of turbine oil."
MODEL = "test-embedding"


@pytest.fixture
async def document(qdrant_url: str, openai_url: str, registry: RedisRegistry) -> None:
    """One document of the default tenant, embedded by the OpenAI double."""
    key = DocumentKey("documents/manual.txt")
    attempt = await registry.begin(key, embedding_model=MODEL)
    await registry.open_epoch(key.tenant)
    collection = collection_of(Settings(collection_prefix="artifact", embedding_model=MODEL))
    chunks = chunk_blocks([Block(TEXT)], document_key=key.key, generation=attempt.number)
    async with (
        open_openai_embedder(api_key="k", base_url=openai_url, model=MODEL, batch=8) as embedder,
        open_qdrant_store(qdrant_url, api_key="", collection=collection) as store,
    ):
        vectors = await embedder.embed([chunk.text_to_embed for chunk in chunks])
        await store.ensure(len(vectors[0]))
        await store.upsert([EmbeddedChunk(c, v) for c, v in zip(chunks, vectors, strict=True)])
    await registry.save(Document(key.key, DocumentState.READY, generation=attempt.number, chunks=1), attempt)


@pytest.fixture
async def chat_function(
    artifacts: dict[str, Path], tmp_path: Path, redis_url: str, qdrant_url: str, openai_url: str, document: None
) -> AsyncIterator[RuntimeApiDouble]:
    task_root = artifacts["ChatFunction"]
    # The interpreter without its site-packages, as the managed runtime has none of ours.
    python = tmp_path / "python"
    await asyncio.to_thread(python.write_text, f'#!/bin/sh\nexec {sys._base_executable} -S "$@"\n')  # type: ignore[attr-defined]
    python.chmod(0o755)
    async with RuntimeApiDouble().serve() as api:
        environment = {
            "PATH": "/usr/bin:/bin", "LANG": "en_US.UTF-8", "PYTHONPATH": str(artifacts["RuntimeLayer"]),
            "AWS_LAMBDA_RUNTIME_API": api.address, "LAMBDA_TASK_ROOT": str(task_root), "_HANDLER": "functions.chat.main.app",
            "REDIS_URL": redis_url, "QDRANT_URL": qdrant_url, "OPENAI_BASE_URL": openai_url, "OPENAI_API_KEY": "k",
            "EMBEDDING_MODEL": MODEL, "CHAT_MODEL": "m", "COLLECTION_PREFIX": "artifact", "AUTH": "iam",
        }  # fmt: skip
        wrapper = artifacts["RuntimeLayer"].parent / "streaming-runtime"
        process = await asyncio.create_subprocess_exec(str(wrapper), str(python), cwd=task_root, env=environment)
        try:
            async with asyncio.timeout(30):
                await api.ready.wait()
            yield api
        finally:
            process.terminate()
            assert await process.wait() == 0
        assert api.violations == []


def asking(path: str, **body: Any) -> dict[str, Any]:
    event = url_event("POST", path, body=json.dumps(body).encode())
    event["headers"] |= {"content-type": "application/json"}
    event["requestContext"]["authorizer"] = {"iam": {"userArn": "arn:aws:iam::123456789012:user/anna"}}
    return event


async def test_the_chat_artifact_answers_and_streams(chat_function: RuntimeApiDouble, script: Script) -> None:
    health = await chat_function.run(url_event(path="/healthz"))
    assert json.loads(health.body) == {"status": "ok"}

    script.reply = lambda _: "It takes 18 litres of oil [1]."
    script.token_gap_seconds = 0.04
    outcome = await chat_function.run(asking("/chat", question="How much turbine oil does the main bearing take?"))
    assert outcome.prelude["headers"]["content-type"].startswith("text/event-stream")
    tokens = [(at, chunk) for at, chunk in outcome.chunks if b"event: token" in chunk]
    assert len(tokens) > 4
    assert tokens[-1][0] - tokens[0][0] > 0.1, "the tokens came while the model wrote"
    assert b"The main bearing takes 18 litres" in outcome.body
    assert outcome.body.count(b"event: done") == 1

    deep = await chat_function.run(asking("/chat", question=""))
    assert deep.prelude["statusCode"] == 400


async def test_the_deadline_is_said_in_the_stream(chat_function: RuntimeApiDouble, script: Script) -> None:
    # The first answer of a process imports what it needs, on a busy machine for longer than the deadline below.
    await chat_function.run(asking("/chat", question="How much turbine oil does the main bearing take?"))
    script.reply, script.token_gap_seconds = lambda _: "word " * 500, 0.1
    event = asking("/chat", question="How much turbine oil does the bearing take now?")
    outcome = await chat_function.run(event, timeout_seconds=3.5)
    assert b"event: error" in outcome.body
    assert b"deadline_exceeded" in outcome.body
    assert outcome.trailers == {}
