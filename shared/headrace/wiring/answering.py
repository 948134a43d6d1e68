"""Wiring of answers: language model, answerer, judge, and all that the answering pipeline takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.clients.dialects import AUTO
from headrace.settings import EXTRACTIVE_MODEL, Settings
from headrace.wiring.agents import agents_on, document_tools_on, open_tool_sources
from headrace.wiring.knowledge import open_embedder, open_reranker, open_store, retriever_on
from headrace.wiring.state import cache_on, conversations_on, open_redis, registry_on, single_flight_on
from headrace.wiring.traces import Tracing

if TYPE_CHECKING:
    from redis.asyncio import Redis  # noqa: TID251 - the type only

    from headrace.answering.dependencies import AnswerDependencies, NearQuestions
    from headrace.answering.dialogue import DialogueManager
    from headrace.protocols import Answerer, ChatModel, Tracer


@asynccontextmanager
async def open_answering(
    settings: Settings, client: Redis, tracer: Tracer | None = None
) -> AsyncIterator[AnswerDependencies]:
    """All that answering takes, with a tracer's spans around what takes time."""
    from headrace.answering.dependencies import AnswerDependencies

    traced = Tracing(tracer)
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(open_store(settings))
        store = traced.search(opened, settings.vector_store)
        embedder = traced.embedder(await stack.enter_async_context(open_embedder(settings)))
        primary = model = None
        if settings.chat_model != EXTRACTIVE_MODEL:
            first = await stack.enter_async_context(open_chat_model(settings, settings.chat_model))
            primary = traced.model(first, settings.openai_provider)
            model = await stack.enter_async_context(open_answering_model(settings, primary))
        answerer, *others = answerers_on(model, settings)
        dialogue = None
        if model is not None and primary is not None:
            dialogue = await stack.enter_async_context(open_dialogue(settings, primary, model))
        # A verdict is kept under its judge's name: no other model stands in for it.
        near_questions = await stack.enter_async_context(open_near_questions(settings, chat_model=primary))
        if near_questions is not None:
            near_questions = replace(near_questions, judge=traced.judge(near_questions.judge))
        reranker = traced.reranker(await stack.enter_async_context(open_reranker(settings)))
        listening = await stack.enter_async_context(open_redis(settings))
        registry = registry_on(client, listening)
        retriever = retriever_on(settings, embedder, store, registry, reranker)
        documents = document_tools_on(retriever, store, registry)
        tool_caller = None
        if model is not None:
            sources = await stack.enter_async_context(open_tool_sources(settings, documents))
            agent, tool_caller = agents_on(model, traced.tools(sources), settings)
            others = [agent, *others]
        yield AnswerDependencies(
            retriever=retriever,
            registry=registry,
            cache=cache_on(client, settings),
            single_flight=single_flight_on(client, listening),
            conversations=conversations_on(client, settings),
            answerer=answerer,
            other_answerers={other.name: other for other in others},
            near_questions=near_questions,
            dialogue=dialogue,
            tool_caller=tool_caller,
            document_tools=documents,
            checks={"registry": registry, "store": store, "embedder": embedder, "model": answerer},
        )


def answerers_on(model: ChatModel | None, settings: Settings) -> list[Answerer]:
    """What makes answers, the default first: the language model, if there is one, and quotes from the documents."""
    from headrace.answering.extractive import ExtractiveAnswerer

    if model is None:
        return [ExtractiveAnswerer()]
    from headrace.answering.generation import LanguageModelAnswerer

    return [LanguageModelAnswerer(model, max_tokens=settings.answer_max_tokens), ExtractiveAnswerer()]


@asynccontextmanager
async def open_dialogue(settings: Settings, chat_model: ChatModel, writer: ChatModel) -> AsyncIterator[DialogueManager]:
    """What reads messages, with the small model where one is configured, and converses."""
    from headrace.answering.dialogue import DialogueManager

    small = settings.judge_model
    shared = not small or small in {settings.chat_model, EXTRACTIVE_MODEL}
    async with nullcontext(chat_model) if shared else open_chat_model(settings, small) as reader:
        yield DialogueManager(reader, writer, max_tokens=settings.answer_max_tokens)


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


@asynccontextmanager
async def open_answering_model(settings: Settings, primary: ChatModel) -> AsyncIterator[ChatModel]:
    """The language model that writes answers, with those that stand in for it."""
    names = [name.strip() for name in settings.fallback_models.split(",") if name.strip()]
    if not names:
        yield primary
        return
    async with AsyncExitStack() as stack:
        from headrace.models.fallback import FallbackModel

        others = [await stack.enter_async_context(_open_fallback_model(settings, name)) for name in names]
        yield FallbackModel([primary, *others])


def _open_fallback_model(settings: Settings, model: str) -> AbstractAsyncContextManager[ChatModel]:
    """A model on the fallback server, if one is configured, else on the first one's. No server gets another's key."""
    if not (settings.fallback_base_url or settings.fallback_api_key or settings.fallback_provider != AUTO):
        return open_chat_model(settings, model)
    return _open_model(
        settings, model, settings.fallback_api_key, settings.fallback_base_url, settings.fallback_provider
    )


def open_chat_model(settings: Settings, model: str) -> AbstractAsyncContextManager[ChatModel]:
    """A language model behind OpenAI's API."""
    return _open_model(settings, model, settings.openai_api_key, settings.openai_base_url, settings.openai_provider)


def _open_model(
    settings: Settings, model: str, api_key: str, base_url: str, provider: str
) -> AbstractAsyncContextManager[ChatModel]:
    from headrace.models.openai import open_openai_model

    return open_openai_model(
        api_key=api_key,
        base_url=base_url,
        model=model,
        provider=provider,
        idle_timeout_seconds=settings.model_idle_timeout_seconds,
    )


def open_context_model(settings: Settings) -> AbstractAsyncContextManager[ChatModel | None]:
    """The model that writes what each chunk is about, if one is configured."""
    if not settings.chunk_context_model:
        return nullcontext()
    return open_chat_model(settings, settings.chunk_context_model)
