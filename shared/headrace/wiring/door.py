"""Wiring of the door: who may come in, and how much they may use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from headrace.settings import Settings

if TYPE_CHECKING:
    from redis.asyncio import Redis  # noqa: TID251 - the type only

    from headrace.auth.jwt import KeySet
    from headrace.protocols import ApiKeys, Authenticator, RateLimiter

# A token waits for its provider's keys no longer than that.
FETCH_SECONDS = 5.0


def api_keys_on(client: Redis) -> ApiKeys:
    """The records of API keys."""
    from headrace.redis_state.api_keys import RedisApiKeys

    return RedisApiKeys(client)


def rate_limiter_on(client: Redis, settings: Settings) -> RateLimiter:
    """What holds principals to their limits."""
    from headrace.rate_limits import RateLimits
    from headrace.redis_state.limits import RedisRateLimiter

    limits = RateLimits(
        settings.requests_per_minute,
        settings.streams_per_principal,
        settings.tokens_per_day,
        settings.daily_token_limit,
    )
    return RedisRateLimiter(client, limits)


@asynccontextmanager
async def open_authenticator(settings: Settings, client: Redis) -> AsyncIterator[Authenticator]:
    """What finds out who asks: each way that AUTH names, in its order. Raises ConfigurationError."""
    from headrace.auth.first_of import FirstOf

    async with AsyncExitStack() as stack:
        yield FirstOf([await _authenticator(name, settings, client, stack) for name in settings.authenticators])


async def _authenticator(name: str, settings: Settings, client: Redis, stack: AsyncExitStack) -> Authenticator:
    match name:
        case "iam":
            from headrace.auth.iam import IamAuthenticator, read_rules

            return IamAuthenticator(read_rules(settings.iam_principals))
        case "api_keys":
            from headrace.auth.api_keys import ApiKeyAuthenticator, read_fixed_keys

            return ApiKeyAuthenticator(api_keys_on(client), read_fixed_keys(settings.api_keys))
        case "jwt":
            from headrace.auth.jwt import JwtAuthenticator, TokenRules

            rules = TokenRules(
                settings.jwt_issuer,
                settings.jwt_audience,
                settings.jwt_tenant_claim,
                settings.jwt_groups_claim,
                settings.jwt_role_claim,
                settings.jwt_leeway_seconds,
            )
            return JwtAuthenticator(await _key_set(settings, stack), rules)
        case _:
            return _loopback(settings)


async def _key_set(settings: Settings, stack: AsyncExitStack) -> KeySet:
    from headrace.auth.jwt import KeySet, inline_keys

    if not settings.jwt_keys.startswith(("https://", "http://")):
        return inline_keys(settings.jwt_keys)
    from headrace.clients.http import Api, open_json_api
    from headrace.errors import UnavailableError

    api = Api("The identity provider's list of keys", "JWT_KEYS", UnavailableError)
    opened = await stack.enter_async_context(open_json_api(settings.jwt_keys, api, headers={}))

    async def fetch() -> object:
        return (await opened.call("GET", "", deadline_seconds=FETCH_SECONDS)).value

    return KeySet(fetch)


def _loopback(settings: Settings) -> Authenticator:
    from headrace.auth.loopback import LoopbackAuthenticator
    from headrace.errors import ConfigurationError
    from headrace.types import read_principal

    try:
        given = {"tenant": settings.auth_tenant, "groups": settings.auth_groups, "role": settings.auth_role}
        return LoopbackAuthenticator(read_principal(given, id="local"))
    except ValueError as error:
        raise ConfigurationError(
            f"AUTH_TENANT or AUTH_GROUPS can't be used: {error}. Correct it and start again."
        ) from error
