"""Wiring of what lies in Redis: registry, cache, conversations, relay."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from headrace.settings import Settings
from headrace.wiring.environment import aws_access

if TYPE_CHECKING:
    from redis.asyncio import Redis  # noqa: TID251 - the type only

    from headrace.protocols import (
        AnswerCache,
        CacheMaintenance,
        Conversations,
        DocumentRegistry,
        InvalidationPlanner,
        SocketRegistry,
    )
    from headrace.runs.runs import Runs
    from headrace.single_flight.flight import SingleFlight


def open_redis(settings: Settings) -> AbstractAsyncContextManager[Redis]:
    """The connection that registry, cache and conversations share."""
    from headrace.clients.redis import open_redis

    credentials = None
    if settings.redis_cache_name:
        from headrace.clients.elasticache import IamPassword

        credentials = IamPassword(aws_access(settings), cache_name=settings.redis_cache_name, user=settings.redis_user)
    return open_redis(settings.redis_url, mode=settings.redis_mode, credentials=credentials)


def registry_on(client: Redis, listening: Redis | None = None) -> DocumentRegistry:
    """The document registry."""
    from headrace.redis_state.registry import RedisRegistry

    return RedisRegistry(client, listening)


def cache_on(client: Redis, settings: Settings) -> AnswerCache:
    """The answer cache."""
    from headrace.redis_state.answer_cache.cache import CacheLimits, RedisCache

    limits = CacheLimits(
        ttl_seconds=settings.cache_ttl_seconds,
        timeout_seconds=settings.cache_timeout_seconds,
        tenant_bytes=settings.cache_tenant_bytes,
        tenant_entries=settings.cache_tenant_entries,
        answer_bytes=settings.cache_answer_bytes,
    )
    if settings.cache_index == "server":
        from headrace.redis_state.answer_cache.server_index import ServerQuestionIndex

        return RedisCache(client, ServerQuestionIndex(client), limits)
    from headrace.redis_state.answer_cache.question_index import LocalQuestionIndex

    return RedisCache(client, LocalQuestionIndex(client, most_bytes=settings.cache_local_index_bytes), limits)


def invalidation_planner_on(client: Redis, settings: Settings) -> InvalidationPlanner:
    """What finds the cached answers that a new version of a document invalidates."""
    from headrace.redis_state.answer_cache.invalidation import RedisInvalidationPlanner
    from headrace.redis_state.answer_cache.question_index import LocalQuestionIndex

    index = LocalQuestionIndex(client, most_bytes=settings.cache_local_index_bytes)
    return RedisInvalidationPlanner(client, index)


def single_flight_on(client: Redis, listening: Redis) -> SingleFlight:
    """Where equal questions meet; a follower waits on a connection of the client for `listening`."""
    from headrace.redis_state.relay import RedisRelay
    from headrace.single_flight.flight import SingleFlight

    return SingleFlight(RedisRelay(client, listening))


@asynccontextmanager
async def open_runs(settings: Settings, client: Redis) -> AsyncIterator[Runs]:
    """The runs of this process, in a log that other processes can follow; who follows waits on connections of its own."""
    from headrace.redis_state.run_log import RedisRunLog
    from headrace.runs.runs import Runs

    async with open_redis(settings) as listening:
        runs = Runs(RedisRunLog(client, listening), grace_seconds=settings.run_grace_seconds)
        try:
            yield runs
        finally:
            await runs.aclose()


def socket_registry_on(client: Redis) -> SocketRegistry:
    """Who is behind the connections of a WebSocket API."""
    from headrace.redis_state.sockets import RedisSocketRegistry

    return RedisSocketRegistry(client)


def cache_maintenance_on(client: Redis, settings: Settings) -> CacheMaintenance:
    """What keeps the answer cache in order."""
    from headrace.redis_state.answer_cache.maintenance import RedisCacheMaintenance

    return RedisCacheMaintenance(
        client, tenant_bytes=settings.cache_tenant_bytes, tenant_entries=settings.cache_tenant_entries
    )


def conversations_on(client: Redis, settings: Settings) -> Conversations:
    """The conversations."""
    from headrace.redis_state.conversations import RedisConversations

    return RedisConversations(client, ttl_seconds=settings.conversation_ttl_seconds)
