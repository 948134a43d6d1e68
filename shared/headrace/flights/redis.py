"""Flights in Redis or Valkey: a stream of messages, and a lease that runs out, under one hash tag."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

from headrace.errors import RelayUnavailableError
from headrace.redis_client import tenant_key

# How long the messages of a flight are kept after the last one, for followers that are behind.
KEPT_SECONDS = 60

# KEYS lease, messages. ARGV token, lease in ms.
LEAD = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  redis.call('DEL', KEYS[2])
  return 1
end
return 0
"""

# KEYS lease, messages. ARGV token, lease in ms, seconds to keep, '1' at the end, then messages.
SEND = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for i = 5, #ARGV do redis.call('XADD', KEYS[2], '*', 'm', ARGV[i]) end
redis.call('EXPIRE', KEYS[2], ARGV[3])
if ARGV[4] == '1' then redis.call('DEL', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
"""


class RedisRelay:
    """A FlightRelay on a Redis client, which stays the caller's to close. A flight's name begins with its tenant and `/`."""

    def __init__(self, client: Redis, *, lease_seconds: float = 3.0) -> None:
        self._client = client
        self._lease_seconds = lease_seconds
        self._lead = client.register_script(LEAD)
        self._send = client.register_script(SEND)

    @property
    def lease_seconds(self) -> float:
        return self._lease_seconds

    async def lead(self, flight: str) -> str | None:
        token = uuid.uuid4().hex
        with _faults():
            led = await self._lead(keys=_keys(flight), args=[token, int(self._lease_seconds * 1000)])
        return token if led else None

    async def send(self, flight: str, lease: str, messages: Sequence[bytes], *, ends: bool = False) -> bool:
        args = [lease, int(self._lease_seconds * 1000), KEPT_SECONDS, "1" if ends else "", *messages]
        with _faults():
            return bool(await self._send(keys=_keys(flight), args=args))

    async def receive(self, flight: str, after: str, *, wait_seconds: float) -> tuple[str, list[bytes]]:
        _, messages = _keys(flight)
        with _faults():
            found = await self._client.xread({messages: after or "0"}, block=max(1, int(wait_seconds * 1000)))
        entries = [entry for batch in _batches(found) for entry in batch]
        if not entries:
            return after, []
        last = entries[-1][0]
        return last.decode() if isinstance(last, bytes) else last, [fields[b"m"] for _, fields in entries]

    async def is_led(self, flight: str) -> bool:
        with _faults():
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


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise RelayUnavailableError(
            f"The relay of answers (Redis) does not answer ({type(error).__name__})."
        ) from error
