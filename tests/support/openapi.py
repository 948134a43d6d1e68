"""Holds what Headrace and the doubles say to each other against the vendors' published OpenAPI descriptions.

    python -m tests.support.openapi --qdrant openapi.json --pinecone db_control.oas.yaml db_data.oas.yaml

The descriptions stand in qdrant/qdrant (docs/redoc/master/openapi.json) and pinecone-io/pinecone-api (a folder a
version). Each request body and each answer of tests/support/exercise.py is validated; prints what does not fit.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from headrace.stores.pinecone import PineconeRegion, open_pinecone_store
from headrace.stores.qdrant import open_qdrant_store
from infra.local.qdrant_server import QdrantServer
from tests.support.exercise import exercise
from tests.support.http import served
from tests.support.pinecone_server import pinecone_double
from tests.support.recorder import Exchange, recorded


def main() -> int:
    """0 when everything fits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qdrant", type=Path, nargs="*", default=[])
    parser.add_argument("--pinecone", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    problems = 0
    for files, talk in ((given.qdrant, _talk_to_qdrant), (given.pinecone, _talk_to_pinecone)):
        if files:
            problems += _check(asyncio.run(talk()), [_load(path) for path in files])
    return 1 if problems else 0


async def _talk_to_qdrant() -> list[Exchange]:
    exchanges: list[Exchange] = []
    with tempfile.TemporaryDirectory() as folder:
        server = QdrantServer(Path(folder))
        async with served(recorded(server.app(), exchanges)) as url:
            async with open_qdrant_store(url, api_key="", collection="c") as store:
                await exercise(store)
        server.close()
    return exchanges


async def _talk_to_pinecone() -> list[Exchange]:
    exchanges: list[Exchange] = []
    async with pinecone_double(wrap=lambda app: recorded(app, exchanges)) as double:
        opening = open_pinecone_store(double.url, api_key="key", collection="headrace-c", region=PineconeRegion())
        async with opening as store:
            await exercise(store)
    return exchanges


def _load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return _plain(document)


def _plain(value: Any) -> Any:
    """OpenAPI's `nullable` in JSON Schema's words."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    plain = {name: _plain(item) for name, item in value.items()}
    return {"anyOf": [plain, {"type": "null"}]} if plain.pop("nullable", False) else plain


def _check(exchanges: list[Exchange], documents: list[dict[str, Any]]) -> int:
    problems = checked = 0
    for exchange in exchanges:
        document, operation = _operation(exchange, documents)
        answer = operation["responses"].get(str(exchange.status)) or operation["responses"].get("4XX", {})
        for what, body, part in (
            ("request", exchange.request, operation.get("requestBody", {})),
            ("answer", exchange.answer, answer),
        ):
            schema = part.get("content", {}).get("application/json", {}).get("schema")
            if schema is None or body is None:
                continue
            checked += 1
            for error in Draft202012Validator({**document, **schema}).iter_errors(body):
                problems += 1
                where = "/".join(map(str, error.absolute_path))
                print(f"{exchange.method} {exchange.path} {exchange.status}: {what} at {where}: {error.message[:300]}")
    operations = {(e.method, _operation(e, documents)[1]["operationId"]) for e in exchanges}
    print(f"{len(exchanges)} exchanges of {len(operations)} operations, {checked} bodies: {problems} problems")
    return problems


def _operation(exchange: Exchange, documents: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    for document in documents:
        for path, operations in document["paths"].items():
            pattern = re.sub(r"\\{[^/]+\\}", "[^/]+", re.escape(path))
            if re.fullmatch(pattern, exchange.path) and exchange.method.lower() in operations:
                return document, operations[exchange.method.lower()]
    raise AssertionError(f"no published operation: {exchange.method} {exchange.path}")


if __name__ == "__main__":
    sys.exit(main())
