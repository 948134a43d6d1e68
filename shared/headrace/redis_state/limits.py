"""The limits of principals in Redis or Valkey, so that they hold over all processes.

A request costs one round trip before it, and one after it. While Redis does not answer, each process holds to a part of the
limits by itself (headrace.rate_limits).
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis

from headrace.protocols import Admission
from headrace.rate_limits import (
    DAY_SECONDS,
    LocalRateLimiter,
    RateLimits,
    for_what_goes_on,
    rate_headers,
    today,
    too_many_requests,
    too_many_streams,
    too_many_tokens,
)
from headrace.redis_state.circuit_breaker import CircuitBreaker
from headrace.redis_state.layout import day_key, open_key, use_key
from headrace.redis_state.scripts import script
from headrace.types import Principal

TIMEOUT_SECONDS = 0.25
# After this a request is not under way any more, whatever became of its process. Longer than any answer may take.
MOST_REQUEST_MS = 900_000

logger = logging.getLogger(__name__)


class RedisRateLimiter:
    """A RateLimiter on a Redis client, which stays the caller's to close."""

    def __init__(self, client: Redis, limits: RateLimits, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        # The client's own types do not know what its scripts reply.
        self._client = cast("Any", client)
        self._limits = limits
        self._local = LocalRateLimiter(limits)
        self._breaker = CircuitBreaker("The limits of principals (Redis)", timeout_seconds)
        self._admit = script(client, "admit")
        self._release = script(client, "release")

    async def admit(self, principal: Principal, *, is_new: bool = True) -> Admission:
        limits = self._limits.of(principal)
        if not is_new:
            limits = for_what_goes_on(limits)
        request = uuid.uuid4().hex
        keys = [use_key(principal.tenant, principal.id), open_key(principal.tenant, principal.id)]
        args: list[int | str] = [
            limits.requests_per_minute,
            limits.streams,
            limits.tokens_per_day,
            today(),
            request,
            MOST_REQUEST_MS,
        ]
        answer = await self._breaker.run(lambda: self._ask(keys, args))
        if answer is None:
            return await self._local.admit(principal, is_new=is_new)
        (verdict, *numbers), spent = answer
        if limits.daily_tokens and spent >= limits.daily_tokens:
            # The script has let it in.
            await self.end(_Request(keys, request), 0)
            raise too_many_tokens(limits, of_all=True)
        match verdict:
            case b"tokens":
                raise too_many_tokens(limits)
            case b"streams":
                raise too_many_streams(limits)
            case b"requests":
                raise too_many_requests(limits, numbers[0] / 1000)
        remaining, reset_ms = numbers
        headers = rate_headers(limits, remaining=remaining, reset_seconds=reset_ms / 1000)
        return RedisAdmission(self, _Request(keys, request), headers)

    async def end(self, request: _Request, tokens: int) -> None:
        """The request is under way no more. Where Redis does not hear of it, its place is free after a while."""
        await self._breaker.run(lambda: self._tell(request, tokens))

    async def _ask(self, keys: list[str], args: list[int | str]) -> tuple[list[Any], int]:
        admitting = self._admit(keys=keys, args=args)
        if not self._limits.daily_tokens:
            return await admitting, 0
        # The deployment's tokens lie in another slot of a cluster than the principal's.
        answer, spent = await asyncio.gather(admitting, self._client.get(day_key(today())))
        return answer, int(spent or 0)

    async def _tell(self, request: _Request, tokens: int) -> bool:
        telling = [self._release(keys=request.keys, args=[request.name, tokens, today()])]
        if tokens:
            key = day_key(today())
            telling += [self._client.incrby(key, tokens), self._client.expire(key, 2 * DAY_SECONDS)]
        await asyncio.gather(*telling)
        return True


@dataclass(frozen=True, slots=True)
class _Request:
    """A request that is under way: the keys of its principal, and its own name."""

    keys: list[str]
    name: str


@dataclass(slots=True)
class RedisAdmission:
    """A request that a RedisRateLimiter let in."""

    _limiter: RedisRateLimiter
    _request: _Request
    headers: Mapping[str, str]
    _released: bool = False

    async def release(self, *, tokens: int = 0) -> None:
        if not self._released:
            self._released = True
            await self._limiter.end(self._request, tokens)
