"""Redis and Valkey: one client for the registry, the cache and the conversations, and its faults in our words.

Every key of a tenant carries the hash tag `{tenant}`, so one tenant's commands
meet in one slot of a cluster.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import OutOfMemoryError, RedisClusterException, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from headrace.concurrency.deadlines import ServerDeadline
from headrace.errors import RegistryUnavailableError

if TYPE_CHECKING:
    from redis.credentials import CredentialProvider

CONNECT_TIMEOUT_SECONDS = 2.0
READ_TIMEOUT_SECONDS = 5.0
# A command that waits for news is over before its connection gives up on the answer.
LONGEST_WAIT_SECONDS = READ_TIMEOUT_SECONDS - 1.0
MOST_CONNECTIONS = 1000
# What somebody waits for: a few fields of a hash. What writes, or reads all of a tenant's documents, may take longer.
READ_SECONDS = 2.0
WRITE_SECONDS = 15.0
# What the client raises when the server does not do what it should; in cluster mode some of it is no RedisError.
REDIS_FAULTS = (RedisError, RedisClusterException, OSError, TimeoutError)
REGISTRY = "The document registry (Redis)"


@asynccontextmanager
async def open_redis(
    url: str, *, protocol: int = 3, mode: str = "standalone", credentials: CredentialProvider | None = None
) -> AsyncIterator[Redis]:
    """A pooled client for the server at `url`; connects at its first command, closes at the end.

    In `cluster` mode the URL is that of any node; the client finds the others. `credentials` are asked for user and
    password at each new connection, in place of the URL's.
    """
    options: dict[str, Any] = {
        "protocol": protocol,
        "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "socket_timeout": READ_TIMEOUT_SECONDS,
        "health_check_interval": 30,
        # One for each command that is under way; an answer that is followed from elsewhere waits on one.
        "max_connections": MOST_CONNECTIONS,
        "retry": Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.02), retries=2),
        # Made here, once: each new connection would read the client's version from its package's files.
        "driver_info": DriverInfo(),
    }
    if credentials is not None:
        options["credential_provider"] = credentials
    # The two have the commands that are used here in common, but no type.
    client: Redis = (RedisCluster if mode == "cluster" else Redis).from_url(url, **options)  # type: ignore[assignment]
    if sys.version_info < (3, 12) and mode != "cluster":
        pool = client.connection_pool
        pool.connection_class = type("Connection", (_CancellableWrites, pool.connection_class), {})
    try:
        yield client
    finally:
        await client.aclose()


class _CancellableWrites(AbstractConnection):
    """A connection's writes for Python 3.11: its `asyncio.wait_for`, through which redis-py writes, may swallow a cancellation.

    Who watched for changes and has left would then go on waiting for them.
    """

    async def send_packed_command(
        self,
        command: bytes | str | Iterable[bytes],
        check_health: bool = True,  # noqa: FBT001, FBT002 - redis-py's signature
    ) -> None:
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()  # type: ignore[no-untyped-call]
        # Without a timeout of its own, it writes by itself.
        seconds, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(seconds):
                await super().send_packed_command(command, check_health=False)
        except TimeoutError:
            raise RedisTimeoutError("Timeout writing to socket") from None
        finally:
            self.socket_timeout = seconds


def tenant_key(tenant: str, *parts: str) -> str:
    """`headrace:{tenant}:part:part`, with the tenant quoted so that no name can forge a hash tag or another key."""
    return ":".join((_prefix(tenant), *parts))


@lru_cache(maxsize=4096)
def _prefix(tenant: str) -> str:
    return f"headrace:{{{quote(tenant, safe='')}}}"


@contextmanager
def registry_faults(what: str = REGISTRY) -> Iterator[None]:
    """Turn the client's faults into RegistryUnavailableError. `what` is the part that needs the server."""
    try:
        yield
    except OutOfMemoryError as error:
        raise RegistryUnavailableError(
            f"{what} has no memory left for more. Raise its `maxmemory`, or take a larger server."
        ) from error
    except REDIS_FAULTS as error:
        raise RegistryUnavailableError(
            f"{what} does not answer ({type(error).__name__}). Check REDIS_URL and that the server runs, then try again."
        ) from error


@asynccontextmanager
async def registry_use(seconds: float = READ_SECONDS, what: str = REGISTRY) -> AsyncIterator[None]:
    """The same for a use of the server that has a deadline: longer than that is no answer."""
    with registry_faults(what):
        async with ServerDeadline(seconds):
            yield
