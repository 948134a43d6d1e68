"""The main job on the local stack: real processes, a real S3 API and queue, real files, HTTP questions."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import pytest

from headrace.models.openai import open_openai_model
from headrace.queues.messages import object_changed
from infra.local.bucket import CREDENTIALS, DEAD_LETTERS
from infra.local.processes import ROOT, StackError, free_port
from infra.local.stack import Stack, StackOptions, is_ready, run_stack
from tests.support import files
from tests.support.http import served
from tests.support.openai_server import Script

READY_SECONDS = 60.0
OBSERVATORY = files.pdf("Contents", "The telescope mirror measures 72 centimetres.")
BAKERY = files.docx("Sourdough", "The sourdough rests for 19 hours at 12 degrees.")


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Stack]:
    options = StackOptions(folder, port=free_port(), s3_port=free_port(), maintenance_seconds=1.0)
    async with run_stack(options, environ=os.environ, report=lambda _: None) as stack:
        yield stack


def s3_of(stack: Stack) -> Any:
    session = boto3.Session(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"])
    return session.client("s3", endpoint_url=stack.s3_url, region_name="us-east-1")


async def put(stack: Stack, name: str, content: bytes) -> None:
    target = {"Bucket": stack.settings.bucket, "Key": f"documents/{name}"}
    await asyncio.to_thread(lambda: s3_of(stack).put_object(**target, Body=content))


async def get(stack: Stack, path: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(f"{stack.url}{path}") as response:
        return await response.json()


async def ask(stack: Stack, question: str) -> dict[str, Any]:
    headers = {"accept": "application/json"}
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{stack.url}/chat", json={"question": question}, headers=headers) as response:
            answer: dict[str, Any] = await response.json()
            assert response.status == 200, answer
            return answer


async def until(stack: Stack, **states: str) -> dict[str, Any]:
    """Wait until each named document has its state (`gone` for none); returns the documents by name."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        documents = {d["name"]: d for d in (await get(stack, "/documents"))["documents"]}
        seen = {name: documents.get(name, {"state": "gone"})["state"] for name in states}
        if seen == states:
            return documents
        assert time.monotonic() < deadline, documents
        await asyncio.sleep(0.05)


