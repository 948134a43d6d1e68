"""One way of bringing a folder of files into a vector store, in a process of its own.

    python -m tests.bench.ingest_client {headrace,langchain} FOLDER EMBEDDINGS_URL QDRANT_URL REDIS_URL COLLECTION

Prints one JSON value: seconds, and how many chunks were written. Runs in our environment or in that of the peers.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

CONCURRENT = 4
DIMENSIONS = 384


async def headrace(folder: Path, embeddings: str, qdrant: str, redis_url: str, collection: str) -> int:
    from contextlib import AsyncExitStack

    from functions.ingest.dependencies import IngestDependencies
    from functions.ingest.pipeline import synchronise
    from headrace.clients.redis import open_redis
    from headrace.embedders.openai import open_openai_embedder
    from headrace.parsers.process import open_process_parser
    from headrace.redis_state.registry import RedisRegistry
    from headrace.stores.qdrant import open_qdrant_store
    from headrace.types import DocumentKey
    from tests.bench.folder_bucket import DiskBucket

    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(open_redis(redis_url))
        deps = IngestDependencies(
            bucket=DiskBucket(folder, collection),
            parser=await stack.enter_async_context(
                open_process_parser(timeout_seconds=240, cpu_seconds=60, memory_bytes=2 * 1024**3)
            ),
            embedder=await stack.enter_async_context(
                open_openai_embedder(api_key="k", base_url=embeddings, model="bench", batch=64)
            ),
            store=await stack.enter_async_context(open_qdrant_store(qdrant, api_key="", collection=collection)),
            registry=RedisRegistry(redis),
            max_document_bytes=10**9,
        )
        gate = asyncio.Semaphore(CONCURRENT)

        async def one(path: Path) -> None:
            async with gate:
                await synchronise(DocumentKey(f"documents/{collection}/{path.name}"), deps)

        await asyncio.gather(*(one(path) for path in sorted(folder.iterdir())))
        failed = [d for d in await deps.registry.documents(collection) if d.state != "ready"]
        assert not failed, failed[0]
        return await deps.store.count(collection)


async def langchain(folder: Path, embeddings: str, qdrant: str, _redis_url: str, collection: str) -> int:
    from langchain_openai import OpenAIEmbeddings
    from langchain_qdrant import QdrantVectorStore
    from langchain_text_splitters import RecursiveCharacterTextSplitter
    from pydantic import SecretStr
    from qdrant_client import QdrantClient, models

    client = QdrantClient(url=qdrant, check_compatibility=False, timeout=60)
    vectors = models.VectorParams(size=DIMENSIONS, distance=models.Distance.COSINE)
    client.create_collection(collection, vectors_config={"": vectors})
    embedder = OpenAIEmbeddings(
        model="bench", api_key=SecretStr("k"), base_url=embeddings, check_embedding_ctx_length=False, chunk_size=64
    )
    store = QdrantVectorStore(client, collection, embedding=embedder, validate_collection_config=False)
    splitter = RecursiveCharacterTextSplitter(chunk_size=900, chunk_overlap=100)
    count = 0
    for path in sorted(folder.iterdir()):
        pieces = splitter.split_documents(_loader(path).load())
        await store.aadd_documents(pieces)
        count += len(pieces)
    return count


def _loader(path: Path) -> Any:
    from langchain_community import document_loaders as loaders

    match path.suffix:
        case ".pdf":
            return loaders.PyPDFLoader(str(path))
        case ".docx":
            return loaders.Docx2txtLoader(str(path))
        case ".html":
            return loaders.BSHTMLLoader(str(path), bs_kwargs={"features": "lxml"})
        case ".csv":
            return loaders.CSVLoader(str(path))
        case ".xlsx":
            import pandas as pd

            frame = pd.read_excel(path).astype(str)
            frame["text"] = frame.agg("; ".join, axis=1)
            return loaders.DataFrameLoader(frame[["text"]], page_content_column="text")
    return loaders.TextLoader(str(path))


if __name__ == "__main__":
    run = {"headrace": headrace, "langchain": langchain}[sys.argv[1]]
    started = time.perf_counter()
    written = asyncio.run(run(Path(sys.argv[2]), *sys.argv[3:]))
    print(json.dumps({"seconds": time.perf_counter() - started, "chunks": written}))
