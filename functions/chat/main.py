"""The chat function: composition root. `app` for a server or the streaming runtime, `handler` for buffered doors."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from functions.chat.app import create_app
from functions.chat.parts import ChatParts
from headrace import wiring
from headrace.answering.answer import AnswerParts
from headrace.sandbox import Sandbox
from headrace.settings import Settings


@asynccontextmanager
async def open_parts() -> AsyncIterator[ChatParts]:
    """The real parts, from the environment."""
    settings = Settings.from_env(os.environ)
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(wiring.open_redis(settings))
        store = await stack.enter_async_context(wiring.open_store(settings))
        embedder = await stack.enter_async_context(wiring.open_embedder(settings))
        model = await stack.enter_async_context(wiring.open_chat_model(settings))
        reranker = await stack.enter_async_context(wiring.open_reranker(settings))
        registry = wiring.registry_on(redis)
        answering = AnswerParts(
            retriever=wiring.retriever_on(settings, embedder, store, registry, reranker),
            registry=registry,
            cache=wiring.cache_on(redis, settings),
            flights=wiring.flights_on(redis),
            conversations=wiring.conversations_on(redis, settings),
            model=model,
            max_tokens=settings.answer_max_tokens,
            thresholds=wiring.thresholds_of(settings),
        )
        checks = {"registry": registry, "store": store, "embedder": embedder, "model": model}
        uploads = wiring.uploads_to(settings)
        yield ChatParts(answering, checks, settings.answer_deadline_seconds, uploads, settings.max_document_bytes)


app = create_app(open_parts)

sandbox = Sandbox(lambda: app.router.lifespan_context(app))


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one buffered invocation: API Gateway, a load balancer, a BUFFERED URL or `sam remote invoke`."""
    from mangum import Mangum

    # Mangum's own lifespan would start and end the application at every call. Ours opens once.
    sandbox.open()
    return Mangum(app, lifespan="off")(event, context)
