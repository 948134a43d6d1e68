"""The application that every contender of the runtime bench serves: it stamps what it sends with the machine's clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()


@app.get("/ping")
async def ping() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/tokens")
async def tokens(count: int = 20, gap_ms: int = 50) -> StreamingResponse:
    """`count` lines, each with the time at which it was sent: the monotonic clock is one for all processes."""

    async def lines() -> AsyncIterator[str]:
        for _ in range(count):
            yield f"{time.monotonic_ns()}\n"
            if gap_ms:
                await asyncio.sleep(gap_ms / 1000)

    return StreamingResponse(lines(), media_type="text/plain")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The same behind mangum, for AWS's own runtime."""
    from mangum import Mangum

    return Mangum(app, lifespan="off")(event, context)
