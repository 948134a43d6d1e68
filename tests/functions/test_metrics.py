"""Counters for Prometheus: of answers, and of documents that another process reads."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from functions.chat.metrics import report_to_prometheus
from functions.ingest.dependencies import IngestDependencies
from functions.ingest.main import handle_batch, report_of
from functions.ingest.metrics import report_to_cloudwatch
from headrace.ledger.pricing import Pricing
from headrace.models.openai import open_openai_model
from headrace.observability import prometheus
from headrace.queues.messages import object_changed
from headrace.settings import Settings
from headrace.types import Block, DocumentKey, DocumentState, Principal, Role
from infra.local.processes import ROOT
from tests.support.http import served
from tests.support.ingest import FolderBucket
from tests.support.library import Library
from tests.support.openai_server import Script

FACT = "The spillway of the upper dam opens at 412 metres."
QUESTION = "At what level does the spillway open?"


def samples(text: str) -> dict[tuple[str, ...], float]:
    """What is told, by name and the values of its labels, in the order of their names."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def got(url: str, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}{path}") as response:
        return response.status, await response.text()


async def ask(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/chat", json={"question": QUESTION}) as response:
            await response.read()


async def test_answers_faults_and_what_they_cost_are_counted(
    chat_app: Callable[..., Any], library: Library, openai_url: str, script: Script, stack: AsyncExitStack
) -> None:
    await library.put("dam.txt", Block(FACT))
    model = await stack.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="m-of-metrics"))
    report = partial(report_to_prometheus, pricing=Pricing({"m-of-metrics": (1.0, 10.0)}))
    app = chat_app(model, report=report, exposition=partial(prometheus.exposition, ""))
    url = await stack.enter_async_context(served(app))
    before = samples((await got(url, "/metrics"))[1])
    for _ in range(2):
        await ask(url)
    script.refusal, script.refusal_status = "no", 500
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/chat", json={"question": QUESTION, "fresh": True}) as response:
            assert response.status == 503
    # An answer is counted a moment after its end.
    for _ in range(100):
        status, text = await got(url, "/metrics")
        if "model_unavailable" in text:
            break
        await asyncio.sleep(0.05)
    assert status == 200
    after = samples(text)

    def grown(*name: str) -> float:
        return after.get(name, 0.0) - before.get(name, 0.0)

    assert grown("headrace_answers_total", "miss", "generated", "m-of-metrics") == 1
    assert grown("headrace_answers_total", "hit", "generated", "m-of-metrics") == 1
    assert grown("headrace_dollars_total") > 0
    assert grown("headrace_tokens_total", "spent") > 0
    assert grown("headrace_tokens_total", "saved") > 0
    assert grown("headrace_first_token_seconds_count") == 2
    assert grown("headrace_retrieval_similarity_count") >= 2
    assert grown("headrace_answer_errors_total", "model_unavailable", "headrace") == 1


async def test_counters_are_for_admins_and_where_they_are_kept(chat_app: Callable[..., Any], tenant: str) -> None:
    async with served(chat_app()) as url:
        status, text = await got(url, "/metrics")
        assert (status, "METRICS=prometheus" in text) == (404, True)
    app = chat_app(exposition=partial(prometheus.exposition, ""), principal=Principal(tenant, role=Role.WRITER))
    async with served(app) as url:
        assert (await got(url, "/metrics"))[0] == 403


def test_what_another_process_counts_is_told_too(tmp_path: Path) -> None:
    """The real library's shared files: two processes count, a third tells."""
    path = os.pathsep.join((str(ROOT), str(ROOT / "shared")))
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": path}
    count = "from headrace.observability import prometheus as p; p.INGEST_SECONDS.observe(3.0); p.DOLLARS.inc(2)"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", count], env=environment, check=True)
    tell = f"from headrace.observability import prometheus as p; print(p.exposition({str(tmp_path)!r}).decode())"
    told = subprocess.run([sys.executable, "-c", tell], env=environment, check=True, capture_output=True, text=True)
    found = samples(told.stdout)
    assert found[("headrace_ingest_seconds_count",)] == 2
    assert found[("headrace_ingest_seconds_sum",)] == 6
    assert found[("headrace_dollars_total",)] == 4


async def test_each_document_is_reported_once_with_what_became_of_it(
    ingest_deps: IngestDependencies, bucket: FolderBucket, tenant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[DocumentState, float | None]] = []
    deps = replace(ingest_deps, report=lambda state, seconds: told.append((state, seconds)))
    key = DocumentKey(f"documents/{tenant}/dam.txt")
    bucket.put(key.key, FACT.encode())
    event = {"Records": [{"messageId": "1", "body": object_changed(key.key)}]}
    for _ in range(2):
        assert await handle_batch(event, deps) == {"batchItemFailures": []}
    ((state, seconds),) = told
    assert state is DocumentState.READY
    assert seconds is not None
    assert 0 < seconds < 60
    report_to_cloudwatch(state, seconds, namespace="Headrace/dev")
    line = json.loads(capsys.readouterr().out)
    assert (line["IngestTime"], line["DocumentsFailed"]) == ([seconds], [0.0])
    report_to_cloudwatch(DocumentState.FAILED, None, namespace="Headrace/dev")
    line = json.loads(capsys.readouterr().out)
    assert ("IngestTime" in line, line["DocumentsFailed"]) == (False, [1.0])


async def test_what_is_given_up_is_counted_too_and_a_count_that_fails_fails_nothing(
    ingest_deps: IngestDependencies, bucket: FolderBucket, tenant: str
) -> None:
    told: list[DocumentState] = []

    def report(state: DocumentState, seconds: float | None) -> None:
        told.append(state)
        raise OSError("the disk is full")

    deps = replace(ingest_deps, report=report, dead_letters_arn="arn:dead")
    key = DocumentKey(f"documents/{tenant}/dam.txt")
    bucket.put(key.key, FACT.encode())
    letter = {"messageId": "1", "body": object_changed(key.key)}
    for _ in range(2):
        done = await handle_batch({"Records": [{**letter, "eventSourceARN": "arn:dead"}]}, deps)
        assert done == {"batchItemFailures": []}
    assert told == [DocumentState.FAILED]
    assert await handle_batch({"Records": [letter]}, deps) == {"batchItemFailures": []}
    assert told == [DocumentState.FAILED, DocumentState.READY]


async def test_who_is_told_is_a_setting() -> None:
    assert await report_of(Settings()) is None
    assert await report_of(Settings(metrics="cloudwatch")) is not None
    assert await report_of(Settings(metrics="prometheus")) is not None
