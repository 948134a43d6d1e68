"""Signing in to ElastiCache Serverless by IAM, over TLS, in cluster mode, for longer than a password or a connection holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from botocore.credentials import Credentials

from headrace import wiring
from headrace.errors import RegistryUnavailableError
from headrace.redis_state.registry import RedisRegistry
from headrace.settings import Settings
from headrace.types import Document, DocumentKey, DocumentState
from infra.local.processes import free_port
from tests.support.elasticache import ServerlessCache, serverless_cache

KEYS = {"AKIDCHAT": Credentials("AKIDCHAT", "chat/secret+", "session=="), "AKIDOTHER": Credentials("AKIDOTHER", "s")}


@pytest.fixture
async def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ServerlessCache]:
    async with serverless_cache(
        tmp_path, name="headrace-dev", secrets=KEYS.get, may_connect=lambda key: key == "AKIDCHAT"
    ) as running:
        # The one certificate that the client trusts, as it trusts Amazon's.
        monkeypatch.setenv("SSL_CERT_FILE", str(running.certificate))
        yield running


def settings_for(cache: ServerlessCache, **changes: str) -> Settings:
    given = {
        "redis_url": cache.url, "redis_mode": "cluster", "redis_cache_name": cache.name, "aws_region": "eu-central-1",
        "aws_access_key_id": "AKIDCHAT", "aws_secret_access_key": "chat/secret+", "aws_session_token": "session==",
        **changes,
    }  # fmt: skip
    return Settings(**given)  # type: ignore[arg-type]


async def test_what_redis_does_works_behind_iam(cache: ServerlessCache) -> None:
    async with wiring.open_redis(settings_for(cache)) as redis:
        registry = RedisRegistry(redis)
        key = DocumentKey("documents/manual.txt")
        attempt = await registry.begin(key, embedding_model="m")
        await registry.save(Document(key.key, DocumentState.READY, generation=attempt.number, chunks=1), attempt)
        assert [document.key for document in await registry.documents("default")] == [key.key]
    assert cache.refusals == []
    assert cache.passwords


NOT_LET_IN: list[tuple[dict[str, str], str]] = [
    ({"redis_cache_name": "another"}, "signed for 'another'"),
    ({"aws_secret_access_key": "wrong"}, "signature"),
    ({"aws_session_token": ""}, "token"),
    ({"redis_user": "default"}, "user"),
    ({"aws_access_key_id": "AKIDOTHER", "aws_secret_access_key": "s", "aws_session_token": ""}, "may not connect"),
]


async def test_who_does_not_sign_rightly_is_not_let_in(cache: ServerlessCache) -> None:
    # One server for all: a cluster takes two seconds to start.
    for changes, why in NOT_LET_IN:
        cache.refusals.clear()
        async with wiring.open_redis(settings_for(cache, **changes)) as redis:
            with pytest.raises(Exception, match=r"(?i)wrongpass|cluster|password"):
                await redis.ping()
        assert any(why in refusal for refusal in cache.refusals), (changes, cache.refusals)
    assert cache.passwords == []


async def test_a_cache_that_is_away_is_said_in_a_sentence(cache: ServerlessCache) -> None:
    away = settings_for(cache, redis_url=f"rediss://localhost:{free_port()}")
    async with wiring.open_redis(away) as redis:
        with pytest.raises(RegistryUnavailableError, match="does not answer"):
            await RedisRegistry(redis).documents("default")


async def test_a_connection_that_the_server_ends_is_replaced_and_no_command_fails(cache: ServerlessCache) -> None:
    cache.lifetime_seconds = 0.5
    async with wiring.open_redis(settings_for(cache)) as redis:
        for number in range(60):
            await asyncio.gather(*(redis.incr(f"count-{number % 3}") for _ in range(3)))
            await asyncio.sleep(0.04)
        counted = sum([int(await redis.get(f"count-{number}") or 0) for number in range(3)])
    # A command whose answer was cut off is sent again: at least once is what Redis can promise.
    assert 180 <= counted < 200
    assert len(cache.passwords) > 4, "connections were ended and opened"


async def test_a_password_is_signed_anew_before_it_expires(
    cache: ServerlessCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.lifetime_seconds = 0.5
    now = asyncio.get_running_loop().time()
    began = time.time()
    monkeypatch.setattr(time, "time", lambda: began + (asyncio.get_running_loop().time() - now) * 600)
    async with wiring.open_redis(settings_for(cache)) as redis:
        for _ in range(6):
            await redis.ping()
            await asyncio.sleep(0.7)
    assert len(set(cache.passwords)) > 1
    assert cache.refusals == []
