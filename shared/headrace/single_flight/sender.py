"""Sends a flight's messages to its followers in the background, and keeps the leader's lease alive between them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from headrace.errors import RelayUnavailableError
from headrace.protocols import SingleFlightRelay
from headrace.types import AnswerEvent, Lead, encode_event

# A lease is renewed, and a follower looks for a leader, so often within a lease.
BEATS_A_LEASE = 4
# The first look for followers; each further one comes after twice the time, up to a beat.
FIRST_LOOK_SECONDS = 0.25
# Messages wait so long for others to go with.
BATCH_SECONDS = 0.05
CLOSE_SECONDS = 0.5

logger = logging.getLogger(__name__)


class Sender:
    """The leader's side of a relay. Nothing that it does makes the leader wait, but for `close`.

    Until somebody follows, nothing is sent; from then on all of it. The leader looks for followers soon after it began,
    when equal questions come, then less and less often.
    """

    def __init__(self, relay: SingleFlightRelay, flight: str, lease: str) -> None:
        self._relay = relay
        self._flight = flight
        self._lease = lease
        self._messages: list[bytes | AnswerEvent] = []
        self._sent = 0
        self._is_followed = False
        self._is_stopped = False
        self._news, self._closing = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._send_until_closed())

    def put(self, message: bytes | AnswerEvent) -> None:
        """Have the followers get this soon, if there are any."""
        self._messages.append(message)
        if self._is_followed:
            self._news.set()

    async def close(self, last: bytes) -> None:
        """Send what is left and this message, and give the lease back; wait for that, but not for long."""
        self._messages.append(last)
        self._closing.set()
        self._news.set()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._task
        except TimeoutError:
            # The lease runs out by itself, and a follower takes over.
            logger.warning("Followers of an answer could not be told of its end.")

    def stop(self) -> None:
        """Send nothing more: the lease runs out, and a follower leads."""
        # A client's command may end a cancelled task's wait without ending the task.
        self._is_stopped = True
        self._task.cancel()

    async def _send_until_closed(self) -> None:
        try:
            is_leading, look_seconds = True, FIRST_LOOK_SECONDS
            while is_leading and not self._is_stopped:
                await _within(min(look_seconds, self._relay.lease_seconds / BEATS_A_LEASE), self._news)
                look_seconds *= 2
                self._news.clear()
                ends = self._closing.is_set()
                is_leading = await (self._end() if ends else self._send())
                if ends:
                    return
                if self._is_followed:
                    await _within(BATCH_SECONDS, self._closing)
        except RelayUnavailableError as error:
            logger.warning("%s Other processes can't follow this answer.", error)

    async def _end(self) -> bool:
        if not self._is_followed and await self._relay.release(self._flight, self._lease) is not Lead.FOLLOWED:
            return False
        self._is_followed = True
        return await self._send(ends=True)

    async def _send(self, *, ends: bool = False) -> bool:
        """Send what was put since, or only renew the lease while nobody follows. False when the lease is lost."""
        unsent = self._messages[self._sent :] if self._is_followed else []
        messages = [each if isinstance(each, bytes) else encode_event(each) for each in unsent]
        lead = await self._relay.send(self._flight, self._lease, messages, sent=self._sent, ends=ends)
        self._sent += len(messages)
        if lead is Lead.FOLLOWED and not self._is_followed:
            self._is_followed = True
            self._news.set()
        return lead is not Lead.LOST


async def _within(seconds: float, event: asyncio.Event) -> None:
    """Wait for the event, but no longer than that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
