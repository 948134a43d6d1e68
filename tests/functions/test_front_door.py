"""The local function URL: a real HTTP door in front of a function on the streaming runtime."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from infra.local.front_door import create_door
from infra.local.processes import ROOT, free_port
from infra.local.stack import StackOptions, run_stack
from tests.support.http import served

APP = """
import asyncio, json
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    body = (await receive())["body"]
    if scope["path"] == "/fail":
        raise RuntimeError("secret")
    headers = [(b"content-type", b"text/plain"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    if scope["path"] == "/slow":
        for i in range(4):
            await send({"type": "http.response.body", "body": b"%d" % i, "more_body": True})
            await asyncio.sleep(0.3)
    if scope["path"] == "/half":
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("secret")
    said = {"method": scope["method"], "raw": scope["raw_path"].decode(), "query": scope["query_string"].decode(),
            "cookie": dict(scope["headers"]).get(b"cookie", b"").decode(), "body": body.decode("latin-1")}
    await send({"type": "http.response.body", "body": json.dumps(said).encode()})
"""


@pytest.fixture
async def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    await asyncio.to_thread((tmp_path / "door_app.py").write_text, APP)
    path = os.pathsep.join((str(tmp_path), str(ROOT / "shared")))
    monkeypatch.setenv("PYTHONPATH", path)
    async with served(create_door("door_app.app")) as url:
        yield url


async def test_a_request_reaches_the_function_and_its_answer_the_client(door: str) -> None:
    async with aiohttp.ClientSession(cookies={"c": "d"}) as session:
        async with session.post(f"{door}/a%2Fb?x=1&x=2", data=b"\x00\xff") as response:
            assert response.status == 201
            assert response.headers.getall("set-cookie") == ["a=1", "b=2"]
            said = json.loads(await response.read())
    assert said == {"method": "POST", "raw": "/a%2Fb", "query": "x=1&x=2", "cookie": "c=d", "body": "\x00\xff"}


async def test_pieces_arrive_as_they_are_sent_many_streams_at_once(door: str) -> None:
    async def stream(session: aiohttp.ClientSession) -> list[float]:
        async with session.get(f"{door}/slow") as response:
            return [time.perf_counter() async for _ in response.content.iter_any()]

    async with aiohttp.ClientSession() as session:
        started = time.perf_counter()
        arrivals = await asyncio.gather(*(stream(session) for _ in range(8)))
    assert time.perf_counter() - started < 8 * 1.2, "one after the other would take 9.6 s"
    # A busy machine may let pieces arrive together, but not all of a stream that takes more than a second.
    assert all(len(times) >= 2 and times[-1] - times[0] > 0.2 for times in arrivals)


async def test_a_failing_function_is_a_502_and_a_failing_stream_is_cut(door: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{door}/fail") as response:
            assert response.status == 502
            assert "secret" not in await response.text()
        with pytest.raises(aiohttp.ClientPayloadError):
            async with session.get(f"{door}/half") as response:
                await response.read()
        async with session.get(f"{door}/fine") as response:
            assert response.status == 201


async def test_the_stack_runs_as_lambda_processes(tmp_path: Path) -> None:
    options = StackOptions(tmp_path, port=free_port(), s3_port=free_port(), as_lambda=True)
    async with run_stack(options, environ=os.environ, report=lambda _: None) as stack:
        body = {"question": "How much oil does the main bearing take?"}
        async with aiohttp.ClientSession(stack.url) as session, session.post("/chat", json=body) as response:
            text = await response.text()
        heard = await _over_socket(f"{stack.url}/ws", body["question"])
    assert "18 litres" in text
    assert "event: done" in text
    assert "18 litres" in "".join(message["data"]["text"] for message in heard if message["event"] == "token")


async def _over_socket(url: str, question: str) -> list[dict[str, Any]]:
    """What is heard through the gateway's socket, the function's process and its posts."""
    heard: list[dict[str, Any]] = []
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket, asyncio.timeout(20):
        await socket.send_json({"action": "ask", "question": question})
        async for frame in socket:
            heard += [json.loads(line) for line in frame.data.split("\n")]
            if heard[-1]["event"] in {"done", "error"}:
                break
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with session.ws_connect(url, headers={"origin": "https://elsewhere.example"}):
                pass
    return heard
