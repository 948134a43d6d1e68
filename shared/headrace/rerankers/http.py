"""A reranking model behind the `/rerank` endpoint that Cohere, Jina, vLLM, LiteLLM and others share.

Protocol: https://docs.cohere.com/reference/rerank
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from headrace.clients.http import Api, JsonApi, open_json_api
from headrace.concurrency.retries import READ_DEADLINE_SECONDS
from headrace.errors import RerankerUnavailableError
from headrace.types import Passage

API = Api("The reranking model", "RERANK_API_KEY", RerankerUnavailableError)


class HttpReranker:
    """A Reranker on `POST <url>/rerank`."""

    def __init__(self, api: JsonApi, *, model: str) -> None:
        self._api = api
        self.model = model

    async def check(self) -> None:
        """Nothing to ask for free: the first question tells."""

    async def rerank(self, question: str, passages: Sequence[Passage]) -> list[float]:
        documents = [passage.chunk.text_to_embed for passage in passages]
        body = {"model": self.model, "query": question, "documents": documents, "top_n": len(documents)}
        reply = await self._api.call("POST", "/rerank", body, deadline_seconds=READ_DEADLINE_SECONDS)
        try:
            scores = {int(result["index"]): float(result["relevance_score"]) for result in reply.value["results"]}
            return [scores[place] for place in range(len(documents))]
        except (KeyError, TypeError, ValueError) as error:
            raise RerankerUnavailableError("The reranking model did not answer for every passage.") from error


@asynccontextmanager
async def open_http_reranker(url: str, *, api_key: str, model: str) -> AsyncIterator[HttpReranker]:
    """The reranker at `url`; connects at its first call."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    async with open_json_api(url, API, headers=headers) as api:
        yield HttpReranker(api, model=model)
