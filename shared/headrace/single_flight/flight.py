"""Equal questions that are asked at the same time share one flight, which makes the answer once.

The first asker's process leads the flight; its other askers subscribe to it, and other processes follow it through a relay.
A leader that dies, or whose last subscriber leaves, is replaced by a follower.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from headrace.errors import RelayUnavailableError
from headrace.protocols import SingleFlightRelay
from headrace.single_flight.messages import BEGINS, ENDS, LEAVES, decode_fault, encode_fault, is_fault
from headrace.single_flight.sender import BEATS_A_LEASE, Sender
from headrace.single_flight.splice import Splice
from headrace.types import AnswerEvent, CacheVerdict, StatusEvent, decode_event

Produce = Callable[[], AsyncGenerator[AnswerEvent, None]]

logger = logging.getLogger(__name__)


class SingleFlight:
    """The flights that have subscribers in this process. Without a relay they are not shared with other processes."""

    def __init__(self, relay: SingleFlightRelay | None = None) -> None:
        self._relay = relay
        self._flights: dict[str, _Flight] = {}

    async def subscribe(self, key: str, produce: Produce, *, relayed: bool = True) -> AsyncGenerator[AnswerEvent, None]:
        """Yield the flight's events from its first one on; `produce` makes them if nobody is making them yet.

        Raises what made the flight fail. When the last subscriber in this process leaves, the flight ends here, and another
        process goes on with it if it has followers there.
        """
        flight = self._flights.get(key)
        # A flight that is over is not joined: it may have failed, and its answer may be wrong by now.
        is_shared = flight is not None and flight.may_be_joined
        if flight is None or not is_shared:
            flight = self._flights[key] = _Flight(key, produce, self._relay if relayed else None, before=flight)
        flight.subscribers += 1
        try:
            position = 0
            while (event := await flight.event(position)) is not None:
                position += 1
                yield _as_shared(event) if is_shared else event
        finally:
            flight.subscribers -= 1
            if not flight.subscribers:
                try:
                    await flight.leave()
                finally:
                    if self._flights.get(key) is flight:
                        del self._flights[key]


def _as_shared(event: AnswerEvent) -> AnswerEvent:
    """The event as it is for askers who joined the flight later."""
    if not isinstance(event, StatusEvent):
        return event
    cache = CacheVerdict.SHARED if event.cache is CacheVerdict.MISS else event.cache
    # A verdict is paid for once.
    return msgspec.structs.replace(event, cache=cache, judge_tokens=0, reading_tokens=0)


class _Flight:
    """One answer as it is made, with the log of its events. It runs in a task of its own: subscribers come and go.

    It begins when the one before it has ended, lest it follow that one's last events through the relay.
    """

    def __init__(
        self, key: str, produce: Produce, relay: SingleFlightRelay | None, *, before: _Flight | None = None
    ) -> None:
        self.subscribers = 0
        self._is_over = False
        self._is_left = False
        self._before = before
        self._key = key
        self._produce = produce
        self._relay = relay
        self._log: list[AnswerEvent] = []
        self._splice = Splice()
        self._fault: BaseException | None = None
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    @property
    def may_be_joined(self) -> bool:
        """Whether there is more to come."""
        return not (self._is_over or self._is_left)

    async def event(self, position: int) -> AnswerEvent | None:
        """The event at this position of the log, once there is one; None at the end. Raises what made the flight fail."""
        while position >= len(self._log):
            if self._fault is not None:
                raise self._fault
            if self._is_over:
                return None
            await self._news.wait()
        return self._log[position]

    async def leave(self) -> None:
        """End the flight for want of subscribers; what was made is still sent to followers."""
        self._is_left = True
        if not self._is_over:
            self._task.cancel()
        await self.end()

    async def end(self) -> None:
        """Wait until nothing of the flight goes on."""
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        try:
            await self._lead_or_follow()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - subscribers raise it
            self._fault = error
        self._is_over = True
        self._wake()

    async def _lead_or_follow(self) -> None:
        if self._before is not None:
            await self._before.end()
            self._before = None
        relay = self._relay
        if relay is None:
            await self._lead(None)
            return
        try:
            lease = await relay.lead(self._key) or await self._follow(relay)
            if lease is None:
                return
        except RelayUnavailableError as error:
            logger.warning("%s This process makes the answer by itself.", error)
            lease = None
        await self._lead(Sender(relay, self._key, lease) if lease else None)

    async def _lead(self, sender: Sender | None) -> None:
        """Make the answer here."""
        self._splice.begin()
        try:
            if sender is not None:
                sender.put(BEGINS)
            async with aclosing(self._produce()) as events:
                async for event in events:
                    if sender is not None:
                        sender.put(event)
                    self._append(event)
        except asyncio.CancelledError:
            if sender is not None:
                await sender.close(LEAVES)
            raise
        except Exception as error:
            if sender is not None:
                await sender.close(encode_fault(error))
            raise
        except BaseException:
            if sender is not None:
                sender.stop()
            raise
        # Subscribers here need not wait until followers know of the end.
        self._is_over = True
        self._wake()
        if sender is not None:
            await sender.close(ENDS)

    async def _follow(self, relay: SingleFlightRelay) -> str | None:
        """Take over the leader's events to their end: None. Or a lease, when nobody makes the answer any more."""
        position = ""
        wait_seconds = relay.lease_seconds / BEATS_A_LEASE
        while True:
            position, messages = await relay.receive(self._key, position, wait_seconds=wait_seconds)
            if self._receive(messages):
                return None
            if LEAVES in messages[-1:] or (not messages and not await relay.is_led(self._key)):
                # The leader may have sent its last messages between the two readings.
                position, late = await relay.receive(self._key, position, wait_seconds=0.001)
                if self._receive(late):
                    return None
                lease = None if late else await relay.lead(self._key)
                if lease is not None:
                    return lease

    def _receive(self, messages: list[bytes]) -> bool:
        """Take in messages of the leader; True at the end. Raises the leader's failure."""
        for message in messages:
            if message == ENDS:
                return True
            if message == BEGINS:
                self._splice.begin()
            elif is_fault(message):
                raise decode_fault(message)
            elif message != LEAVES:
                self._append(_as_shared(decode_event(message)))
        return False

    def _append(self, event: AnswerEvent) -> None:
        self._log += self._splice.feed(event)
        self._wake()

    def _wake(self) -> None:
        """Wake who waits for news now; who comes later waits for the next."""
        self._news.set()
        self._news.clear()
