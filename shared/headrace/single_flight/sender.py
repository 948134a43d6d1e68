"""Sends a flight's messages to its followers in the background, and keeps the leader's lease alive between them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from headrace.errors import RelayUnavailableError
from headrace.protocols import SingleFlightRelay

# A lease is renewed, and a follower looks for a leader, so often within a lease.
BEATS_A_LEASE = 4
CLOSE_SECONDS = 0.5

logger = logging.getLogger(__name__)


class Sender:
    """The leader's side of a relay. Nothing that it does makes the leader wait, but for `close`."""

    def __init__(self, relay: SingleFlightRelay, flight: str, lease: str) -> None:
        self._relay = relay
        self._flight = flight
        self._lease = lease
        self._messages: list[bytes] = []
        self._last: bytes | None = None
        self._is_stopped = False
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._send_until_closed())

    def put(self, message: bytes) -> None:
        """Send this as soon as possible."""
        self._messages.append(message)
        self._news.set()

    async def close(self, last: bytes) -> None:
        """Send what is left and this message, and give the lease back; wait for that, but not for long."""
        self._last = last
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
        is_leading, sent = True, 0
        while is_leading and not self._is_stopped:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._relay.lease_seconds / BEATS_A_LEASE):
                    await self._news.wait()
            self._news.clear()
            messages, self._messages = self._messages, []
            ends = self._last is not None
            if self._last is not None:
                messages.append(self._last)
            try:
                is_leading = await self._relay.send(self._flight, self._lease, messages, sent=sent, ends=ends)
            except RelayUnavailableError as error:
                logger.warning("%s Other processes can't follow this answer.", error)
                return
            sent += len(messages)
            if ends:
                return
