"""The flights that this process leads: each has a sender, which is told when another process begins to follow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from headrace.errors import RelayUnavailableError
from headrace.protocols import SingleFlightRelay
from headrace.single_flight.sender import BEATS_A_LEASE, Sender


class Leading:
    """The senders of the flights that are led here. One task listens for followers of all of them, while there are any."""

    def __init__(self, relay: SingleFlightRelay) -> None:
        self.relay = relay
        self._senders: dict[str, Sender] = {}
        self._listening: asyncio.Task[None] | None = None

    @contextmanager
    def sender(self, flight: str, lease: str) -> Iterator[Sender]:
        """A flight's sender, as long as it is led here."""
        sender = self._senders[flight] = Sender(self.relay, flight, lease)
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen())
        try:
            yield sender
        finally:
            if self._senders.get(flight) is sender:
                del self._senders[flight]

    async def _listen(self) -> None:
        """Pass word of followers on. Where it does not come, senders find it at their next beat."""
        wait_seconds = self.relay.lease_seconds / BEATS_A_LEASE
        while self._senders:
            try:
                flights = await self.relay.followed(wait_seconds=wait_seconds)
            except RelayUnavailableError:
                await asyncio.sleep(wait_seconds)
                continue
            for flight in flights:
                if flight in self._senders:
                    self._senders[flight].follow()
