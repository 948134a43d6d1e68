"""Wiring of answers: language model, answerer, judge, and all that the answering pipeline takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

from headrace.settings import EXTRACTIVE_MODEL, Settings
from headrace.wiring.knowledge import open_embedder, open_reranker, open_store, retriever_on
from headrace.wiring.state import cache_on, conversations_on, open_redis, registry_on, single_flight_on

if TYPE_CHECKING:
    from redis.asyncio import Redis  # noqa: TID251 - the type only

    from headrace.answering.dependencies import AnswerDependencies, NearQuestions
    from headrace.protocols import Answerer, ChatModel


@asynccontextmanager
async def open_answering(settings: Settings, client: Redis) -> AsyncIterator[AnswerDependencies]:
    """All that answering takes."""
    from headrace.answering.dependencies import AnswerDependencies

    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings))
        embedder = await stack.enter_async_context(open_embedder(settings))
        model = None
        if settings.chat_model != EXTRACTIVE_MODEL:
            model = await stack.enter_async_context(open_chat_model(settings, settings.chat_model))
        answerer = answerer_on(model, settings)
        near_questions = await stack.enter_async_context(open_near_questions(settings, chat_model=model))
        reranker = await stack.enter_async_context(open_reranker(settings))
        registry = registry_on(client)
        yield AnswerDependencies(
            retriever=retriever_on(settings, embedder, store, registry, reranker),
            registry=registry,
            cache=cache_on(client, settings),
            single_flight=single_flight_on(client, await stack.enter_async_context(open_redis(settings))),
            conversations=conversations_on(client, settings),
            answerer=answerer,
            near_questions=near_questions,
            checks={"registry": registry, "store": store, "embedder": embedder, "model": answerer},
        )


def answerer_on(model: ChatModel | None, settings: Settings) -> Answerer:
    """What makes answers: a language model, or without one quotes from the documents."""
    if model is None:
        from headrace.answering.extractive import ExtractiveAnswerer

        return ExtractiveAnswerer()
    from headrace.answering.generation import LanguageModelAnswerer

    return LanguageModelAnswerer(model, max_tokens=settings.answer_max_tokens)


@asynccontextmanager
async def open_near_questions(
    settings: Settings, *, chat_model: ChatModel | None = None
) -> AsyncIterator[NearQuestions | None]:
    """The judge of cached answers to near questions; none where answers cost nothing, or where it is turned off.

    Where it is the chat model, and that is open already, both share it and its connections.
    """
    judge_model = settings.judge_model or settings.chat_model
    if settings.cache_judge == "off" or EXTRACTIVE_MODEL in {settings.chat_model, judge_model}:
        yield None
        return
    from headrace.answering.dependencies import NearQuestions
    from headrace.answering.judge import ModelJudge

    shared = chat_model if judge_model == settings.chat_model else None
    opening = open_chat_model(settings, judge_model) if shared is None else nullcontext(shared)
    async with opening as model:
        yield NearQuestions(
            ModelJudge(model), settings.cache_judge_timeout_seconds, settings.cache_candidate_similarity
        )


def open_chat_model(settings: Settings, model: str) -> AbstractAsyncContextManager[ChatModel]:
    """A language model behind OpenAI's API."""
    from headrace.models.openai import open_openai_model

    return open_openai_model(
        api_key=settings.openai_api_key,
        base_url=settings.openai_base_url,
        model=model,
        provider=settings.openai_provider,
    )


def open_context_model(settings: Settings) -> AbstractAsyncContextManager[ChatModel | None]:
    """The model that writes what each chunk is about, if one is configured."""
    if not settings.chunk_context_model:
        return nullcontext()
    return open_chat_model(settings, settings.chunk_context_model)
