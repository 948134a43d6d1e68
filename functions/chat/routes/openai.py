"""OpenAI's routes: `/v1/chat/completions`, `/v1/responses`, `/v1/embeddings` and `/v1/models`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from functions.chat.dependencies import ChatDependencies, Deadline, Dependencies, Reader, visit_of
from functions.chat.responses import streamed_answer, unless_abandoned, whole_answer
from functions.chat.wire import completions, embeddings, parameters
from functions.chat.wire.bodies import filter_of
from functions.chat.wire.forms import check_form
from functions.chat.wire.openai_bodies import Asked, CompletionBody, EmbeddingBody, ResponseBody, asked_in
from functions.chat.wire.responses import ResponseWriter, new_response_id
from headrace.answering.dependencies import AnswerDependencies
from headrace.errors import UnknownModelError, UnsupportedParameterError
from headrace.types import Question


def add_openai_routes(app: FastAPI) -> None:
    """`GET /v1/models`, `GET /v1/models/{name}` and the three that are asked."""

    @app.get("/v1/models")
    async def models(deps: Dependencies) -> dict[str, Any]:
        return completions.models([*deps.answering.models, deps.answering.retriever.embedding_model])

    @app.get("/v1/models/{name:path}")
    async def model(name: str, deps: Dependencies) -> dict[str, Any]:
        if name != deps.answering.retriever.embedding_model:
            deps.answering.using(name)
        return completions.model(name)

    @app.post("/v1/chat/completions")
    async def chat_completions(
        body: CompletionBody, request: Request, deps: Dependencies, asker: Reader, deadline_seconds: Deadline
    ) -> Response:
        """OpenAI's Chat Completions, with the citations beside the answer."""
        unused = parameters.CHAT.check(body.model_extra) + body.unused()
        asked = asked_in(body, param="messages")
        answering = _answering(body.model, asked, deps)
        await check_form(asked.options.constraint, answering.answerer, param="response_format")
        question = Question(
            asked.text,
            asker,
            history=asked.history,
            filter=filter_of(body.filter),
            options=asked.options,
            tools=asked.tools,
        )
        writer = completions.CompletionWriter(body, body.citations or deps.citations, unused)
        respond = streamed_answer if body.stream else whole_answer
        return await respond(question, answering, request, deps, writer, deadline_seconds=deadline_seconds)

    @app.post("/v1/responses")
    async def responses(
        body: ResponseBody, request: Request, deps: Dependencies, asker: Reader, deadline_seconds: Deadline
    ) -> Response:
        """OpenAI's Responses, with the citations as annotations and, with their quotes, beside the answer."""
        unused = parameters.RESPONSES.check(body.model_extra) + body.unused()
        asked = asked_in(body, param="input")
        answering = _answering(body.model, asked, deps)
        await check_form(asked.options.constraint, answering.answerer, param="text.format")
        response_id = new_response_id()
        question = Question(
            asked.text,
            asker,
            history=asked.history,
            follows=body.previous_response_id,
            remember_as=None if body.store is False else response_id,
            filter=filter_of(body.filter),
            options=asked.options,
            tools=asked.tools,
        )
        writer = ResponseWriter(body, response_id, body.citations or deps.citations, unused)
        respond = streamed_answer if body.stream else whole_answer
        return await respond(question, answering, request, deps, writer, deadline_seconds=deadline_seconds)

    @app.post("/v1/embeddings")
    async def embed(
        body: EmbeddingBody,
        request: Request,
        deps: Dependencies,
        asker: Reader,  # noqa: ARG001 - a reader asks
        deadline_seconds: Deadline,
    ) -> Response:
        """OpenAI's Embeddings, by the model that the documents are embedded with."""
        unused = parameters.EMBEDDINGS.check(body.model_extra)
        embedder, texts = deps.answering.retriever.embedder, body.texts
        if body.model != embedder.model:
            raise UnknownModelError(
                f"There is no embedding model {body.model!r}; there is {embedder.model!r}.", param="model"
            )
        visit = visit_of(request)
        # Questions wait for the same model: who embeds takes a place among those who search.
        visit.begin_search(deps.load)

        async def made() -> dict[str, Any]:
            async with asyncio.timeout(deadline_seconds):
                if body.dimensions is not None:
                    _check_dimensions(body.dimensions, await embedder.embed(texts[:1]), embedder.model)
                tokens = await asyncio.to_thread(lambda: sum(map(embedder.count_tokens, texts)))
                visit.metrics.embedded_tokens = tokens
                vectors = await embedder.embed(texts)
                return await asyncio.to_thread(embeddings.payload, body, vectors, tokens, unused)

        return JSONResponse(await unless_abandoned(request.receive, made()))


def _answering(model: str, asked: Asked, deps: ChatDependencies) -> AnswerDependencies:
    """What answers: the model of this name, as it calls the caller's tools where there are some."""
    answering = deps.answering.using(model)
    return answering.with_client_tools() if asked.tools.is_used else answering


def _check_dimensions(wanted: int, vectors: Sequence[Sequence[float]], model: str) -> None:
    if wanted != len(vectors[0]):
        raise UnsupportedParameterError(
            f"The model {model!r} has {len(vectors[0])} dimensions. Leave `dimensions` out.", param="dimensions"
        )
