"""Amazon S3 Vectors as its API reference has it: vector buckets, indexes, vectors, and their limits.

Every request and every answer is checked with botocore's model of the service, every signature with botocore.
References: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_S3_Vectors.html,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-vectors-limitations.html
"""

from __future__ import annotations

import asyncio
import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import botocore.session
from botocore.credentials import Credentials
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from tests.support.metadata_filters import metadata_filter
from tests.support.signatures import is_signed

REGION, ACCOUNT = "us-east-1", "000000000000"
CREATED = 1_790_000_000
MAX_REQUEST_BYTES = 20 * 1024 * 1024
MAX_METADATA_BYTES = 40 * 1024
MAX_FILTERABLE_BYTES = 2 * 1024
MAX_KEYS = 50
MAX_FOUND = 100

Metadata = dict[str, Any]
# Whose secret key a request's key id has; None for nobody's.
Secrets = Callable[[str], Credentials | None]
# Whether a key id may do an action (`s3vectors:QueryVectors`) to an ARN.
May = Callable[[str, str, str], bool]


class ApiError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind = status, kind


@dataclass
class Index:
    """One vector index."""

    dimension: int
    hidden: frozenset[str]
    vectors: dict[str, tuple[list[float], Metadata]] = field(default_factory=dict)


class S3Vectors:
    """The account's vector buckets."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, Index]] = {}
        self._model: ServiceModel = botocore.session.get_session().get_service_model("s3vectors")

    def answer(self, operation: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a call. Raises ApiError."""
        shape = self._model.operation_model(operation)
        self._check(body, shape.input_shape)
        # `CreateIndex` is done by `_create_index`, and so on.
        name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation)
        answer: dict[str, Any] = getattr(self, name)(body)
        if shape.output_shape is not None:
            self._check(answer, shape.output_shape)
        return answer

    def _check(self, given: Mapping[str, Any], shape: Any) -> None:
        unknown = given.keys() - shape.members.keys()
        report = ParamValidator().validate(given, shape)
        if unknown or report.has_errors():
            raise ApiError(400, "ValidationException", report.generate_report() or f"unknown: {sorted(unknown)}")

    def arn(self, body: Mapping[str, Any]) -> str:
        """What a call is about."""
        index = f"/index/{body['indexName']}" if "indexName" in body else ""
        return f"arn:aws:s3vectors:{REGION}:{ACCOUNT}:bucket/{body['vectorBucketName']}{index}"

    def _bucket(self, body: Mapping[str, Any]) -> dict[str, Index]:
        if body["vectorBucketName"] not in self.buckets:
            raise ApiError(404, "NotFoundException", "The specified vector bucket could not be found")
        return self.buckets[body["vectorBucketName"]]

    def _index(self, body: Mapping[str, Any]) -> Index:
        bucket = self._bucket(body)
        if body["indexName"] not in bucket:
            raise ApiError(404, "NotFoundException", "The specified index could not be found")
        return bucket[body["indexName"]]

    def _create_vector_bucket(self, body: Mapping[str, Any]) -> dict[str, Any]:
        if body["vectorBucketName"] in self.buckets:
            raise ApiError(409, "ConflictException", "A vector bucket with the specified name already exists")
        self.buckets[body["vectorBucketName"]] = {}
        return {"vectorBucketArn": self.arn(body)}

    def _delete_vector_bucket(self, body: Mapping[str, Any]) -> dict[str, Any]:
        if self._bucket(body):
            raise ApiError(409, "ConflictException", "The specified vector bucket is not empty")
        del self.buckets[body["vectorBucketName"]]
        return {}

    def _get_vector_bucket(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self._bucket(body)
        named = {"vectorBucketName": body["vectorBucketName"], "vectorBucketArn": self.arn(body)}
        return {"vectorBucket": {**named, "creationTime": CREATED, "defaultIndexMode": "ENHANCED"}}

    def _create_index(self, body: Mapping[str, Any]) -> dict[str, Any]:
        bucket = self._bucket(body)
        if body["indexName"] in bucket:
            raise ApiError(409, "ConflictException", "An index with the specified name already exists")
        hidden = frozenset(body.get("metadataConfiguration", {}).get("nonFilterableMetadataKeys", ()))
        bucket[body["indexName"]] = Index(body["dimension"], hidden)
        return {"indexArn": self.arn(body)}

    def _get_index(self, body: Mapping[str, Any]) -> dict[str, Any]:
        index = self._index(body)
        more = {"dataType": "float32", "distanceMetric": "cosine", "dimension": index.dimension}
        return {"index": {**self._summary(body["vectorBucketName"], body["indexName"]), **more}}

    def _list_indexes(self, body: Mapping[str, Any]) -> dict[str, Any]:
        names = sorted(name for name in self._bucket(body) if name.startswith(body.get("prefix", "")))
        page, more = _page(names, body, 500)
        return {"indexes": [self._summary(body["vectorBucketName"], name) for name in page], **more}

    def _summary(self, bucket: str, index: str) -> dict[str, Any]:
        named = {"vectorBucketName": bucket, "indexName": index}
        return {**named, "indexArn": self.arn(named), "creationTime": CREATED}

    def _delete_index(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self._index(body)
        del self._bucket(body)[body["indexName"]]
        return {}

    def _put_vectors(self, body: Mapping[str, Any]) -> dict[str, Any]:
        index = self._index(body)
        keys = [vector["key"] for vector in body["vectors"]]
        _demand(len(set(keys)) == len(keys), "keys that differ")
        for vector in body["vectors"]:
            index.vectors[vector["key"]] = (_vector(index, vector["data"]), _metadata(index, vector))
        return {}

    def _get_vectors(self, body: Mapping[str, Any]) -> dict[str, Any]:
        index = self._index(body)
        return {"vectors": [_shown(index, key, body) for key in dict.fromkeys(body["keys"]) if key in index.vectors]}

    def _list_vectors(self, body: Mapping[str, Any]) -> dict[str, Any]:
        index = self._index(body)
        page, more = _page(sorted(index.vectors), body, 500)
        return {"vectors": [_shown(index, key, body) for key in page], **more}

    def _delete_vectors(self, body: Mapping[str, Any]) -> dict[str, Any]:
        index = self._index(body)
        for key in body["keys"]:
            index.vectors.pop(key, None)
        return {}

    def _query_vectors(self, body: Mapping[str, Any]) -> dict[str, Any]:
        index = self._index(body)
        _demand(body["topK"] <= MAX_FOUND, f"a topK of at most {MAX_FOUND}")
        question = _vector(index, body["queryVector"])
        is_wanted = _wanted(index, body.get("filter"))
        distances = {
            key: 1.0 - _cosine(question, vector)
            for key, (vector, metadata) in index.vectors.items()
            if is_wanted({name: value for name, value in metadata.items() if name not in index.hidden})
        }
        nearest = sorted(distances, key=lambda key: distances[key])[: body["topK"]]
        distance = {key: {"distance": distances[key]} for key in nearest} if body.get("returnDistance") else {}
        found = [{**_shown(index, key, {**body, "returnData": False}), **distance.get(key, {})} for key in nearest]
        return {"vectors": found, "distanceMetric": "cosine"}


def s3vectors_app(vectors: S3Vectors, secrets: Secrets, may: May = lambda _key, _action, _arn: True) -> Any:
    """The service over HTTP, as a plain ASGI application."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        status, kind, answer = await asyncio.to_thread(_respond, vectors, scope["path"], headers, body, secrets, may)
        told = [(b"content-type", b"application/json"), *([(b"x-amzn-errortype", kind.encode())] if kind else [])]
        await send({"type": "http.response.start", "status": status, "headers": told})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    return app


def _respond(
    vectors: S3Vectors, path: str, headers: Mapping[str, str], body: bytes, secrets: Secrets, may: May
) -> tuple[int, str, Mapping[str, Any]]:
    """Status, the fault's name and the answer."""
    operation = path.strip("/")
    try:
        _demand(len(body) <= MAX_REQUEST_BYTES, "a request of at most 20 MiB")
        key_id = headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]
        credentials = secrets(key_id)
        signed = credentials is not None and is_signed(
            "POST", path, headers, body, credentials=credentials, scope=(REGION, "s3vectors")
        )
        given = json.loads(body)
        if not signed or not may(key_id, f"s3vectors:{operation}", vectors.arn(given)):
            raise ApiError(403, "AccessDeniedException", f"not authorized to perform: s3vectors:{operation}")
        return 200, "", vectors.answer(operation, given)
    except ApiError as error:
        return error.status, error.kind, {"message": str(error)}
    except ValueError as error:
        return 400, "ValidationException", {"message": str(error)}


def _page(names: list[str], body: Mapping[str, Any], most: int) -> tuple[list[str], dict[str, str]]:
    after, limit = body.get("nextToken", ""), body.get("maxResults", most)
    names = [name for name in names if name > after]
    return names[:limit], {"nextToken": names[limit - 1]} if len(names) > limit else {}


def _vector(index: Index, data: Mapping[str, Any]) -> list[float]:
    values = data["float32"]
    _demand(len(values) == index.dimension, f"a vector of {index.dimension} dimensions")
    _demand(any(values) and all(map(math.isfinite, values)), "a vector that has a direction")
    return list(struct.unpack(f"<{len(values)}f", struct.pack(f"<{len(values)}f", *values)))


def _metadata(index: Index, vector: Mapping[str, Any]) -> Metadata:
    metadata: Metadata = vector.get("metadata", {})
    _demand(len(metadata) <= MAX_KEYS, f"at most {MAX_KEYS} keys")
    _demand(len(json.dumps(metadata).encode()) <= MAX_METADATA_BYTES, "metadata of at most 40 KB")
    filterable = {name: value for name, value in metadata.items() if name not in index.hidden}
    _demand(len(json.dumps(filterable).encode()) <= MAX_FILTERABLE_BYTES, "filterable metadata of at most 2 KB")
    for value in filterable.values():
        values = value if isinstance(value, list) else [value]
        _demand(bool(values) and all(isinstance(each, str | int | float) for each in values), f"no value {value!r}")
    return metadata


def _wanted(index: Index, given: Any) -> Callable[[Metadata], bool]:
    if given is None:
        return lambda _metadata: True
    text = json.dumps(given)
    _demand(not any(f'"{name}"' in text for name in index.hidden), "a filter over filterable metadata")
    return metadata_filter(given)


def _shown(index: Index, key: str, body: Mapping[str, Any]) -> dict[str, Any]:
    vector, metadata = index.vectors[key]
    data = {"data": {"float32": vector}} if body.get("returnData") else {}
    return {"key": key, **data, **({"metadata": metadata} if body.get("returnMetadata") else {})}


def _cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))


def _demand(condition: bool, what: str) -> None:
    if not condition:
        raise ApiError(400, "ValidationException", f"Invalid request: {what}")
