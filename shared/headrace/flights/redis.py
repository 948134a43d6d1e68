"""Flights in Redis or Valkey: a stream of messages, and a lease that runs out, under one hash tag."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

from headrace.errors import RelayUnavailableError
from headrace.redis_client import tenant_key

# How long the messages of a flight are kept after the last one, for followers that are behind.
KEPT_SECONDS = 60

# What is asked for at once must be answered so soon, or nobody follows.
TIMEOUT_SECONDS = 0.5

# KEYS lease, messages. ARGV token, lease in ms. Sent twice, it leads once.
LEAD = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return 1 end
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  redis.call('DEL', KEYS[2])
  return 1
end
return 0
"""

# KEYS lease, messages. ARGV token, lease in ms, seconds to keep, '1' at the end, how many messages were sent before, then
# messages. Sent twice, for its reply was lost, it adds what is missing; where messages were lost, nobody may follow.
SEND = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local there = redis.call('XLEN', KEYS[2]) - tonumber(ARGV[5])
if there < 0 then return 0 end
for i = 6 + there, #ARGV do redis.call('XADD', KEYS[2], '*', 'm', ARGV[i]) end
redis.call('EXPIRE', KEYS[2], ARGV[3])
if ARGV[4] == '1' then redis.call('DEL', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
"""


class RedisRelay:
    """A FlightRelay on Redis clients, which stay the caller's to close. A flight's name begins with its tenant and `/`.

    Each flight that is followed waits on a connection of its own, of the client that is for `listening`.
    """

    def __init__(
        self,
        client: Redis,
        listening: Redis | None = None,
        *,
        lease_seconds: float = 3.0,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._client = client
        self._listening = listening or client
        self._lease_seconds = lease_seconds
        self._timeout_seconds = timeout_seconds
        self._lead = client.register_script(LEAD)
        self._send = client.register_script(SEND)

    @property
    def lease_seconds(self) -> float:
        return self._lease_seconds

    async def lead(self, flight: str) -> str | None:
        token = uuid.uuid4().hex
        async with _in_time(self._timeout_seconds):
            led = await self._lead(keys=_keys(flight), args=[token, int(self._lease_seconds * 1000)])
        return token if led else None

    async def send(self, flight: str, lease: str, messages: Sequence[bytes], *, sent: int, ends: bool = False) -> bool:
        args = [lease, int(self._lease_seconds * 1000), KEPT_SECONDS, "1" if ends else "", sent, *messages]
        async with _in_time(self._lease_seconds):
            return bool(await self._send(keys=_keys(flight), args=args))

    async def receive(self, flight: str, after: str, *, wait_seconds: float) -> tuple[str, list[bytes]]:
        _, messages = _keys(flight)
        async with _in_time(wait_seconds + self._timeout_seconds):
            found = await self._listening.xread({messages: after or "0"}, block=max(1, int(wait_seconds * 1000)))
        entries = [entry for batch in _batches(found) for entry in batch]
        if not entries:
            return after, []
        last = entries[-1][0]
        return last.decode() if isinstance(last, bytes) else last, [fields[b"m"] for _, fields in entries]

    async def is_led(self, flight: str) -> bool:
        async with _in_time(self._timeout_seconds):
            return bool(await self._client.exists(_keys(flight)[0]))


def _batches(found: object) -> Iterator[list[tuple[bytes, dict[bytes, bytes]]]]:
    """What XREAD gives: by key in RESP3, in pairs before."""
    if isinstance(found, dict):
        for batches in found.values():
            yield from batches
    else:
        for _, entries in found or ():  # type: ignore[attr-defined]
            yield entries


def _keys(flight: str) -> list[str]:
    tenant, _, name = flight.partition("/")
    return [tenant_key(tenant, "flight", name, "lease"), tenant_key(tenant, "flight", name)]


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except (RedisError, OSError, TimeoutError) as error:
        raise RelayUnavailableError(
            f"The relay of answers (Redis) does not answer ({type(error).__name__})."
        ) from error
