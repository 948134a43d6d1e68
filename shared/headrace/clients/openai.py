"""Opens a client for OpenAI's API: our own over aiohttp, which costs a token and a cold start little, or the official one.

The official client signs requests for Amazon Bedrock; tests/bench/peers.py has what both cost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from headrace.clients.dialects import Dialect
from headrace.clients.openai_api import OpenAI

READ_TIMEOUT_SECONDS = 60.0
OPENAI_URL = "https://api.openai.com/v1"
RETRIES = 2


def open_openai(
    *,
    api_key: str,
    base_url: str,
    dialect: Dialect,
    retries: int = RETRIES,
    read_timeout_seconds: float = READ_TIMEOUT_SECONDS,
) -> AbstractAsyncContextManager[OpenAI]:
    """A client for OpenAI, or for any server that speaks a dialect of its API. It connects at its first call, closes at the end."""
    if dialect.signs:
        from headrace.clients.openai_sdk import open_bedrock

        return open_bedrock(base_url=base_url, retries=retries, read_timeout_seconds=read_timeout_seconds)
    return _open_http(api_key, base_url, retries, read_timeout_seconds)


@asynccontextmanager
async def _open_http(api_key: str, base_url: str, retries: int, read_timeout_seconds: float) -> AsyncIterator[OpenAI]:
    from headrace.clients.openai_http import HttpOpenAI

    # Without a URL of its own it is OpenAI's, whatever the environment says.
    client = HttpOpenAI(
        api_key=api_key, base_url=base_url or OPENAI_URL, retries=retries, read_timeout_seconds=read_timeout_seconds
    )
    try:
        yield client
    finally:
        await client.aclose()
