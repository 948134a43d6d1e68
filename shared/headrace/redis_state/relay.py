"""The relay of single flight in Redis or Valkey: a stream of messages a flight, and a lease that runs out."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from headrace.clients.redis import REDIS_FAULTS, tenant_key
from headrace.concurrency.deadlines import ServerDeadline
from headrace.errors import RelayUnavailableError
from headrace.redis_state.scripts import script
from headrace.redis_state.streams import entries_of, position_of
from headrace.types import Lead

# How long the messages of a flight are kept after the last one, for followers that are behind.
KEPT_SECONDS = 60

# A relay that does not answer so soon is not used: the process makes the answer by itself.
TIMEOUT_SECONDS = 0.5


class RedisRelay:
    """A SingleFlightRelay on Redis clients, which stay the caller's to close.

    Each flight that is followed waits on a connection of its own, of the client for `listening`.
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
        self._lead = script(client, "lead_flight")
        self._follow = script(client, "follow_flight")
        self._send = script(client, "send_flight")

    @property
    def lease_seconds(self) -> float:
        return self._lease_seconds

    async def lead(self, flight: str) -> str | None:
        token = uuid.uuid4().hex
        async with _in_time(self._timeout_seconds):
            led = await self._lead(keys=_keys(flight), args=[token, int(self._lease_seconds * 1000)])
        return token if led else None

    async def send(self, flight: str, lease: str, messages: Sequence[bytes], *, sent: int, ends: bool = False) -> Lead:
        return await self._send_on(flight, lease, "1" if ends else "", sent, messages)

    async def release(self, flight: str, lease: str) -> Lead:
        return await self._send_on(flight, lease, "?", 0, ())

    async def _send_on(self, flight: str, lease: str, end: str, sent: int, messages: Sequence[bytes]) -> Lead:
        args: list[str | int | bytes] = [lease, int(self._lease_seconds * 1000), KEPT_SECONDS, end, sent, *messages]
        async with _in_time(self._lease_seconds):
            return Lead(await self._send(keys=_keys(flight), args=args))

    async def receive(self, flight: str, after: str, *, wait_seconds: float) -> tuple[str, list[bytes]]:
        _, messages = _keys(flight)
        async with _in_time(wait_seconds + self._timeout_seconds):
            found = await self._listening.xread({messages: after or "0"}, block=max(1, int(wait_seconds * 1000)))
        entries = entries_of(found)
        return position_of(entries, after), [fields[b"m"] for _, fields in entries]

    async def is_led(self, flight: str) -> bool:
        async with _in_time(self._timeout_seconds):
            return bool(await self._follow(keys=_keys(flight)[:1]))


def _keys(flight: str) -> list[str]:
    tenant, _, name = flight.partition("/")
    return [tenant_key(tenant, "flight", name, "lease"), tenant_key(tenant, "flight", name)]


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    try:
        async with ServerDeadline(seconds):
            yield
    except REDIS_FAULTS as error:
        raise RelayUnavailableError(
            f"The relay of answers (Redis) does not answer ({type(error).__name__})."
        ) from error
