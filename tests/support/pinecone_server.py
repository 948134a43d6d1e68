"""A small Pinecone: the control plane and the vectors plane, with their limits, log numbers and late visibility.

Each index has a data server of its own, as there. A write gets the next log number and is seen by reads only after a
lag; a read may meet a replica that is further behind, and says how far it has come. Held against the vendor's client
and its published OpenAPI in tests/contract/test_pinecone_server.py.
Reference: https://docs.pinecone.io/reference/api, version 2025-10
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.faults import Faults, faulty
from tests.support.http import served
from tests.support.metadata_filters import metadata_filter

MAX_REQUEST_BYTES = 2 * 1024 * 1024
MAX_METADATA_BYTES = 40 * 1024
LIST_PAGE = 100
FORGOTTEN_AFTER = 64


class ApiError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str, code: str = "INVALID_ARGUMENT") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass
class Knobs:
    """How late writes are seen: by every read, and by a read that meets a lagging replica (seconds)."""

    lag_seconds: float = 0.0
    replica_lag_seconds: float = 0.0
    faults: Faults = field(default_factory=Faults)
    generator: random.Random = field(default_factory=lambda: random.Random(3))


@dataclass(frozen=True)
class Write:
    """One entry of a namespace's log."""

    number: int
    at: float
    upserts: Mapping[str, dict[str, Any]]
    deletes: tuple[str, ...]


class Namespace:
    """A log of writes, and what of it can be seen."""

    def __init__(self) -> None:
        self.number = 0
        self._base: dict[str, dict[str, Any]] = {}
        self._base_number = 0
        self._log: list[Write] = []

    def write(self, upserts: Mapping[str, dict[str, Any]], deletes: tuple[str, ...]) -> int:
        self.number += 1
        self._log.append(Write(self.number, time.monotonic(), upserts, deletes))
        return self.number

    def seen(self, knobs: Knobs) -> tuple[dict[str, dict[str, Any]], int]:
        """The records as one read sees them, and the number of the last write among them."""
        behind = knobs.generator.uniform(0.0, knobs.replica_lag_seconds)
        now = time.monotonic()
        fresh = now - knobs.lag_seconds - knobs.replica_lag_seconds
        while self._log and self._log[0].at <= fresh:
            self._base = _applied(self._base, self._log.pop(0), in_place=True)
            self._base_number += 1
        state, number = self._base, self._base_number
        for write in self._log:
            if write.at > now - knobs.lag_seconds - behind:
                break
            state, number = _applied(state, write), write.number
        return state, number


def _applied(state: dict[str, Any], write: Write, *, in_place: bool = False) -> dict[str, Any]:
    after = state if in_place else dict(state)
    after.update(write.upserts)
    for doomed in write.deletes:
        after.pop(doomed, None)
    return after