async def test_files_become_answers_and_stay_true(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        documents = (await get(stack, "/documents"))["documents"]
        assert len(documents) == 10
        assert {d["state"] for d in documents} == {"ready"}

        await put(stack, "observatory.pdf", OBSERVATORY)
        await put(stack, "bakery.docx", BAKERY)
        await put(stack, "ferry.html", b"<h1>Ferry</h1><p>The last ferry to Lindisle leaves at 21:40.</p>")
        await put(stack, "broken.pdf", b"%PDF-1.7 nothing")
        states = {"observatory.pdf": "ready", "bakery.docx": "ready", "ferry.html": "ready", "broken.pdf": "failed"}
        documents_by_name = await until(stack, **states)
        assert "damaged" in documents_by_name["broken.pdf"]["reason"]
        for question, name, place, fact in (
            ("How large is the telescope mirror?", "observatory.pdf", "page 2", "72 centimetres"),
            ("How long does the sourdough rest?", "bakery.docx", "Sourdough", "19 hours"),
            ("When does the last ferry to Lindisle leave?", "ferry.html", "Ferry", "21:40"),
        ):
            answer = await ask(stack, question)
            citation = answer["citations"][0]
            assert fact in answer["answer"]
            assert (citation["name"], fact in citation["quote"]) == (name, True)
            assert place in citation["place"]

        await put(stack, "ferry.html", b"<h1>Ferry</h1><p>The last ferry to Lindisle leaves at 19:15.</p>")
        assert await eventually(stack, "When does the last ferry to Lindisle leave?", "19:15")
        gone = {"Bucket": stack.settings.bucket, "Key": "documents/bakery.docx"}
        await asyncio.to_thread(lambda: s3_of(stack).delete_object(**gone))
        await until(stack, **{"bakery.docx": "gone"})
        assert (await ask(stack, "How long does the sourdough rest?"))["mode"] == "refused"

        with pytest.raises(StackError, match="already running"):
            async with run_stack(stack.options, environ={}, report=lambda _: None):
                pass
        log = (tmp_path / "logs" / "cache_maintenance.log").read_text()
        assert '"tenants"' in log

    async with running(tmp_path) as stack:
        documents_by_name = await until(stack, **{"observatory.pdf": "ready", "bakery.docx": "gone"})
        assert len(documents_by_name) == 13
        assert "72 centimetres" in (await ask(stack, "How large is the telescope mirror?"))["answer"]
        assert "19:15" in (await ask(stack, "When does the last ferry to Lindisle leave?"))["answer"]
        assert (await ask(stack, "How long does the sourdough rest?"))["mode"] == "refused"


async def test_an_openai_compatible_endpoint_replaces_the_keyless_default(
    tmp_path: Path, openai_url: str, script: Script
) -> None:
    script.reply = lambda _: "It takes 18 litres [1]."
    environ = {**os.environ, "OPENAI_BASE_URL": openai_url, "CHAT_MODEL": "m", "EMBEDDING_MODEL": "test-embedding"}
    options = StackOptions(tmp_path, port=free_port(), s3_port=free_port())
    async with run_stack(options, environ=environ, report=lambda _: None) as stack:
        answer = await ask(stack, "How much turbine oil does the main bearing take?")
        assert (answer["mode"], answer["answer"]) == ("generated", "It takes 18 litres [1].")
        assert answer["usage"]["completion_tokens"] == 5
        assert "18 litres" in answer["passages"][0]["text"]
        assert (await get(stack, "/v1/models"))["data"][0]["id"] == "headrace"
    embedded = [text for request in script.requests if "input" in request for text in request["input"]]
    assert any("turbine-manual.pdf" in text for text in embedded), "documents are embedded by the endpoint, too"


async def operate(stack: Stack, action: str, **environment: str) -> str:
    """Run `make <action>`'s command on a running stack; gives what it printed."""
    path = os.pathsep.join((str(ROOT), str(ROOT / "shared")))
    folder = str(stack.options.folder)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "infra.local.operate", action, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": path, "HEADRACE_FOLDER": folder, **environment},
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def dead_letter(stack: Stack, key: str) -> None:
    """Put a message into the dead-letter queue, and wait until the ingest function has taken it."""
    session = boto3.Session(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"])
    sqs = session.client("sqs", endpoint_url=stack.s3_url, region_name="us-east-1")
    url = sqs.get_queue_url(QueueName=DEAD_LETTERS)["QueueUrl"]
    await asyncio.to_thread(lambda: sqs.send_message(QueueUrl=url, MessageBody=object_changed(key)))
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    deadline = time.monotonic() + READY_SECONDS
    while True:
        answer = await asyncio.to_thread(lambda: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names))
        if {answer["Attributes"][name] for name in names} == {"0"}:
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def test_an_operator_rebuilds_and_reindexes_a_running_stack(tmp_path: Path, openai_url: str) -> None:
    async with running(tmp_path) as stack:
        await dead_letter(stack, "documents/gone.txt")
        assert "default: 0 documents are tried again" in await operate(stack, "redrive")
        assert "10 documents recovered, 0 read anew" in await operate(stack, "rebuild")
        new = {"EMBEDDING_MODEL": "test-embedding", "OPENAI_BASE_URL": openai_url}
        said = await operate(stack, "reindex", **new)
        assert "switched to test-embedding" in said
        assert "the collection of all-MiniLM-L6-v2 is deleted" in said
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{stack.url}/chat", json={"question": "How much oil does it take?"}) as response:
                text = await response.text()
        assert "make reindex" in text, "what runs with the old model says so"
    options = StackOptions(tmp_path, port=free_port(), s3_port=free_port())
    with pytest.raises(StackError, match="indexed with 'test-embedding'"):
        async with run_stack(options, environ=os.environ, report=lambda _: None):
            pass
    assert not (tmp_path / "addresses.json").exists()


async def eventually(stack: Stack, question: str, fact: str) -> bool:
    deadline = time.monotonic() + READY_SECONDS
    while fact not in (await ask(stack, question))["answer"]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    return True


def start(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(ROOT), str(ROOT / "shared")))
    return subprocess.run(
        [sys.executable, "-m", "infra.local", "--folder", str(folder)],
        env={**os.environ, "PYTHONPATH": path, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_taken_port_is_a_clear_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = start(tmp_path, PORT=str(port), S3_PORT=str(free_port()))
    assert result.returncode == 1
    assert f"Port {port} is taken" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_setting_is_a_clear_sentence(tmp_path: Path) -> None:
    for environment, words in (
        ({"PORT": "eighty"}, "no port number"),
        ({"REDIS_URL": "redis://127.0.0.1:1"}, "REDIS_URL"),
    ):
        ports = {"PORT": str(free_port()), "S3_PORT": str(free_port())}
        result = start(tmp_path, **{**ports, **environment})
        assert result.returncode == 1
        assert words in result.stderr
        assert "Traceback" not in result.stderr


async def test_a_stack_that_asks_for_keys_starts_and_lets_no_stranger_in(tmp_path: Path) -> None:
    options = StackOptions(tmp_path, port=free_port(), s3_port=free_port())
    async with run_stack(options, environ={**os.environ, "AUTH": "api_keys"}, report=lambda _: None) as stack:
        async with aiohttp.ClientSession() as session:
            for path, status in (("/healthz", 200), ("/", 200), ("/documents", 401), ("/readyz", 401)):
                async with session.get(f"{stack.url}{path}") as response:
                    assert response.status == status, path


async def test_why_a_model_is_not_ready_is_said_at_once(
    chat_app: Callable[..., Any], openai_url: str, script: Script
) -> None:
    script.api_key = "right"
    told: list[str] = []
    nowhere = f"http://127.0.0.1:{free_port()}/v1"
    for base_url, ready in ((openai_url, True), (nowhere, False)):
        reasons: set[str] = set()
        async with open_openai_model(api_key="right", base_url=base_url, model="m", retries=0) as model:
            async with served(chat_app(model)) as url:
                for _ in range(2):
                    assert await is_ready(f"{url}/readyz", told.append, reasons) is ready
    (reason,) = told
    assert "does not answer" in reason, "it is said once"
    async with open_openai_model(api_key="wrong", base_url=openai_url, model="m") as model:
        async with served(chat_app(model)) as url:
            with pytest.raises(StackError, match="OPENAI_API_KEY"):
                await is_ready(f"{url}/readyz", told.append, set())
