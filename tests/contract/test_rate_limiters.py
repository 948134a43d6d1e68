"""Every rate limiter: what a principal may use, over processes, in a burst, and when Redis is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from headrace.clients.redis import open_redis
from headrace.errors import LimitExceededError
from headrace.protocols import RateLimiter
from headrace.rate_limits import LocalRateLimiter, RateLimits
from headrace.redis_state.layout import day_key
from headrace.redis_state.limits import RedisRateLimiter
from headrace.types import Limits, Principal

Make = Callable[..., RateLimiter]


@pytest.fixture(params=["redis", "local"])
async def limiter_of(request: pytest.FixtureRequest, redis: Redis) -> Make:
    """Makes a limiter; of the local one a share that is all."""

    def make(*limits: int) -> RateLimiter:
        if request.param == "local":
            return LocalRateLimiter(RateLimits(*limits), share=1.0)
        return RedisRateLimiter(redis, RateLimits(*limits), timeout_seconds=5.0)

    return make


@pytest.fixture
def anna(tenant: str) -> Principal:
    return Principal(tenant, id="anna")


async def test_a_minute_s_requests_may_come_at_once_and_no_more(limiter_of: Make, anna: Principal) -> None:
    limiter = limiter_of(6, 100)
    left = []
    for _ in range(6):
        admission = await limiter.admit(anna)
        left.append(admission.headers["RateLimit"].partition(";t=")[0])
        assert admission.headers["RateLimit-Policy"] == '"requests";q=6;w=60'
        await admission.release()
    assert left == [f'"requests";r={n}' for n in (5, 4, 3, 2, 1, 0)]
    with pytest.raises(LimitExceededError, match="6 requests a minute") as caught:
        await limiter.admit(anna)
    assert 0 < caught.value.retry_after_seconds <= 10.1
    assert caught.value.headers["RateLimit"].startswith('"requests";r=0')
    # Nobody else is meant: neither by another name, nor by the same name in another tenant.
    await limiter.admit(Principal(anna.tenant, id="bob"))
    await limiter.admit(Principal(f"{anna.tenant}-2", id="anna"))


async def test_so_many_requests_are_under_way_at_once(limiter_of: Make, anna: Principal) -> None:
    limiter = limiter_of(1000, 2)
    first, _second = await limiter.admit(anna), await limiter.admit(anna)
    with pytest.raises(LimitExceededError, match="2 requests under way") as caught:
        await limiter.admit(anna)
    assert caught.value.retry_after_seconds == 1.0
    await first.release()
    await first.release()
    await limiter.admit(anna)
    with pytest.raises(LimitExceededError):
        await limiter.admit(anna)


async def test_a_day_s_tokens_are_counted_when_answers_end(limiter_of: Make, anna: Principal) -> None:
    limiter = limiter_of(1000, 10, 100)
    for tokens in (60, 60):
        await (await limiter.admit(anna)).release(tokens=tokens)
    with pytest.raises(LimitExceededError, match="100 tokens a day") as caught:
        await limiter.admit(anna)
    assert 0 < caught.value.retry_after_seconds <= 86_400
    await limiter.admit(Principal(anna.tenant, id="bob"))


async def test_a_principal_s_own_limits_come_first(limiter_of: Make, tenant: str) -> None:
    limiter = limiter_of(1, 1, 1)
    known = Principal(tenant, id="machine", limits=Limits(1000, 3, 0))
    admitted = [await limiter.admit(known) for _ in range(3)]
    with pytest.raises(LimitExceededError, match="3 requests under way"):
        await limiter.admit(known)
    for admission in admitted:
        await admission.release(tokens=10**6)
    await limiter.admit(known)
    shut = Principal(tenant, id="shut", limits=Limits(requests_per_minute=0))
    with pytest.raises(LimitExceededError, match="0 requests a minute"):
        await limiter.admit(shut)


async def test_all_together_hold_to_the_deployment_s_day(redis_url: str, anna: Principal, tenant: str) -> None:
    async with open_redis(redis_url.replace("/0", "/7")) as own:
        client: Any = own
        await client.flushdb()
        limits = RateLimits(1000, 10, 0, 100)
        one, other = (RedisRateLimiter(own, limits, timeout_seconds=5.0) for _ in range(2))
        await (await one.admit(anna)).release(tokens=150)
        with pytest.raises(LimitExceededError, match="deployment may use 100 tokens"):
            await other.admit(Principal(tenant, id="bob"))
        assert await client.keys("headrace:tokens:*") == [day_key(_day()).encode()]
        assert 0 < await client.ttl(day_key(_day())) <= 2 * 86_400


def _day() -> int:
    from headrace.rate_limits import today

    return today()


async def test_many_processes_give_no_place_twice(redis: Redis, anna: Principal) -> None:
    limiters = [RedisRateLimiter(redis, RateLimits(1000, 7), timeout_seconds=5.0) for _ in range(4)]
    tries = [limiter.admit(anna) for limiter in limiters for _ in range(10)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(outcome, LimitExceededError) for outcome in outcomes) == 33


async def test_without_redis_a_process_holds_to_a_quarter(anna: Principal) -> None:
    async with open_redis("redis://127.0.0.1:9/0") as nowhere:
        limiter = RedisRateLimiter(nowhere, RateLimits(20, 8))
        admitted = [await limiter.admit(anna) for _ in range(2)]
        with pytest.raises(LimitExceededError, match="2 requests under way"):
            await limiter.admit(anna)
        for admission in admitted:
            await admission.release(tokens=5)
        for _ in range(3):
            await (await limiter.admit(anna)).release()
        with pytest.raises(LimitExceededError, match="5 requests a minute"):
            await limiter.admit(anna)


async def test_a_process_that_died_keeps_no_places(
    redis: Redis, anna: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.redis_state.limits.MOST_REQUEST_MS", 80)
    limiter = RedisRateLimiter(redis, RateLimits(1000, 1), timeout_seconds=5.0)
    await limiter.admit(anna)
    with pytest.raises(LimitExceededError):
        await limiter.admit(anna)
    async with asyncio.timeout(5):
        while True:
            try:
                await limiter.admit(anna)
                break
            except LimitExceededError:
                await asyncio.sleep(0.01)


async def test_one_process_remembers_so_many_principals(monkeypatch: pytest.MonkeyPatch, tenant: str) -> None:
    monkeypatch.setattr("headrace.rate_limits.MOST_PRINCIPALS", 10)
    limiter = LocalRateLimiter(RateLimits(1, 1), share=1.0)
    held = await limiter.admit(Principal(tenant, id="held"))
    for number in range(50):
        await (await limiter.admit(Principal(tenant, id=str(number)))).release()
    assert len(limiter._uses) == 10
    with pytest.raises(LimitExceededError, match="under way"):
        await limiter.admit(Principal(tenant, id="held"))
    await held.release()