class Index:
    """One index's data plane."""

    def __init__(self, name: str, dimension: int, metric: str, knobs: Knobs) -> None:
        self.name, self.dimension, self.metric = name, dimension, metric
        self.url = ""
        self._knobs = knobs
        self._namespaces: dict[str, Namespace] = {}

    def app(self) -> Starlette:
        routes = [
            Route("/vectors/upsert", _endpoint(self._upsert), methods=["POST"]),
            Route("/vectors/delete", _endpoint(self._delete), methods=["POST"]),
            Route("/vectors/list", _endpoint(self._list)),
            Route("/vectors/fetch", _endpoint(self._fetch)),
            Route("/query", _endpoint(self._query), methods=["POST"]),
            Route("/describe_index_stats", _endpoint(self._stats), methods=["POST"]),
        ]
        return Starlette(routes=routes)

    def _namespace(self, name: str | None) -> Namespace:
        return self._namespaces.setdefault(name or "__default__", Namespace())

    def _read(self, name: str | None) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        records, number = self._namespace(name).seen(self._knobs)
        return records, {"x-pinecone-max-indexed-lsn": str(number)}

    def _upsert(self, body: Any, _query: Any) -> Answer:
        vectors = body["vectors"]
        _demand(1 <= len(vectors) <= 1000, "between 1 and 1000 vectors a request")
        checked = {vector["id"]: self._checked(vector) for vector in vectors}
        number = self._namespace(body.get("namespace")).write(checked, ())
        return {"upsertedCount": len(vectors)}, {"x-pinecone-request-lsn": str(number)}

    def _checked(self, vector: Mapping[str, Any]) -> dict[str, Any]:
        _demand(0 < len(vector["id"]) <= 512 and vector["id"].isascii(), "an id of 1 to 512 ASCII characters")
        _demand(len(vector["values"]) == self.dimension, f"Vector dimension does not match {self.dimension}")
        _demand(any(vector["values"]), "Dense vectors must contain at least one non-zero value")
        metadata = vector.get("metadata", {})
        _demand(len(json.dumps(metadata)) <= MAX_METADATA_BYTES, "metadata of at most 40 KB a vector")
        for value in metadata.values():
            is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
            _demand(
                isinstance(value, str | int | float | bool) or is_list,
                "Metadata value must be a string, number, boolean or list of strings",
            )
        return {
            "id": vector["id"],
            "values": [float(np.float32(x)) for x in vector["values"]],
            "metadata": {n: float(v) if type(v) is int else v for n, v in metadata.items()},
            **({"sparseValues": self._sparse(vector["sparseValues"])} if "sparseValues" in vector else {}),
        }

    def _sparse(self, sparse: Mapping[str, Any]) -> Mapping[str, Any]:
        _demand(
            self.metric == "dotproduct", f"Index configuration does not support sparse values (metric {self.metric})"
        )
        _demand(0 < len(sparse["indices"]) <= 1000, "between 1 and 1000 sparse values")
        _demand(
            len(sparse["indices"]) == len(set(sparse["indices"])) == len(sparse["values"]), "sparse values in pairs"
        )
        _demand(all(0 <= index < 2**32 for index in sparse["indices"]), "sparse indices of 32 bits")
        return sparse

    def _delete(self, body: Any, _query: Any) -> Answer:
        doomed = tuple(body.get("ids", ()))
        _demand(0 < len(doomed) <= 1000, "between 1 and 1000 ids; deleting by filter is not something this double does")
        return {}, {"x-pinecone-request-lsn": str(self._namespace(body.get("namespace")).write({}, doomed))}

    def _list(self, _body: Any, query: Any) -> Answer:
        records, headers = self._read(query.get("namespace"))
        after, limit = query.get("paginationToken", ""), int(query.get("limit", LIST_PAGE))
        _demand(1 <= limit <= LIST_PAGE, "a limit of 1 to 100")
        ids = sorted(i for i in records if i.startswith(query.get("prefix", "")) and i > after)
        more = {"pagination": {"next": ids[limit - 1]}} if len(ids) > limit else {}
        return {"vectors": [{"id": i} for i in ids[:limit]], **more, **_usage(query.get("namespace"))}, headers

    def _fetch(self, _body: Any, query: Any) -> Answer:
        records, headers = self._read(query.get("namespace"))
        found = {i: records[i] for i in query.getlist("ids") if i in records}
        return {"vectors": found, **_usage(query.get("namespace"))}, headers

    def _stats(self, _body: Any, _query: Any) -> Answer:
        counts = {name: {"vectorCount": len(self._read(name)[0])} for name in self._namespaces}
        total = sum(count["vectorCount"] for count in counts.values())
        return {"namespaces": counts, "dimension": self.dimension, "indexFullness": 0, "totalVectorCount": total}, {}

    def _query(self, body: Any, _query: Any) -> Answer:
        _demand(1 <= body["topK"] <= 10_000, "a topK between 1 and 10000")
        records, headers = self._read(body.get("namespace"))
        if "id" in body:
            _demand("vector" not in body, "either an id or a vector")
            question = records.get(body["id"], {}).get("values")
        else:
            question = body["vector"]
            _demand(len(question) == self.dimension, f"Vector dimension does not match {self.dimension}")
        wanted = body.get("filter")
        is_wanted = metadata_filter(wanted) if wanted is not None else lambda _metadata: True
        kept = [record for record in records.values() if question is not None and is_wanted(record["metadata"])]
        matches = self._ranked(kept, question, body.get("sparseVector"))[: body["topK"]]
        return {"matches": [_match(r, score, body) for r, score in matches], **_usage(body.get("namespace"))}, headers

    def _ranked(self, records: list[Any], question: Any, sparse: Any) -> list[tuple[Any, float]]:
        if not records:
            return []
        scores = np.array([r["values"] for r in records], dtype=np.float32) @ np.array(question, dtype=np.float32)
        if sparse is not None:
            asked = dict(zip(self._sparse(sparse)["indices"], sparse["values"], strict=True))
            for place, record in enumerate(records):
                held = record.get("sparseValues", {"indices": (), "values": ()})
                pairs = zip(held["indices"], held["values"], strict=True)
                scores[place] += sum(asked.get(index, 0.0) * value for index, value in pairs)
        order = np.argsort(-scores, kind="stable")
        return [(records[place], float(scores[place])) for place in order]


