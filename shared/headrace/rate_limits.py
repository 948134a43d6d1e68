"""How much a principal may use: the limits in force, the headers that state them, and a limiter in one process.

Headers: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
"""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from headrace.errors import LimitExceededError, QuotaExceededError
from headrace.types import Principal

DAY_SECONDS = 86_400
# Redis, which knows what all processes let in, is away: one process gives a part of what all may.
LOCAL_SHARE = 0.25
# So many principals are remembered by one process.
# More than anybody ever has.
MOST_STREAMS = 1_000_000
MOST_PRINCIPALS = 10_000


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What the deployment allows each principal, and all together (`daily_tokens`). 0 tokens: as many as are asked for."""

    requests_per_minute: int = 60
    streams: int = 8
    tokens_per_day: int = 0
    daily_tokens: int = 0

    def of(self, principal: Principal) -> RateLimits:
        """The limits in force for one principal: its own, where it has them."""
        own = principal.limits
        return RateLimits(
            self.requests_per_minute if own.requests_per_minute is None else own.requests_per_minute,
            self.streams if own.streams is None else own.streams,
            self.tokens_per_day if own.tokens_per_day is None else own.tokens_per_day,
            self.daily_tokens,
        )


def rate_headers(limits: RateLimits, *, remaining: int, reset_seconds: float) -> dict[str, str]:
    """The standard headers of a limit of requests a minute."""
    return {
        "RateLimit-Policy": f'"requests";q={limits.requests_per_minute};w=60',
        "RateLimit": f'"requests";r={max(0, remaining)};t={math.ceil(max(0.0, reset_seconds))}',
    }


def too_many_requests(limits: RateLimits, wait_seconds: float) -> LimitExceededError:
    """The fault of asking too often."""
    return LimitExceededError(
        f"You may send {limits.requests_per_minute} requests a minute. Wait {math.ceil(wait_seconds)} s.",
        retry_after_seconds=wait_seconds,
        headers=rate_headers(limits, remaining=0, reset_seconds=wait_seconds),
    )


def for_what_goes_on(limits: RateLimits) -> RateLimits:
    """The limits of a request that goes on with what is under way, or ends it: how many there may be a minute."""
    return replace(limits, streams=MOST_STREAMS, tokens_per_day=0, daily_tokens=0)


def too_many_streams(limits: RateLimits) -> LimitExceededError:
    """The fault of having too many requests under way at once."""
    return LimitExceededError(
        f"You may have {limits.streams} requests under way at one time. Wait until one of them has ended.",
        retry_after_seconds=1.0,
    )


def too_many_tokens(limits: RateLimits, *, of_all: bool = False) -> QuotaExceededError:
    """The fault of a day's tokens being used up, the principal's or the deployment's."""
    whose = (
        f"This deployment may use {limits.daily_tokens:,} tokens a day"
        if of_all
        else f"You may use {limits.tokens_per_day:,} tokens a day"
    )
    return QuotaExceededError(
        f"{whose}, and they are used up. The day ends at midnight UTC.", retry_after_seconds=seconds_to_midnight()
    )


def seconds_to_midnight() -> float:
    """How long the day lasts, in UTC."""
    return DAY_SECONDS - time.time() % DAY_SECONDS


def today() -> int:
    """The day's number, in UTC."""
    return int(time.time() // DAY_SECONDS)


@dataclass(slots=True)
class _Use:
    """What one principal uses of one process. `due_at` is when the next request would be in step with the rate."""

    due_at: float = 0.0
    open: int = 0
    day: int = 0
    tokens: int = 0


@dataclass(slots=True)
class LocalRateLimiter:
    """A RateLimiter that knows of this process alone, and so gives each principal a part of what the limits say."""

    limits: RateLimits
    share: float = LOCAL_SHARE
    _uses: OrderedDict[tuple[str, str], _Use] = field(default_factory=OrderedDict)
    _spent: Counter[int] = field(default_factory=Counter)

    async def admit(self, principal: Principal, *, is_new: bool = True) -> LocalAdmission:
        limits = self._shared(self.limits.of(principal))
        if not is_new:
            limits = for_what_goes_on(limits)
        use = self._use(principal)
        if limits.daily_tokens and self._spent[today()] >= limits.daily_tokens:
            raise too_many_tokens(limits, of_all=True)
        if limits.tokens_per_day and use.day == today() and use.tokens >= limits.tokens_per_day:
            raise too_many_tokens(limits)
        if use.open >= limits.streams:
            raise too_many_streams(limits)
        now = time.monotonic()
        interval = 60.0 / max(1, limits.requests_per_minute)
        ahead = max(0.0, use.due_at - now)
        if limits.requests_per_minute < 1 or ahead + interval > 60.0 + 1e-9:
            raise too_many_requests(limits, max(interval, ahead + interval - 60.0))
        use.due_at = now + ahead + interval
        use.open += 1
        remaining = int((60.0 - ahead - interval) / interval)
        return LocalAdmission(self, use, rate_headers(limits, remaining=remaining, reset_seconds=ahead + interval))

    def spend(self, use: _Use, tokens: int) -> None:
        """Add tokens to the principal's day, and to everybody's."""
        if use.day != today():
            use.day, use.tokens = today(), 0
        use.tokens += tokens
        if today() not in self._spent:
            self._spent.clear()
        self._spent[today()] += tokens

    def _shared(self, limits: RateLimits) -> RateLimits:
        def part(number: int) -> int:
            return math.ceil(number * self.share)

        return RateLimits(
            part(limits.requests_per_minute),
            part(limits.streams),
            part(limits.tokens_per_day),
            part(limits.daily_tokens),
        )

    def _use(self, principal: Principal) -> _Use:
        name = (principal.tenant, principal.id)
        use = self._uses.setdefault(name, _Use())
        self._uses.move_to_end(name)
        if len(self._uses) > MOST_PRINCIPALS:
            # One that has a request under way is not forgotten.
            idle = next((other for other, its in self._uses.items() if not its.open), None)
            if idle is not None:
                del self._uses[idle]
        return use


@dataclass(slots=True)
class LocalAdmission:
    """A request that a LocalRateLimiter let in."""

    _limiter: LocalRateLimiter
    _use: _Use
    headers: Mapping[str, str]
    _released: bool = False

    async def release(self, *, tokens: int = 0) -> None:
        if not self._released:
            self._released = True
            self._use.open -= 1
            self._limiter.spend(self._use, tokens)
