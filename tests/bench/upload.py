"""From upload to searchable on the local stack: one page at a time, then a thousand small files at once."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3

from headrace import wiring
from headrace.types import Document, DocumentKey, DocumentState
from infra.local.bucket import CREDENTIALS
from infra.local.processes import free_port
from infra.local.stack import Stack, StackOptions, run_stack

PAGES = 40
AT_ONCE = 1000
PAGE = "The shaft seal of feed pump {number} is replaced every four thousand operating hours, by two people. " * 25
LONGEST_SECONDS = 600.0


async def run() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        options = StackOptions(Path(folder), port=free_port(), s3_port=free_port(), maintenance_seconds=900.0)
        async with run_stack(options, environ=os.environ, report=lambda _: None) as stack:
            async with wiring.open_redis(stack.settings) as redis:
                await _measure(stack, wiring.registry_on(redis))


async def _measure(stack: Stack, registry: Any) -> None:
    s3 = boto3.Session(
        CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1"
    ).client("s3", endpoint_url=stack.s3_url)

    def put(name: str, content: str) -> None:
        s3.put_object(Bucket=stack.settings.bucket, Key=f"documents/{name}", Body=content.encode())

    seconds = []
    for number in range(PAGES):
        started = time.perf_counter()
        await asyncio.to_thread(put, f"page-{number}.txt", PAGE.format(number=number))
        key = DocumentKey(f"documents/page-{number}.txt")
        while not _is_ready(await registry.get(key)):
            await asyncio.sleep(0.005)
        seconds.append(time.perf_counter() - started)
    seconds.sort()
    p99 = seconds[min(len(seconds) - 1, round(0.99 * len(seconds)))]
    print(
        f"\nupload to searchable, one page of text: p50 {statistics.median(seconds):.2f} s, p99 {p99:.2f} s of {PAGES}"
    )

    started = time.perf_counter()
    for number in range(AT_ONCE):
        await asyncio.to_thread(put, f"small/{number}.txt", f"Note {number}: valve {number} is closed.")
    uploaded = time.perf_counter() - started
    while time.perf_counter() - started < LONGEST_SECONDS:
        states = [document.state.value for document in await registry.documents("small")]
        if len(states) == AT_ONCE and set(states) <= {"ready", "failed"}:
            break
        await asyncio.sleep(0.5)
    done = time.perf_counter() - started
    print(f"{AT_ONCE} small files: uploaded in {uploaded:.0f} s, {states.count('ready')} ready after {done:.0f} s")


def _is_ready(document: Document | None) -> bool:
    return document is not None and document.state is DocumentState.READY


if __name__ == "__main__":
    asyncio.run(run())