class PineconeDouble:
    """The account: its control plane, and a data server for each index."""

    def __init__(self, knobs: Knobs, api_key: str, wrap: Callable[[Any], Any]) -> None:
        self.knobs = knobs
        self.wrap = wrap
        self.url = ""
        self._api_key = api_key
        self._indexes: dict[str, Index] = {}
        self._stack = AsyncExitStack()

    def app(self) -> Starlette:
        routes = [
            Route("/indexes", self._list, methods=["GET"]),
            Route("/indexes", self._create, methods=["POST"]),
            Route("/indexes/{name}", self._describe, methods=["GET"]),
            Route("/indexes/{name}", self._drop, methods=["DELETE"]),
        ]
        return Starlette(routes=routes)

    async def aclose(self) -> None:
        await self._stack.aclose()

    async def _list(self, request: Request) -> Response:
        return JSONResponse({"indexes": [_description(index, request) for index in self._indexes.values()]})

    async def _create(self, request: Request) -> Response:
        body = await request.json()
        name = body["name"]
        if name in self._indexes:
            return _control_refusal(409, "Resource already exists", "ALREADY_EXISTS")
        if not (0 < len(name) <= 45 and name.replace("-", "").isalnum() and name == name.lower()):
            message = "Name must be of 1 to 45 lower case letters, digits and dashes"
            return _control_refusal(400, message, "INVALID_ARGUMENT")
        index = Index(name, body["dimension"], body.get("metric", "cosine"), self.knobs)
        guarded = _with_key(self.wrap(faulty(index.app(), self.knobs.faults)), self._api_key)
        # Known from here on: two who make it at once must not get one each.
        self._indexes[name] = index
        index.url = await self._stack.enter_async_context(served(guarded))
        return JSONResponse(_description(index, request), status_code=201)

    async def _describe(self, request: Request) -> Response:
        index = self._indexes.get(request.path_params["name"])
        return JSONResponse(_description(index, request)) if index else _control_refusal(404, "Not found", "NOT_FOUND")

    async def _drop(self, request: Request) -> Response:
        known = self._indexes.pop(request.path_params["name"], None)
        return Response(status_code=202) if known else _control_refusal(404, "Not found", "NOT_FOUND")


@asynccontextmanager
async def pinecone_double(
    knobs: Knobs | None = None, *, api_key: str = "key", wrap: Callable[[Any], Any] = lambda app: app
) -> AsyncIterator[PineconeDouble]:
    """A Pinecone account on loopback; `wrap` is put around each of its applications."""
    double = PineconeDouble(knobs or Knobs(), api_key, wrap)
    async with served(_with_key(wrap(faulty(double.app(), double.knobs.faults)), api_key)) as url:
        double.url = url
        try:
            yield double
        finally:
            await double.aclose()


Answer = tuple[dict[str, Any], dict[str, str]]


def _endpoint(operation: Callable[[Any, Any], Answer]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        raw = await request.body()
        try:
            _demand(len(raw) <= MAX_REQUEST_BYTES, "a request of at most 2 MB")
            answer, headers = operation(json.loads(raw) if raw else {}, request.query_params)
        except ApiError as error:
            return _refusal(error)
        except (ValueError, KeyError, TypeError) as error:
            return _refusal(ApiError(400, f"{type(error).__name__}: {error}"))
        return JSONResponse(answer, headers=headers)

    return endpoint


def _refusal(error: ApiError) -> Response:
    body = {"code": error.code, "message": str(error), "details": []}
    return JSONResponse(body, status_code=error.status)


def _control_refusal(status: int, message: str, code: str) -> Response:
    return JSONResponse({"status": status, "error": {"code": code, "message": message}}, status_code=status)


def _with_key(app: Any, api_key: str) -> Any:
    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        if scope["type"] == "http" and (
            headers.get(b"api-key") != api_key.encode() or b"x-pinecone-api-version" not in headers
        ):
            refused = Response("Unauthorized", status_code=401)
            await refused(scope, receive, send)
            return
        await app(scope, receive, send)

    return guarded


def _description(index: Index, request: Request) -> dict[str, Any]:
    """The index in the words of the API version that was asked for."""
    common = {
        "name": index.name,
        "host": index.url,
        "deletion_protection": "disabled",
        "status": {"ready": bool(index.url), "state": "Ready" if index.url else "Initializing"},
    }
    if request.headers["x-pinecone-api-version"] >= "2026-07":
        dense = {"type": "dense_vector", "dimension": index.dimension, "metric": index.metric}
        deployment = {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1", "environment": "aped"}
        return {**common, "schema": {"fields": {"_values": dense}}, "deployment": deployment}
    return {
        **common,
        "id": f"{index.name}-id",
        "dimension": index.dimension,
        "metric": index.metric,
        "vector_type": "dense",
        "spec": {"serverless": {"cloud": "aws", "region": "us-east-1", "read_capacity": {"mode": "OnDemand", "status": {"state": "Ready"}}}},
    }  # fmt: skip


def _usage(namespace: str | None) -> dict[str, Any]:
    return {"namespace": namespace or "__default__", "usage": {"readUnits": 1}}


def _match(record: Mapping[str, Any], score: float, body: Mapping[str, Any]) -> dict[str, Any]:
    match: dict[str, Any] = {"id": record["id"], "score": score, "values": []}
    if body.get("includeValues"):
        match |= {name: record[name] for name in ("values", "sparseValues") if name in record}
    return {**match, **({"metadata": record["metadata"]} if body.get("includeMetadata") else {})}


def _demand(condition: bool, what: str) -> None:
    if not condition:
        raise ApiError(400, what)
