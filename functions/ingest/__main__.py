"""What an operator does by hand, with the same settings as the functions.

backfill [--prefix documents/…]   enqueue what the registry does not have at the version that is in the bucket
verify [--repair]                 hold bucket, registry and store against each other; ends with 1 when they differ
rebuild                           make a lost registry whole from bucket and store
reindex                           move to the model that EMBEDDING_MODEL names
redrive                           try once more what was given up
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from functions.ingest.dead_letters import redrive
from functions.ingest.dependencies import IngestDependencies
from functions.ingest.main import open_dependencies
from functions.ingest.rebuild import rebuild
from functions.ingest.reconcile import find_outdated, repair, verify
from functions.ingest.reindex import ReindexDependencies, reindex
from functions.ingest.resync import resync
from headrace import wiring
from headrace.errors import HeadraceError, InvalidInputError
from headrace.types import DOCUMENTS_PREFIX


def main() -> int:
    """0 when all is done; 1 with a sentence for whatever hinders it."""
    parser = argparse.ArgumentParser(
        prog="python -m functions.ingest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=tuple(ACTIONS))
    parser.add_argument("--tenant", help="this tenant alone (default: every tenant)")
    parser.add_argument("--prefix", default=DOCUMENTS_PREFIX, help="backfill: what lies below it (default: documents/)")
    parser.add_argument("--repair", action="store_true", help="verify: mend what it finds")
    given = parser.parse_args()
    try:
        return asyncio.run(ACTIONS[given.action](given)) or 0
    except HeadraceError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. What was done is kept; run it again to go on.", file=sys.stderr)
        return 1


async def _tenants(given: Namespace, deps: IngestDependencies) -> list[str]:
    found = {*await deps.bucket.tenants(), *await deps.registry.tenants()}
    return [given.tenant] if given.tenant else sorted(found)


async def _backfill(given: Namespace) -> None:
    if not given.prefix.startswith(DOCUMENTS_PREFIX):
        raise InvalidInputError(f"--prefix {given.prefix!r} is not below {DOCUMENTS_PREFIX}, where documents are.")
    async with open_dependencies() as deps:
        for name in await _tenants(given, deps):
            found = await find_outdated(
                name, given.prefix, bucket=deps.bucket, registry=deps.registry, recipe=deps.recipe
            )
            await resync([difference.key for difference in found], deps, queue=deps.queue)
            _print(f"{name}: {len(found)} documents {'enqueued' if deps.queue else 'read'}")


async def _verify(given: Namespace) -> int:
    count = 0
    async with open_dependencies() as deps:
        for name in await _tenants(given, deps):
            found = await verify(name, deps)
            for difference in found:
                _print(f"{difference.key} {difference.what}")
            if given.repair:
                await repair(found, deps)
            count += len(found)
            what = "differences, being mended" if given.repair and found else "differences"
            _print(f"{name}: {len(found)} {what}")
    return 1 if count and not given.repair else 0


async def _rebuild(given: Namespace) -> None:
    async with open_dependencies() as deps:
        for name in await _tenants(given, deps):
            report = await rebuild(name, deps, queue=None, report_progress=_print)
            _print(f"{name}: {report.recovered} documents recovered, {report.read_anew} read anew or forgotten")


async def _reindex(given: Namespace) -> None:
    tenant = given.tenant
    settings = await wiring.read_settings(os.environ)
    async with AsyncExitStack() as stack:
        registry = wiring.registry_on(await stack.enter_async_context(wiring.open_redis(settings)))
        embedder = await stack.enter_async_context(wiring.open_embedder(settings))
        target = await stack.enter_async_context(wiring.open_store(settings))
        bucket = await stack.enter_async_context(wiring.open_bucket(settings))

        async def tenants() -> set[str]:
            return {*await registry.tenants(), *await bucket.tenants()}

        models: dict[str, set[str]] = {}
        for name in await tenants():
            models.setdefault((await registry.snapshot(name)).embedding_model, set()).add(name)
        for model, names in sorted(models.items()):
            if model in {"", embedder.model}:
                continue
            source = await stack.enter_async_context(wiring.open_store(replace(settings, embedding_model=model)))
            for name in sorted(names & {tenant} if tenant else names):
                await reindex(name, ReindexDependencies(source, target, embedder, registry), report_progress=_print)
            # Asked again: a tenant may have begun with the old model meanwhile.
            if model not in {(await registry.snapshot(name)).embedding_model for name in await tenants()}:
                await source.drop()
                _print(f"the collection of {model} is deleted")
    _print(f"every tenant asked for is indexed with {settings.embedding_model}")


async def _redrive(given: Namespace) -> None:
    async with open_dependencies() as deps:
        for name in await _tenants(given, deps):
            count = await redrive(name, deps)
            _print(f"{name}: {count} documents are tried again; GET /documents tells how it goes")


ACTIONS: dict[str, Callable[[Namespace], Coroutine[Any, Any, int | None]]] = {
    "backfill": _backfill,
    "verify": _verify,
    "rebuild": _rebuild,
    "reindex": _reindex,
    "redrive": _redrive,
}


def _print(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
