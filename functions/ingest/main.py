"""The ingest function: woken by SQS batches of S3 notifications. Composition root and Lambda entry."""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from aws_lambda_powertools import Logger

from functions.ingest.dead_letters import give_up
from functions.ingest.dependencies import PIPELINE_VERSION, IngestDependencies
from functions.ingest.events import changed_documents
from functions.ingest.metrics import Report, report_to_cloudwatch, report_to_prometheus
from functions.ingest.pipeline import synchronise
from functions.ingest.rebuild import rebuild
from headrace import wiring
from headrace.concurrency.handler_loop import HandlerLoop
from headrace.concurrency.renewing import Renewing
from headrace.errors import InvalidInputError, UnavailableError
from headrace.queues.messages import tenant_to_rebuild
from headrace.settings import Settings

# The queue's redrive policy in template.yaml: at this receipt a message goes to the dead-letter queue.
MAX_RECEIVES = 5
CONCURRENT_DOCUMENTS = 4
# What may pass is tried again in so many seconds, by the try that failed. The queue alone would wait for half an hour each time.
PAUSES_SECONDS = (15, 60, 300, 900)
# Time to write down that a document takes too long, before Lambda ends the invocation.
DEADLINE_MARGIN_SECONDS = 10.0

logger = Logger(service="ingest")


async def read_settings() -> Settings:
    """What the environment says, and the secret that it names."""
    return await wiring.read_settings(os.environ)


@asynccontextmanager
async def open_dependencies() -> AsyncIterator[IngestDependencies]:
    """The real parts, from the environment."""
    async with open_with(await read_settings()) as deps:
        yield deps


@asynccontextmanager
async def open_with(settings: Settings) -> AsyncIterator[IngestDependencies]:
    """The real parts, as the settings shape them."""
    logger.setLevel(settings.log_level)
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(wiring.open_redis(settings))
        yield IngestDependencies(
            bucket=await stack.enter_async_context(wiring.open_bucket(settings)),
            parser=await stack.enter_async_context(wiring.open_parser(settings)),
            embedder=await stack.enter_async_context(wiring.open_embedder(settings)),
            store=await stack.enter_async_context(wiring.open_store(settings)),
            registry=wiring.registry_on(redis),
            planner=wiring.invalidation_planner_on(redis, settings),
            max_document_bytes=settings.max_document_bytes,
            queue=await stack.enter_async_context(wiring.open_queue(settings)),
            dead_letters_arn=settings.dead_letters_arn,
            context_model=await stack.enter_async_context(wiring.open_context_model(settings)),
            recipe=recipe_of(settings),
            report=await report_of(settings),
        )


async def report_of(settings: Settings) -> Report | None:
    """Who is told what became of each document."""
    match settings.metrics_kind(is_lambda="AWS_LAMBDA_FUNCTION_NAME" in os.environ):
        case "cloudwatch":
            return partial(report_to_cloudwatch, namespace=settings.metrics_namespace)
        case "prometheus":
            # It opens its files when it is loaded.
            await asyncio.to_thread(importlib.import_module, "headrace.observability.prometheus")
            return report_to_prometheus
        case _:
            return None


def recipe_of(settings: Settings) -> str:
    """Names how chunks are made under these settings: what was made otherwise is made anew when it is looked at."""
    parser = [] if settings.parser == "unstructured" else [settings.parser]
    contexts = [f"contexts by {settings.chunk_context_model}"] if settings.chunk_context_model else []
    return ", ".join([PIPELINE_VERSION, *parser, *contexts])


handler_loop = HandlerLoop(Renewing(read_settings, open_with))


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Handle one SQS batch; answers with the messages that are to come again."""
    seconds = context.get_remaining_time_in_millis() / 1000 - DEADLINE_MARGIN_SECONDS
    return handler_loop.run(lambda deps: handle_batch(event, deps, deadline_seconds=max(seconds, 0.0)))


async def handle_batch(
    event: dict[str, Any], deps: IngestDependencies, *, deadline_seconds: float | None = None
) -> dict[str, Any]:
    """Synchronise every document that the batch speaks of, a few at once.

    Answers in the form of Lambda's partial batch responses. Powertools' batch
    processor would run a loop of its own for each batch, under our open connections.
    """
    gate = asyncio.Semaphore(CONCURRENT_DOCUMENTS)
    loop = asyncio.get_running_loop()
    deadline = None if deadline_seconds is None else loop.time() + deadline_seconds

    async def handled(record: dict[str, Any]) -> bool:
        async with gate:
            left_seconds = None if deadline is None else max(deadline - loop.time(), 0.0)
            return await _handle_record(record, deps, left_seconds)

    records = event["Records"]
    done = await asyncio.gather(*(handled(record) for record in records))
    again = [record["messageId"] for record, ok in zip(records, done, strict=True) if not ok]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in again]}


async def _handle_record(record: dict[str, Any], deps: IngestDependencies, deadline_seconds: float | None) -> bool:
    """True when the message is done with, False when it is to come again."""
    last_try = int(record.get("attributes", {}).get("ApproximateReceiveCount", 1)) >= MAX_RECEIVES
    fresh = True
    try:
        tenant = tenant_to_rebuild(record["body"])
        if tenant is not None:
            await _rebuild(tenant, deps, deadline_seconds)
            return True
        for key in changed_documents(record["body"]):
            if record.get("eventSourceARN") == deps.dead_letters_arn:
                await give_up(key, deps)
                logger.warning("given up", document=key.key)
                continue
            done = await synchronise(key, deps, deadline_seconds=deadline_seconds, last_try=last_try)
            logger.info("synchronised" if done else "another attempt is at it", document=key.key)
            fresh &= done
    except InvalidInputError as error:
        logger.warning("ignored a message", reason=str(error))
    except UnavailableError as error:
        logger.warning("will be tried again", reason=str(error), last_try=last_try)
        await _come_again(record, deps)
        return False
    except Exception:
        logger.exception("failed unexpectedly; will be tried again", last_try=last_try)
        await _come_again(record, deps)
        return False
    return fresh


async def _come_again(record: dict[str, Any], deps: IngestDependencies) -> None:
    """Have the message come again soon, later with each try; the last one goes where the queue sends it."""
    tries = int(record.get("attributes", {}).get("ApproximateReceiveCount", 1))
    receipt = record.get("receiptHandle")
    if deps.queue is None or receipt is None or tries > len(PAUSES_SECONDS):
        return
    if record.get("eventSourceARN") == deps.dead_letters_arn:
        return
    try:
        await deps.queue.show_again(receipt, seconds=PAUSES_SECONDS[tries - 1])
    except UnavailableError as error:
        logger.warning("comes again later than it could", reason=str(error))


async def _rebuild(tenant: str, deps: IngestDependencies, deadline_seconds: float | None) -> None:
    """Raises UnavailableError when the time is up; what was recovered by then is found so by the next try."""
    try:
        async with asyncio.timeout(deadline_seconds):
            report = await rebuild(tenant, deps, queue=deps.queue, report_progress=logger.info)
    except TimeoutError as error:
        raise UnavailableError(f"Rebuilding the registry of {tenant!r} takes more than one invocation.") from error
    logger.info("rebuilt", tenant=tenant, recovered=report.recovered, read_anew=report.read_anew)
