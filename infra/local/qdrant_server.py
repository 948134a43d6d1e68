"""A Qdrant server for one machine: the REST API's core over Qdrant's own embedded engine, kept in a folder.

    python -m infra.local.qdrant_server --folder .headrace/qdrant --port 6333

No Qdrant server comes from the package registries, but its engine does
(qdrant-edge-py). Headrace thus speaks the same protocol here as to Qdrant
Cloud. Like the Cloud, it refuses to filter by a key that has no index.
Reference: https://api.qdrant.tech/api-reference
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import qdrant_edge as edge
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from infra.local.qdrant_filters import BadFilterError, fields_of, read_filter

T = TypeVar("T")

DISTANCES = {"Cosine": edge.Distance.Cosine, "Dot": edge.Distance.Dot, "Euclid": edge.Distance.Euclid}


class ApiError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Collection:
    """One collection: a shard of the engine, its configuration and its payload indexes."""

    def __init__(self, folder: Path) -> None:
        self._meta = folder / "collection.json"
        self._shard_folder = folder / "shard"
        self.config: dict[str, Any] = json.loads(self._meta.read_text())
        self.shard = edge.EdgeShard.load(str(self._shard_folder))

    @classmethod
    def create(cls, folder: Path, config: dict[str, Any]) -> Collection:
        vectors = {
            name: edge.EdgeVectorParams(size=params["size"], distance=DISTANCES[params["distance"]])
            for name, params in config["vectors"].items()
        }
        shard = folder / "shard"
        shard.mkdir(parents=True)
        edge.EdgeShard.create(str(shard), edge.EdgeConfig(vectors=vectors)).close()
        (folder / "collection.json").write_text(json.dumps({**config, "indexes": {}}))
        return cls(folder)

    def add_index(self, field: str, schema: str | dict[str, Any]) -> None:
        kind = schema if isinstance(schema, str) else schema["type"]
        self.shard.update(edge.UpdateOperation.create_field_index(field, _schema(kind)))
        self.config["indexes"][field] = schema
        self._meta.write_text(json.dumps(self.config))

    def filter(self, body: dict[str, Any] | None) -> edge.Filter | None:
        unindexed = fields_of(body) - set(self.config["indexes"])
        if unindexed:
            raise ApiError(400, f'Bad request: Index required but not found for "{min(unindexed)}"')
        return read_filter(body)


class QdrantServer:
    """The routes. The engine is synchronous and one thread serves it, so the loop stays free."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._executor = ThreadPoolExecutor(1, "qdrant")
        folder.mkdir(parents=True, exist_ok=True)
        self._collections = {path.parent.name: Collection(path.parent) for path in folder.glob("*/collection.json")}

    def app(self) -> Starlette:
        """The ASGI application."""
        name = "/collections/{name}"
        routes = [
            Route("/readyz", _ready),
            Route("/collections", self._route(self._list)),
            Route(name, self._route(self._get), methods=["GET"]),
            Route(name, self._route(self._create), methods=["PUT"]),
            Route(name, self._route(self._delete), methods=["DELETE"]),
            Route(f"{name}/index", self._route(self._index), methods=["PUT"]),
            Route(f"{name}/points", self._route(self._upsert), methods=["PUT"]),
            Route(f"{name}/points", self._route(self._retrieve), methods=["POST"]),
            Route(f"{name}/points/delete", self._route(self._delete_points), methods=["POST"]),
            Route(f"{name}/points/query", self._route(self._query), methods=["POST"]),
            Route(f"{name}/points/query/batch", self._route(self._query_batch), methods=["POST"]),
            Route(f"{name}/points/count", self._route(self._count), methods=["POST"]),
            Route(f"{name}/points/scroll", self._route(self._scroll), methods=["POST"]),
        ]
        return Starlette(routes=routes)

    def close(self) -> None:
        """Write everything down and let the engine go."""
        for collection in self._collections.values():
            collection.shard.close()
        self._executor.shutdown()

    def _route(self, operation: Callable[[str, dict[str, Any]], Any]) -> Callable[[Request], Awaitable[JSONResponse]]:
        async def endpoint(request: Request) -> JSONResponse:
            started = time.perf_counter()
            raw = await request.body()
            try:
                body = json.loads(raw) if raw else {}
                name = request.path_params.get("name", "")
                call = asyncio.get_running_loop().run_in_executor(self._executor, operation, name, body)
                answer, http = {"result": await call, "status": "ok"}, 200
            except ApiError as error:
                answer, http = {"status": {"error": str(error)}}, error.status
            except (BadFilterError, ValueError, KeyError, TypeError, OverflowError) as error:
                answer, http = {"status": {"error": f"Format error in JSON body: {error}"}}, 400
            return JSONResponse({**answer, "time": time.perf_counter() - started}, status_code=http)

        return endpoint

    def _collection(self, name: str) -> Collection:
        if name not in self._collections:
            raise ApiError(404, f"Not found: Collection `{name}` doesn't exist!")
        return self._collections[name]

    def _list(self, _name: str, _body: dict[str, Any]) -> dict[str, Any]:
        return {"collections": [{"name": name} for name in sorted(self._collections)]}

    def _get(self, name: str, _body: dict[str, Any]) -> dict[str, Any]:
        collection = self._collection(name)
        schema = {field: {"data_type": s if isinstance(s, str) else s["type"], "points": 0}
                  for field, s in collection.config["indexes"].items()}  # fmt: skip
        count = collection.shard.count(edge.CountRequest(exact=True))
        params = {"vectors": collection.config["vectors"]}
        return {"status": "green", "points_count": count, "config": {"params": params}, "payload_schema": schema}

    def _create(self, name: str, body: dict[str, Any]) -> bool:
        if name in self._collections:
            raise ApiError(409, f"Wrong input: Collection `{name}` already exists!")
        if not name.replace("-", "").replace("_", "").isalnum():
            raise ApiError(422, f"Wrong input: invalid collection name {name!r}")
        self._collections[name] = Collection.create(self._folder / name, body)
        return True

    def _delete(self, name: str, _body: dict[str, Any]) -> bool:
        import shutil

        collection = self._collections.pop(name, None)
        if collection is not None:
            collection.shard.close()
            shutil.rmtree(self._folder / name)
        return collection is not None

    def _index(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        self._collection(name).add_index(body["field_name"], body["field_schema"])
        return _updated()

    def _upsert(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        points = [edge.Point(_point_id(p["id"]), p["vector"], p.get("payload")) for p in body["points"]]
        self._collection(name).shard.update(edge.UpdateOperation.upsert_points(points))
        return _updated()

    def _delete_points(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        collection = self._collection(name)
        if "points" in body:
            operation = edge.UpdateOperation.delete_points([_point_id(i) for i in body["points"]])
        else:
            doomed = collection.filter(body["filter"]) or edge.Filter()
            operation = edge.UpdateOperation.delete_points_by_filter(doomed)
        collection.shard.update(operation)
        return _updated()

    def _query(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        collection = self._collection(name)
        request = edge.QueryRequest(
            limit=body.get("limit", 10),
            offset=body.get("offset", 0),
            query=edge.Query.Nearest(body["query"], using=body.get("using")),
            filter=collection.filter(body.get("filter")),
            score_threshold=body.get("score_threshold"),
            with_payload=body.get("with_payload", False),
            with_vector=body.get("with_vector", False),
        )
        points = collection.shard.query(request)
        return {"points": [{**_record(p), "version": p.version, "score": p.score} for p in points]}

    def _query_batch(self, name: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        return [self._query(name, search) for search in body["searches"]]

    def _retrieve(self, name: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        ids: list[int | UUID | str] = [_point_id(i) for i in body["ids"]]
        records = self._collection(name).shard.retrieve(
            ids, body.get("with_payload", True), body.get("with_vector", False)
        )
        return [_record(record) for record in records]

    def _count(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        collection = self._collection(name)
        request = edge.CountRequest(filter=collection.filter(body.get("filter")), exact=True)
        return {"count": collection.shard.count(request)}

    def _scroll(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        collection = self._collection(name)
        offset = body.get("offset")
        records, following = collection.shard.scroll(
            edge.ScrollRequest(
                offset=None if offset is None else _point_id(offset),
                limit=body.get("limit", 10),
                filter=collection.filter(body.get("filter")),
                with_payload=body.get("with_payload", True),
                with_vector=body.get("with_vector", False),
            )
        )
        return {
            "points": [_record(record) for record in records],
            "next_page_offset": None if following is None else _plain_id(following),
        }


async def _ready(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


def _updated() -> dict[str, Any]:
    return {"operation_id": 0, "status": "completed"}


def _record(record: edge.Record | edge.ScoredPoint) -> dict[str, Any]:
    fields: dict[str, Any] = {"id": _plain_id(record.id), "payload": record.payload}
    return fields if record.vector is None else {**fields, "vector": record.vector}


def _point_id(value: object) -> int | UUID:
    return value if isinstance(value, int) else UUID(str(value))


def _plain_id(value: int | UUID | str) -> int | str:
    return value if isinstance(value, int) else str(value)


def _schema(kind: str) -> edge.PayloadSchemaType:
    schema: edge.PayloadSchemaType = getattr(edge.PayloadSchemaType, kind.capitalize())
    return schema


def main() -> None:
    """Serve until told to stop."""
    import uvicorn

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where collections are kept")
    parser.add_argument("--port", type=int, default=6333, help="port on 127.0.0.1 (default 6333)")
    args = parser.parse_args()
    server = QdrantServer(args.folder)
    try:
        uvicorn.run(server.app(), host="127.0.0.1", port=args.port, log_level="warning")
    finally:
        server.close()


if __name__ == "__main__":
    main()
