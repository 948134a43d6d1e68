"""What an operator does by hand: `make rebuild`, `reindex` and `redrive`, with the same settings as the functions.

python -m functions.ingest rebuild [--tenant NAME]   make a lost registry whole from bucket and store
python -m functions.ingest reindex [--tenant NAME]   move to the model that EMBEDDING_MODEL names
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from functions.ingest.dead_letters import redrive
from functions.ingest.main import open_parts
from functions.ingest.rebuild import rebuild
from functions.ingest.reindex import ReindexParts, reindex
from headrace import wiring
from headrace.errors import HeadraceError
from headrace.settings import Settings


def main() -> int:
    """0 when all is done; 1 with a sentence for whatever hinders it."""
    parser = argparse.ArgumentParser(
        prog="python -m functions.ingest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=tuple(ACTIONS))
    parser.add_argument("--tenant", help="this tenant alone (default: every tenant)")
    given = parser.parse_args()
    try:
        asyncio.run(ACTIONS[given.action](given.tenant))
    except HeadraceError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. What was done is kept; run it again to go on.", file=sys.stderr)
        return 1
    return 0


async def _rebuild(tenant: str | None) -> None:
    async with open_parts() as parts:
        found = {*await parts.bucket.tenants(), *await parts.registry.tenants()}
        for name in [tenant] if tenant else sorted(found):
            report = await rebuild(name, parts, queue=None, say=_say)
            _say(f"{name}: {report.recovered} documents recovered, {report.read_anew} read anew or forgotten")


async def _reindex(tenant: str | None) -> None:
    settings = Settings.from_env(os.environ)
    async with AsyncExitStack() as stack:
        registry = wiring.registry_on(await stack.enter_async_context(wiring.open_redis(settings)))
        embedder = await stack.enter_async_context(wiring.open_embedder(settings))
        target = await stack.enter_async_context(wiring.open_store(settings))
        bucket = await stack.enter_async_context(wiring.open_bucket(settings))

        async def tenants() -> set[str]:
            return {*await registry.tenants(), *await bucket.tenants()}

        models: dict[str, set[str]] = {}
        for name in await tenants():
            models.setdefault((await registry.standing(name)).embedding_model, set()).add(name)
        for model, names in sorted(models.items()):
            if model in {"", embedder.model}:
                continue
            source = await stack.enter_async_context(wiring.open_store(replace(settings, embedding_model=model)))
            for name in sorted(names & {tenant} if tenant else names):
                await reindex(name, ReindexParts(source, target, embedder, registry), say=_say)
            # Asked again: a tenant may have begun with the old model meanwhile.
            if model not in {(await registry.standing(name)).embedding_model for name in await tenants()}:
                await source.drop()
                _say(f"the collection of {model} is deleted")
    _say(f"every tenant asked for is indexed with {settings.embedding_model}")


async def _redrive(tenant: str | None) -> None:
    async with open_parts() as parts:
        for name in [tenant] if tenant else await parts.registry.tenants():
            count = await redrive(name, parts)
            _say(f"{name}: {count} documents are tried again; GET /documents tells how it goes")


ACTIONS: dict[str, Callable[[str | None], Coroutine[Any, Any, None]]] = {
    "rebuild": _rebuild,
    "reindex": _reindex,
    "redrive": _redrive,
}


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
