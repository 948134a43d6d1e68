"""A minimal web adapter: polls the Runtime API and forwards to a uvicorn process over HTTP, streaming both ways.

    python -m tests.bench.runtime_proxy PORT

Stands for the Lambda Web Adapter, whose proxy is written in Rust and starts
faster; the second process and the additional HTTP hop are the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

import aiohttp

from headrace.lambda_runtime.api import RuntimeApi


async def main(port: int) -> None:
    """Start uvicorn, wait until it answers, then forward for ever."""
    serve = ["-m", "uvicorn", "tests.bench.runtime_app:app", "--port", str(port), "--log-level", "error"]
    await asyncio.create_subprocess_exec(sys.executable, *serve)
    api = RuntimeApi(os.environ["AWS_LAMBDA_RUNTIME_API"])
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        while not await _answers(session):
            await asyncio.sleep(0.005)
        while True:
            answer = await api.next()
            await _forward(api, session, answer.headers["lambda-runtime-aws-request-id"], json.loads(answer.body))


async def _answers(session: aiohttp.ClientSession) -> bool:
    try:
        async with session.get("/ping"):
            return True
    except aiohttp.ClientError:
        return False


async def _forward(api: RuntimeApi, session: aiohttp.ClientSession, request_id: str, event: dict[str, str]) -> None:
    async with session.get(f"{event['rawPath']}?{event['rawQueryString']}") as upstream:
        response = await api.open_response(request_id, {})
        prelude = {"statusCode": upstream.status, "headers": dict(upstream.headers), "cookies": []}
        await response.write(json.dumps(prelude).encode(), bytes(8))
        async for piece in upstream.content.iter_any():
            await response.write(piece)
        await response.end()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
