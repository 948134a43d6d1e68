"""Qdrant's own engine in this process, behind the core of Qdrant's REST API: paths and JSON values in, JSON values out.

Headrace thus asks the embedded engine, the local server around it (infra/local/qdrant_server.py) and Qdrant Cloud the
same questions. Like the Cloud's strict mode, it refuses to filter by a key that has no index. One process may open a
folder at a time.
Reference: https://api.qdrant.tech/api-reference
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import qdrant_edge as edge

from headrace.stores.edge_requests import BadRequestError, fields_of, read_filter, read_query, read_vector

# What the API tells of a collection's optimizer; the engine's own runs when it likes.
OPTIMIZER = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "flush_interval_sec": 5,
}
# The graph that every collection has here. One a tenant, which a collection of Qdrant Cloud asks for, takes three times as
# long to build, and is searched no faster or better (30,000 points).
HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}
# A collection of so many points is put in order as it is opened: its graph is built, and a search then takes a sixth of the
# time. That takes 0.6 s of a core for 1,000 points, once; not while it is filled, for the engine keeps Python's lock.
POINTS_WITH_GRAPH = 5_000
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
        if self.shard.info().points_count >= POINTS_WITH_GRAPH:
            # What is in order already costs nothing.
            self.shard.optimize()

    @classmethod
    def create(cls, folder: Path, config: dict[str, Any]) -> Collection:
        vectors = {
            name: edge.EdgeVectorParams(size=params["size"], distance=DISTANCES[params["distance"]])
            for name, params in config["vectors"].items()
        }
        sparse = {name: edge.EdgeSparseVectorParams() for name in config.get("sparse_vectors", {})}
        shard = folder / "shard"
        shard.mkdir(parents=True)
        graph = edge.HnswIndexConfig(HNSW["m"], HNSW["ef_construct"], HNSW["full_scan_threshold"])
        shape = edge.EdgeConfig(vectors=vectors, sparse_vectors=sparse, hnsw_config=graph)
        edge.EdgeShard.create(str(shard), shape).close()
        (folder / "collection.json").write_text(json.dumps({**config, "indexes": {}}))
        return cls(folder)

    def add_index(self, field: str, schema: str | dict[str, Any]) -> None:
        kind = schema if isinstance(schema, str) else schema["type"]
        self.shard.update(edge.UpdateOperation.create_field_index(field, _schema(kind)))
        self.config["indexes"][field] = schema
        self._meta.write_text(json.dumps(self.config))

    def filter(self, body: Any) -> edge.Filter | None:
        """The engine's filter; raises ApiError when it speaks of a key without an index."""
        unindexed = fields_of(body) - set(self.config["indexes"])
        if unindexed:
            raise ApiError(400, f'Bad request: Index required but not found for "{min(unindexed)}"')
        return read_filter(body)


class Engine:
    """Every collection in a folder. Synchronous: whoever calls keeps it in one thread, away from the loop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._collections = {path.parent.name: Collection(path.parent) for path in folder.glob("*/collection.json")}
        name = r"/collections/(?P<name>[^/]+)"
        operations: dict[tuple[str, str], Callable[[str, dict[str, Any]], Any]] = {
            ("GET", "/collections"): self._list,
            ("GET", name): self._get,
            ("PUT", name): self._create,
            ("DELETE", name): self._delete,
            ("PUT", f"{name}/index"): self._index,
            ("PUT", f"{name}/points"): self._upsert,
            ("POST", f"{name}/points"): self._retrieve,
            ("POST", f"{name}/points/delete"): self._delete_points,
            ("POST", f"{name}/points/query"): self._query,
            ("POST", f"{name}/points/query/batch"): self._query_batch,
            ("POST", f"{name}/points/count"): self._count,
            ("POST", f"{name}/points/scroll"): self._scroll,
        }
        self._routes = [(method, re.compile(path), operation) for (method, path), operation in operations.items()]

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """The `result` of one request. Raises ApiError with the status that Qdrant would answer."""
        for known, pattern, operation in self._routes:
            match = pattern.fullmatch(path)
            if match and known == method:
                try:
                    return operation(match.groupdict().get("name", ""), body)
                except (BadRequestError, ValueError, KeyError, TypeError, OverflowError) as error:
                    raise ApiError(400, f"Format error in JSON body: {error}") from error
        raise ApiError(404, f"Not found: {method} {path}")

    def close(self) -> None:
        """Write everything down and let the engine go."""
        for collection in self._collections.values():
            collection.shard.close()

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
        info = collection.shard.info()
        params = {part: collection.config.get(part, {}) for part in ("vectors", "sparse_vectors")}
        return {
            "status": "green",
            "optimizer_status": "ok",
            "points_count": info.points_count,
            "indexed_vectors_count": info.indexed_vectors_count,
            "segments_count": info.segments_count,
            "config": {"params": params, "hnsw_config": HNSW, "optimizer_config": OPTIMIZER},
            "payload_schema": schema,
        }

    def _create(self, name: str, body: dict[str, Any]) -> bool:
        if name in self._collections:
            raise ApiError(409, f"Wrong input: Collection `{name}` already exists!")
        if not name.replace("-", "").replace("_", "").isalnum():
            raise ApiError(422, f"Wrong input: invalid collection name {name!r}")
        self._collections[name] = Collection.create(self._folder / name, body)
        return True

    def _delete(self, name: str, _body: dict[str, Any]) -> bool:
        collection = self._collections.pop(name, None)
        if collection is not None:
            collection.shard.close()
            shutil.rmtree(self._folder / name)
        return collection is not None

    def _index(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        self._collection(name).add_index(body["field_name"], body["field_schema"])
        return _updated()

    def _upsert(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        points = [edge.Point(_point_id(p["id"]), _vectors(p["vector"]), p.get("payload")) for p in body["points"]]
        self._collection(name).shard.update(edge.UpdateOperation.upsert_points(points))
        return _updated()

    def _delete_points(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        collection = self._collection(name)
        if "points" in body:
            operation = edge.UpdateOperation.delete_points([_point_id(i) for i in body["points"]])
        else:
            targets = collection.filter(body["filter"]) or edge.Filter()
            operation = edge.UpdateOperation.delete_points_by_filter(targets)
        collection.shard.update(operation)
        return _updated()

    def _query(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        collection = self._collection(name)
        points = collection.shard.query(read_query(body, collection.filter))
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


def _vectors(body: dict[str, Any]) -> dict[str, Any]:
    return {name: read_vector(vector) for name, vector in body.items()}


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
