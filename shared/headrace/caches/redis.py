"""The answer cache in Redis or Valkey: exact matches within a scope.

An entry carries the tenant's document revision that its answer was made from,
and is read together with the current one: once any document of the tenant has
changed, it can't be served.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import random
import unicodedata
import zlib
from collections.abc import Awaitable
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from headrace.event_codec import event_from_json, event_to_json
from headrace.redis_client import registry_faults, tenant_key
from headrace.types import CachedAnswer, CacheKey

T = TypeVar("T")

logger = logging.getLogger(__name__)


class RedisCache:
    """An AnswerCache on a Redis client, which stays the caller's to close. Slower than `timeout_seconds` is a miss."""

    def __init__(self, client: Redis, *, ttl_seconds: int, timeout_seconds: float) -> None:
        self._client = client
        self._ttl_seconds = ttl_seconds
        self._timeout_seconds = timeout_seconds

    async def check(self) -> None:
        with registry_faults():
            await self._client.ping()

    async def find(self, key: CacheKey) -> CachedAnswer | None:
        tenant = key.scope.tenant
        async with self._client.pipeline(transaction=False) as pipeline:
            pipeline.hmget(tenant_key(tenant, "registry"), ["revision", "epoch"])
            pipeline.get(_entry_key(key))
            found = await self._within_deadline(pipeline.execute())
        if not found or not isinstance(found[1], bytes):
            return None
        revision, epoch = found[0]
        answer = _decode(found[1]) if epoch else None
        return answer if answer is not None and answer.revision == int(revision or 0) else None

    async def remember(self, key: CacheKey, answer: CachedAnswer) -> None:
        # Jitter, so that answers made in one rush do not expire in one rush.
        ttl_seconds = int(self._ttl_seconds * random.uniform(0.9, 1.0))  # noqa: S311 - no secret
        await self._within_deadline(self._client.set(_entry_key(key), _encode(answer), ex=max(ttl_seconds, 1)))

    async def _within_deadline(self, command: Awaitable[T]) -> T | None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await command
        except (RedisError, OSError, TimeoutError) as error:
            logger.warning("The answer cache did not answer (%s); going on without it.", type(error).__name__)
            return None


def normalise_question(question: str) -> str:
    """Equal questions, equal text: compatibility forms, case and white space folded."""
    return " ".join(unicodedata.normalize("NFKC", question).casefold().split())


def _entry_key(key: CacheKey) -> str:
    parts = (key.scope.digest, key.fingerprint, normalise_question(key.question))
    return tenant_key(key.scope.tenant, "answer", hashlib.sha256("\x1f".join(parts).encode()).hexdigest())


def _encode(answer: CachedAnswer) -> bytes:
    events = [event_to_json(event) for event in answer.events]
    body = {"revision": answer.revision, "created_at": answer.created_at, "events": events}
    return zlib.compress(json.dumps(body, separators=(",", ":")).encode())


def _decode(body: bytes) -> CachedAnswer | None:
    try:
        fields = json.loads(zlib.decompress(body))
        events = tuple(event_from_json(event) for event in fields["events"])
        return CachedAnswer(fields["revision"], fields["created_at"], events)
    except (ValueError, KeyError, TypeError, zlib.error):
        logger.warning("A cached answer could not be read (an older release wrote it?); treating it as a miss.")
        return None
