"""Every vector store, in calm and in storm: with late writes, lagging replicas, refusals and cut connections."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.credentials import Credentials

from headrace.clients.aws import AwsAccess
from headrace.clients.sigv4 import AwsKeys
from headrace.protocols import VectorStore
from headrace.stores.edge import open_embedded_store
from headrace.stores.pinecone import PineconeRegion, open_pinecone_store
from headrace.stores.qdrant import open_qdrant_store
from headrace.stores.redis import open_redis_store
from headrace.stores.s3vectors import open_s3_vector_store
from infra.local.qdrant_server import QdrantServer
from tests.support.faults import CUTS, Faults, cutting_proxy, faulty
from tests.support.http import served
from tests.support.pinecone_server import Knobs, pinecone_double
from tests.support.processes import search_redis_server
from tests.support.s3vectors_server import REGION, S3Vectors, s3vectors_app

STORES = ("qdrant", "pinecone", "s3vectors", "redis", "embedded")
# The embedded engine has no way on which anything could go wrong.
STORMS = tuple(f"{name}-storm" for name in STORES if name != "embedded")
FAULT_RATE = 0.12
KEYS = AwsKeys("AKIDVECTORS", "vectors/secret")


@pytest.fixture(scope="session")
def search_redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with search_redis_server(tmp_path_factory.mktemp("search-redis")) as url:
        yield url


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> Faults:
    """What goes wrong on the way to the store; nothing by itself."""
    return Faults()


@pytest.fixture(params=[*STORES, *STORMS])
async def any_store(
    request: pytest.FixtureRequest, stack: AsyncExitStack, tmp_path: Path, faults: Faults
) -> VectorStore:
    """Each store, in each weather."""
    name, _, weather = request.param.partition("-")
    if weather:
        faults.rate = FAULT_RATE
    url = request.getfixturevalue("search_redis_url") if name == "redis" else ""
    return await open_store(name, stack, tmp_path, faults, redis_url=url, is_late=bool(weather))


@pytest.fixture(params=STORES)
async def calm_store(
    request: pytest.FixtureRequest, stack: AsyncExitStack, tmp_path: Path, faults: Faults
) -> VectorStore:
    """Each store, when nothing goes wrong."""
    url = request.getfixturevalue("search_redis_url") if request.param == "redis" else ""
    return await open_store(request.param, stack, tmp_path, faults, redis_url=url)


async def open_store(
    name: str, stack: AsyncExitStack, folder: Path, faults: Faults, *, redis_url: str, is_late: bool = False
) -> VectorStore:
    """A store of its own collection, over a way on which the faults happen."""
    collection = f"test-{uuid.uuid4().hex[:24]}"
    match name:
        case "qdrant":
            server = await asyncio.to_thread(QdrantServer, folder / "qdrant")
            stack.push_async_callback(asyncio.to_thread, server.close)
            url = await stack.enter_async_context(served(faulty(server.app(), faults)))
            return await stack.enter_async_context(open_qdrant_store(url, api_key="k", collection=collection))
        case "pinecone":
            lag_seconds = 0.03 if is_late else 0.0
            knobs = Knobs(lag_seconds=lag_seconds, replica_lag_seconds=lag_seconds, faults=faults)
            double = await stack.enter_async_context(pinecone_double(knobs))
            opening = open_pinecone_store(double.url, api_key="key", collection=collection, region=PineconeRegion())
            return await stack.enter_async_context(opening)
        case "s3vectors":
            service = S3Vectors()
            service.answer("CreateVectorBucket", {"vectorBucketName": "vectors"})
            app = s3vectors_app(service, lambda _key: Credentials(KEYS.access_key_id, KEYS.secret_access_key))
            url = await stack.enter_async_context(served(faulty(app, faults)))
            access = AwsAccess(REGION, KEYS, url)
            return await stack.enter_async_context(
                open_s3_vector_store(access, bucket="vectors", collection=collection)
            )
        case "redis":
            faults.kinds = (*CUTS, "slow")
            port = urlsplit(redis_url).port
            assert port is not None
            proxied = await stack.enter_async_context(cutting_proxy(port, faults))
            return await stack.enter_async_context(
                open_redis_store(f"redis://127.0.0.1:{proxied}/0", collection=collection)
            )
        case _:
            return await stack.enter_async_context(open_embedded_store(folder / "engine", collection=collection))
