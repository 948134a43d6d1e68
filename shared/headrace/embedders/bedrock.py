"""Embeddings from Amazon Bedrock: Titan's and Cohere's models, asked with the function's own role, without a key.

Bedrock's OpenAI-compatible endpoints have none. Sources:
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import quote

from headrace.clients.aws import AwsAccess, AwsApi, AwsReply, open_aws_api
from headrace.concurrency.gather import gather_all
from headrace.concurrency.retries import read_retry_after, with_retries
from headrace.errors import ConfigurationError, EmbedderUnavailableError, HeadraceError, RefusedError, UnavailableError
from headrace.vectors import unit

CONCURRENT_CALLS = 8
ATTEMPTS = 4
DEADLINE_SECONDS = 60.0
# Cohere takes so many texts in one call, Titan one.
COHERE_TEXTS = 96
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
MAX_TOKENS = {"amazon.titan": 8192, "cohere": 512}


class BedrockEmbedder:
    """An Embedder on Bedrock's InvokeModel."""

    # Cosines of Titan's and Cohere's models run lower than MiniLM's.
    relevance_floor = 0.2

    def __init__(self, api: AwsApi, *, model: str) -> None:
        self._api = api
        self._path = f"/model/{quote(model, safe='')}/invoke"
        self.model = model
        self._is_cohere = "cohere." in model
        self.max_tokens = MAX_TOKENS["cohere" if self._is_cohere else "amazon.titan"]

    async def check(self) -> None:
        await self.embed(["ready?"])

    def count_tokens(self, text: str) -> int:
        return len(text.encode())

    async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        gate = asyncio.Semaphore(CONCURRENT_CALLS)

        async def call(batch: Sequence[str]) -> list[Sequence[float]]:
            async with gate:
                return await self._invoke(batch)

        size = COHERE_TEXTS if self._is_cohere else 1
        batches = [texts[start : start + size] for start in range(0, len(texts), size)]
        return [vector for embedded in await gather_all(call(batch) for batch in batches) for vector in embedded]

    async def _invoke(self, batch: Sequence[str]) -> list[Sequence[float]]:
        answer = await with_retries(
            lambda: self._post(self._body(batch)),
            attempts=ATTEMPTS,
            deadline_seconds=DEADLINE_SECONDS,
            on_timeout=lambda: EmbedderUnavailableError(
                f"Amazon Bedrock did not answer within {DEADLINE_SECONDS:g} seconds. Try again."
            ),
        )
        found: list[Sequence[float]] = answer["embeddings"] if self._is_cohere else [answer["embedding"]]
        vectors = [unit(vector) for vector in found]
        if len(vectors) != len(batch) or not all(vectors):
            raise EmbedderUnavailableError(
                f"{self.model} gave {len(vectors)} vectors for {len(batch)} texts, or empty ones."
            )
        return vectors

    def _body(self, batch: Sequence[str]) -> bytes:
        # No model takes a text of nothing.
        batch = [text or " " for text in batch]
        if self._is_cohere:
            # Questions and passages are embedded alike: one collection serves both.
            return json.dumps({"texts": batch, "input_type": "search_document", "truncate": "END"}).encode()
        return json.dumps({"inputText": batch[0], "normalize": True}).encode()

    async def _post(self, body: bytes) -> dict[str, Any]:
        with _faults():
            reply = await self._api.post(self._path, body, HEADERS)
            if reply.status >= 400:
                raise _fault(self.model, reply)
            answer: dict[str, Any] = json.loads(reply.text)
            return answer


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except EmbedderUnavailableError:
        raise
    except (UnavailableError, ValueError) as error:
        raise EmbedderUnavailableError("Amazon Bedrock does not answer. Try again in a moment.") from error


def _fault(model: str, reply: AwsReply) -> HeadraceError:
    status = reply.status
    if status in {408, 429} or status >= 500:
        seconds = read_retry_after(reply.retry_after)
        return EmbedderUnavailableError(f"Amazon Bedrock answered with status {status}.", retry_after_seconds=seconds)
    if status in {401, 403}:
        return ConfigurationError(
            f"Amazon Bedrock refused the role (status {status}). It needs bedrock:InvokeModel on {model}, and the account access to it."
        )
    return RefusedError(f"Amazon Bedrock refused to embed (status {status}): {reply.text[:200]}")


@asynccontextmanager
async def open_bedrock_embedder(access: AwsAccess, *, model: str) -> AsyncIterator[BedrockEmbedder]:
    """The embedder in the role's own region. Connects at its first call, closes its connections at the end."""
    async with open_aws_api(access, "bedrock", host="bedrock-runtime") as api:
        yield BedrockEmbedder(api, model=model)
