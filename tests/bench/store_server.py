"""A vector store that takes its time: canned answers to Qdrant's and Pinecone's queries, 30 ms after they were asked.

python -m tests.bench.store_server PORT
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvicorn

ANSWER_SECONDS = 0.03
PASSAGES = 12
TEXT = "The main bearing takes eighteen litres of turbine oil, which is changed after every four thousand hours. " * 8


def _payload(index: int) -> dict[str, Any]:
    return {
        "tenant": "acme", "labels": ["*"], "document": "documents/acme/manual.txt", "generation": 1795000000000000,
        "index": index, "text": TEXT, "name": "manual.txt", "section": ["Maintenance", "Oil"], "page": 3, "groups": [],
        "total": 40, "etag": "d41d8cd98f00b204e9800998ecf8427e", "page_content": TEXT, "metadata": {},
    }  # fmt: skip


POINTS: list[dict[str, Any]] = [
    {"id": f"00000000-0000-0000-0000-{i:012d}", "version": 1, "score": 0.9 - i / 50, "payload": _payload(i)}
    for i in range(PASSAGES)
]
VECTORS = {"size": 384, "distance": "Cosine"}
INFO = {
    "status": "green", "optimizer_status": "ok", "points_count": 10, "segments_count": 1, "payload_schema": {},
    "config": {
        "params": {"vectors": {"dense": VECTORS, "": VECTORS}, "sparse_vectors": {"words": {}}},
        "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
        "optimizer_config": {
            "deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 0, "flush_interval_sec": 5,
        },
    },
}  # fmt: skip


def _qdrant(result: Any) -> bytes:
    return json.dumps({"result": result, "status": "ok", "time": 0.001}).encode()


MATCHES = [
    {
        "id": f"{'0' * 32}#1#{p['payload']['index']}",
        "score": p["score"],
        "values": [],
        "metadata": {**{k: v for k, v in p["payload"].items() if k != "metadata"}},
    }
    for p in POINTS
]
ONE = _qdrant({"points": POINTS})
BATCH = _qdrant([{"points": POINTS}])
PINECONE = json.dumps({"matches": MATCHES, "namespace": "acme", "usage": {"readUnits": 1}}).encode()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    path = scope["path"]
    body = _qdrant(INFO)
    if path.endswith("/query/batch"):
        body = BATCH
    elif path == "/query":
        body = PINECONE
    elif path.endswith("/query"):
        body = ONE
    elif path.startswith("/indexes/"):
        host = dict(scope["headers"])[b"host"].decode()
        body = json.dumps(
            {"host": f"http://{host}", "dimension": 384, "metric": "dotproduct", "status": {"ready": True}}
        ).encode()
    if b"query" in path.encode():
        await asyncio.sleep(ANSWER_SECONDS)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", lifespan="off")
