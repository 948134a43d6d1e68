"""Single flight: equal questions that are asked at the same time share one answer, in this process and beyond.

The first asker's flight makes the answer; everybody else hears it as it comes. Other processes follow through a relay.
A leader that dies, or whose reader leaves, is replaced by a follower.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import replace

from headrace import errors
from headrace.answering.splice import Splice
from headrace.errors import HeadraceError, RelayUnavailableError, UnavailableError
from headrace.event_codec import event_from_json, event_to_json
from headrace.protocols import FlightRelay
from headrace.types import AnswerEvent, StatusEvent

Start = Callable[[], AsyncGenerator[AnswerEvent, None]]

# A follower looks this often within a lease whether there still is a leader.
LOOKS_A_LEASE = 4
GOODBYE_SECONDS = 0.5
BEGINS, ENDS, LEAVES = b"begins", b"ends", b"leaves"

logger = logging.getLogger(__name__)


class Flights:
    """The flights that somebody in this process is on. Without a relay nobody elsewhere is."""

    def __init__(self, relay: FlightRelay | None = None) -> None:
        self._relay = relay
        self._flights: dict[str, _Flight] = {}

    async def join(self, name: str, start: Start, *, relayed: bool = True) -> AsyncGenerator[AnswerEvent, None]:
        """Hear the flight of this name from its beginning; `start` makes the answer if nobody is making it.

        When the last one in this process leaves, the flight ends, or goes on elsewhere.
        """
        flight = self._flights.get(name)
        is_shared = flight is not None
        if flight is None or flight.is_over:
            # One that is over is not to be joined: it may have failed, or be wrong by now.
            is_shared = False
            flight = self._flights[name] = _Flight(name, start, self._relay if relayed else None)
        flight.readers += 1
        try:
            async for event in flight.hear():
                yield _shared(event) if is_shared else event
        finally:
            flight.readers -= 1
            if not flight.readers:
                if self._flights.get(name) is flight:
                    del self._flights[name]
                await flight.leave()


def _shared(event: AnswerEvent) -> AnswerEvent:
    """The event as those hear it who did not make it."""
    if isinstance(event, StatusEvent) and event.cache == "miss":
        return replace(event, cache="shared")
    return event


class _Flight:
    """One answer as it comes to be, in a task of its own: readers may come and go."""

    def __init__(self, name: str, start: Start, relay: FlightRelay | None) -> None:
        self.readers = 0
        self._name = name
        self._start = start
        self._relay = relay
        self._heard: list[AnswerEvent] = []
        self._splice = Splice()
        self._fault: BaseException | None = None
        self.is_over = False
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def hear(self) -> AsyncGenerator[AnswerEvent, None]:
        """Every event from the first one; raises what made the flight fail."""
        place = 0
        while True:
            for event in self._heard[place:]:
                place += 1
                yield event
            if place < len(self._heard):
                continue
            if self._fault is not None:
                raise self._fault
            if self.is_over:
                return
            await self._news.wait()

    async def leave(self) -> None:
        """The last reader has gone: nothing more is made here, but what is made is passed on."""
        if not self.is_over:
            self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        try:
            await self._fly_or_follow()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - it is the readers'
            self._fault = error
        self.is_over = True
        self._tell()

    async def _fly_or_follow(self) -> None:
        relay = self._relay
        if relay is None:
            await self._fly(None)
            return
        try:
            lease = await relay.lead(self._name)
            if lease is None:
                lease = await self._follow(relay)
                if lease is None:
                    return
        except RelayUnavailableError as error:
            logger.warning("%s Going on alone.", error)
            lease = None
        await self._fly(_Sender(relay, self._name, lease) if lease else None)

    async def _fly(self, sender: _Sender | None) -> None:
        """Make the answer here."""
        self._splice.begin()
        try:
            if sender is not None:
                sender.put(BEGINS)
            async with aclosing(self._start()) as events:
                async for event in events:
                    if sender is not None:
                        sender.put(json.dumps(event_to_json(event)).encode())
                    self._take(event)
        except asyncio.CancelledError:
            if sender is not None:
                await sender.close(LEAVES)
            raise
        except Exception as error:
            if sender is not None:
                await sender.close(_write_fault(error))
            raise
        except BaseException:
            if sender is not None:
                sender.drop()
            raise
        self.is_over = True
        self._tell()
        if sender is not None:
            await sender.close(ENDS)

    async def _follow(self, relay: FlightRelay) -> str | None:
        """Hear the answer from elsewhere to its end: None. Or else a lease: nobody makes it any more."""
        place = ""
        wait_seconds = relay.lease_seconds / LOOKS_A_LEASE
        while True:
            place, messages = await relay.receive(self._name, place, wait_seconds=wait_seconds)
            left = False
            for message in messages:
                if message == ENDS:
                    return None
                left = message == LEAVES
                self._hear_of(message)
            if left or (not messages and not await relay.is_led(self._name)):
                place, late = await relay.receive(self._name, place, wait_seconds=0.001)
                for message in late:
                    if message == ENDS:
                        return None
                    self._hear_of(message)
                lease = None if late else await relay.lead(self._name)
                if lease is not None:
                    return lease

    def _hear_of(self, message: bytes) -> None:
        if message == BEGINS:
            self._splice.begin()
        elif message.startswith(b"!"):
            raise _read_fault(message)
        elif message != LEAVES:
            self._take(_shared(event_from_json(json.loads(message))))

    def _take(self, event: AnswerEvent) -> None:
        self._heard += self._splice.feed(event)
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class _Sender:
    """Sends what a leader says, behind its back, and keeps the lease alive while it says nothing."""

    def __init__(self, relay: FlightRelay, flight: str, lease: str) -> None:
        self._relay = relay
        self._flight = flight
        self._lease = lease
        self._messages: list[bytes] = []
        self._last: bytes | None = None
        self._is_dropped = False
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def put(self, message: bytes) -> None:
        self._messages.append(message)
        self._news.set()

    async def close(self, last: bytes) -> None:
        """Send what is left and this; give the lease back."""
        self._last = last
        self._news.set()
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._task
        except TimeoutError:
            # The lease runs out by itself.
            logger.warning("Followers of an answer could not be told of its end.")

    def drop(self) -> None:
        """Say nothing more: the lease runs out, and somebody else leads."""
        # A client's command may end a cancelled task's wait without ending the task.
        self._is_dropped = True
        self._task.cancel()

    async def _run(self) -> None:
        is_leading, sent = True, 0
        while is_leading and not self._is_dropped:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._relay.lease_seconds / LOOKS_A_LEASE):
                    await self._news.wait()
            self._news.clear()
            messages, self._messages = self._messages, []
            ends = self._last is not None
            if self._last is not None:
                messages.append(self._last)
            try:
                is_leading = await self._relay.send(self._flight, self._lease, messages, sent=sent, ends=ends)
            except RelayUnavailableError as error:
                logger.warning("%s Nobody else can follow.", error)
                return
            sent += len(messages)
            if ends:
                return


def _write_fault(error: Exception) -> bytes:
    known = isinstance(error, HeadraceError)
    message = str(error) if known else "Whoever was making this answer failed. Ask again."
    return b"!" + json.dumps([type(error).__name__ if known else "UnavailableError", message]).encode()


def _read_fault(message: bytes) -> Exception:
    name, text = json.loads(message[1:])
    kind = getattr(errors, name, UnavailableError)
    is_simple = isinstance(kind, type) and issubclass(kind, HeadraceError) and kind is not errors.IndexMismatchError
    return kind(text) if is_simple else UnavailableError(text)
