"""The bound: a grounded chat by hand, on aiohttp and orjson, without anything that it could do without.

python -m tests.bench.load.by_hand PORT    (MODEL_URL, QDRANT_URL, COLLECTION)
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator

import aiohttp
import orjson
from aiohttp import web

MODEL_URL = os.environ["MODEL_URL"]
SEARCH_URL = f"{os.environ['QDRANT_URL']}/collections/{os.environ['COLLECTION']}/points/query"
SESSION = web.AppKey("session", aiohttp.ClientSession)


async def passages(session: aiohttp.ClientSession, question: str) -> str:
    """The passages for a question, as a text."""
    body = {"model": "e", "input": question}
    async with session.post(f"{MODEL_URL}/embeddings", data=orjson.dumps(body)) as response:
        vector = orjson.loads(await response.read())["data"][0]["embedding"]
    query = {"query": vector, "using": "dense", "limit": 6, "with_payload": True}
    headers = {"Content-Type": "application/json"}
    async with session.post(SEARCH_URL, data=orjson.dumps(query), headers=headers) as response:
        points = orjson.loads(await response.read())["result"]["points"]
    return "\n\n".join(point["payload"]["text"] for point in points)


async def chat(request: web.Request) -> web.StreamResponse:
    """The answer's tokens as they come."""
    session = request.app[SESSION]
    question = orjson.loads(await request.read())["messages"][-1]["content"]
    system = await passages(session, question)
    messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    body = orjson.dumps({"model": "m", "stream": True, "messages": messages})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    async with session.post(f"{MODEL_URL}/chat/completions", data=body) as upstream:
        await response.prepare(request)
        async for line in upstream.content:
            if line.startswith(b"data: {"):
                chunk = orjson.loads(line[6:])
                if chunk["choices"] and (text := chunk["choices"][0]["delta"].get("content")):
                    out = {"choices": [{"index": 0, "delta": {"content": text}}]}
                    await response.write(b"data: " + orjson.dumps(out) + b"\n\n")
    await response.write(b"data: [DONE]\n\n")
    return response


async def _session(app: web.Application) -> AsyncIterator[None]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        app[SESSION] = session
        yield


def main() -> None:
    """Serve."""
    app = web.Application()
    app.cleanup_ctx.append(_session)
    app.router.add_post("/v1/chat/completions", chat)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()
