"""What a client of OpenAI's API promises, of ours and of the official one, whatever a server does."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import pytest
from openai import AsyncOpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from headrace.clients.openai_api import BrokenAnswerError, NoAnswerError, OpenAI, StatusError
from headrace.clients.openai_http import HttpOpenAI
from headrace.clients.openai_sdk import SdkOpenAI
from tests.support.faults import silent
from tests.support.http import served
from tests.support.openai_server import STATUS_FAILURES, STREAM_FAILURES, Script

Open = Callable[..., Any]
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}
READ_SECONDS = 2.0


@pytest.fixture(params=["http", "sdk"])
def open_client(request: pytest.FixtureRequest) -> Open:
    @asynccontextmanager
    async def opened(base_url: str, *, retries: int = 0, api_key: str = "k") -> AsyncIterator[OpenAI]:
        client: HttpOpenAI | SdkOpenAI
        if request.param == "http":
            client = HttpOpenAI(api_key=api_key, base_url=base_url, retries=retries, read_timeout_seconds=READ_SECONDS)
        else:
            official = AsyncOpenAI(
                api_key=api_key or "none", base_url=base_url, max_retries=retries, timeout=READ_SECONDS
            )
            client = SdkOpenAI(lambda: official, base_url=base_url)
        try:
            yield client
        finally:
            await client.aclose()

    return opened


async def text_of(client: OpenAI, **more: Any) -> str:
    """What the completion says."""
    async with aclosing(await client.chat(ASKED | more)) as stream:
        chunks = [chunk async for chunk in stream]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


async def test_it_streams_lists_and_embeds(openai_url: str, script: Script, open_client: Open) -> None:
    async with open_client(openai_url) as client:
        assert await text_of(client, temperature=0.5) == "Hello from the model [1]."
        assert script.requests[-1]["stream"] is True
        assert (script.requests[-1]["max_tokens"], script.requests[-1]["temperature"]) == (20, 0.5)
        assert await client.models() == {"test-model"}
        one, other = await client.embed("e", ["one", "other thing"])
        assert len(one) == len(other) == script.dimensions
        assert await client.embed("e", ["other thing"]) == [pytest.approx(other)]


@pytest.mark.parametrize(("failure", "status"), STATUS_FAILURES.items())
async def test_a_refusal_has_its_status(
    openai_url: str, script: Script, open_client: Open, failure: str, status: int
) -> None:
    async with open_client(openai_url) as client:
        script.fail = [failure]
        with pytest.raises(StatusError, match=f"told to be {failure}") as raised:
            await client.chat(ASKED)
        assert raised.value.status == status
        script.fail = [failure]
        with pytest.raises(StatusError):
            await client.embed("e", ["x"])


async def test_a_refusal_names_its_field(openai_url: str, script: Script, open_client: Open) -> None:
    script.refused_fields = {"seed"}
    async with open_client(openai_url) as client:
        with pytest.raises(StatusError) as raised:
            await client.chat({**ASKED, "seed": 1})
    assert (raised.value.status, raised.value.param) == (400, "seed")


@pytest.mark.parametrize("failure", sorted({*STREAM_FAILURES, "error_first"} - {"no_finish_reason"}))
async def test_a_stream_that_breaks_is_no_whole_one(
    openai_url: str, script: Script, open_client: Open, failure: str
) -> None:
    script.fail = [failure]
    async with open_client(openai_url) as client:
        with pytest.raises((BrokenAnswerError, NoAnswerError)):
            await text_of(client)


async def test_what_passes_is_tried_again_and_what_does_not_is_not(
    openai_url: str, script: Script, open_client: Open
) -> None:
    async with open_client(openai_url, retries=2) as client:
        script.fail = ["overloaded", "rate_limited"]
        assert await text_of(client)
        assert not script.fail
        script.fail = ["unauthorized", "unauthorized"]
        with pytest.raises(StatusError):
            await text_of(client)
        assert script.fail == ["unauthorized"]


async def test_who_leaves_ends_the_completion(openai_url: str, script: Script, open_client: Open) -> None:
    script.reply, script.token_gap_seconds = lambda _: "word " * 500, 0.05
    async with open_client(openai_url) as client:
        stream = await client.chat(ASKED)
        async with aclosing(stream):
            await anext(aiter(stream))
            assert script.open_streams == 1
        async with asyncio.timeout(10):
            while script.open_streams:
                await asyncio.sleep(0.01)


async def test_nobody_there_is_no_answer(open_client: Open) -> None:
    async with open_client("http://127.0.0.1:9/v1") as client:
        for call in (client.chat(ASKED), client.models(), client.embed("e", ["x"])):
            with pytest.raises(NoAnswerError):
                await call
    async with silent() as nobody:
        url = nobody.replace("redis://", "http://").removesuffix("/0")
        async with open_client(url) as client, asyncio.timeout(8):
            with pytest.raises(NoAnswerError):
                await client.chat(ASKED)


async def test_the_environment_s_proxy_is_gone_through_but_for_exempt_hosts(
    openai_url: str, open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    host = openai_url.removeprefix("http://").removesuffix("/v1")

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split(b"\r\n", 1)[0].decode())
        server_reader, server_writer = await asyncio.open_connection(*host.split(":"))
        # A forward proxy is asked for a whole URL; the server for its path.
        passed = head.replace(b"http://elsewhere.example", b"", 1).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        server_writer.write(passed)
        while from_server := await server_reader.read(65_536):
            writer.write(from_server)
        for each in (writer, server_writer):
            each.close()

    async with await asyncio.start_server(pass_on, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        async with open_client("http://elsewhere.example/v1") as client:
            assert await client.models() == {"test-model"}
        assert asked == ["GET http://elsewhere.example/v1/models HTTP/1.1"]
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1")
        async with open_client(openai_url) as client:
            assert await client.models() == {"test-model"}
    assert len(asked) == 1


CHUNK = b'{"choices":[{"index":0,"delta":{"content":"%s"}}]}'
WORDS = [CHUNK % f"w{n} ü💧 ".encode() for n in range(6)]
FRAMINGS = {
    "lines": b"".join(b"data: %s\n\n" % word for word in WORDS) + b"data: [DONE]\n\n",
    "returns and lines": b"".join(b"data: %s\r\n\r\n" % word for word in WORDS) + b"data: [DONE]\r\n\r\n",
    "returns": b"".join(b"data: %s\r\r" % word for word in WORDS) + b"data: [DONE]\r\r",
    "no space": b"".join(b"data:%s\n\n" % word for word in WORDS) + b"data:[DONE]\n\n",
    # With ids, too, the official client takes the next comment for an event that is no JSON.
    "names and comments": b"".join(b": hi\n\nevent: x\ndata: %s\n\n" % word for word in WORDS) + b"data: [DONE]\n\n",
    "several lines an event": b"".join(b"data: %s\n\n" % word.replace(b",", b",\ndata: ") for word in WORDS)
    + b"data: [DONE]\n\n",
    "words behind the end": b"".join(b"data: %s\n\n" % word for word in WORDS) + b"data: [DONE]\n\ndata: {}\n\n",
}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_events_are_whole_however_they_are_cut(
    stack: AsyncExitStack, open_client: Open, framing: str, size: int
) -> None:
    body = FRAMINGS[framing]

    async def blocks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]
            await asyncio.sleep(0)

    async def chat(_request: Request) -> Response:
        return StreamingResponse(blocks(), media_type="text/event-stream")

    app = Starlette(routes=[Route("/chat/completions", chat, methods=["POST"])])
    url = await stack.enter_async_context(served(app))
    async with open_client(url) as client:
        assert await text_of(client) == "".join(f"w{n} ü💧 " for n in range(6))


async def test_servers_differ_in_what_they_send(stack: AsyncExitStack, open_client: Open) -> None:
    seen: list[dict[str, str]] = []

    async def embeddings(request: Request) -> Response:
        asked = json.loads(await request.body())
        seen.append(dict(request.headers))
        vectors: list[Any] = [[1.0, 0.0], [0.0, 1.0]]
        if asked["model"] == "packed":
            vectors = [base64.b64encode(struct.pack("<2f", *vector)).decode() for vector in vectors]
        data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
        return JSONResponse({"object": "list", "data": data[::-1], "model": "e", "usage": {}})

    async def moved(_request: Request) -> Response:
        return RedirectResponse("/v1/embeddings", status_code=308)

    async def busy(_request: Request) -> Response:
        seen.append({})
        headers = {"retry-after-ms": "20"} if len(seen) < 3 else {"x-should-retry": "false"}
        return JSONResponse({"error": "busy"}, status_code=429, headers=headers)

    routes = [
        Route("/v1/embeddings", embeddings, methods=["POST"]),
        Route("/old/embeddings", moved, methods=["POST"]),
        Route("/busy/embeddings", busy, methods=["POST"]),
    ]
    url = await stack.enter_async_context(served(Starlette(routes=routes)))
    for path in ("/v1", "/old", "/v1/"):
        async with open_client(f"{url}{path}", api_key="") as client:
            for model in ("packed", "numbers"):
                assert await client.embed(model, ["a", "b"]) == [[1.0, 0.0], [0.0, 1.0]]
    assert {headers["authorization"] for headers in seen} == {"Bearer none"}
    seen.clear()
    async with open_client(f"{url}/busy", retries=5) as client, asyncio.timeout(10):
        with pytest.raises(StatusError) as raised:
            await client.embed("e", ["a"])
    assert (raised.value.status, len(seen)) == (429, 3), "the server says when to come again, and when not to"


async def test_a_connection_serves_the_next_call(openai_url: str, script: Script) -> None:
    client = HttpOpenAI(api_key="k", base_url=openai_url, retries=0, read_timeout_seconds=READ_SECONDS)
    try:
        for _ in range(5):
            assert await text_of(client)
            await client.embed("e", ["x"])
        connector: Any = client._session().connector
        assert sum(map(len, connector._conns.values())) == 1
    finally:
        await client.aclose()
