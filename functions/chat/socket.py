"""One asker's WebSocket: questions in, their answers' events out as they come, several at a time; stopped and resumed.

The same for a socket of this process and for one that API Gateway keeps: what differs is how a frame is sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress

from functions.chat.admission import let_in
from functions.chat.dependencies import ChatDependencies
from functions.chat.faults import fault_of
from functions.chat.responses import begin_run
from functions.chat.wire.frames import (
    MOST_BYTES,
    AskFrame,
    Frame,
    PingFrame,
    ResumeFrame,
    StopFrame,
    read_frame,
    request_id_in,
    write_event,
    write_message,
)
from headrace.errors import AbandonedError, HeadraceError, InvalidInputError, UnavailableError
from headrace.runs.run import Run
from headrace.runs.runs import DistantRun
from headrace.types import Principal, read_event_id

# So many frames of one socket are under way at once.
MOST_AT_ONCE = 64
# API Gateway's quota of a frame is 32 KB: lines that fit go together up to that.
GOOD_BYTES = 30_000
RETRY_SECONDS = (0.2, 0.5, 1.0)
# A reader gets so much longer than its run may take.
LATER_SECONDS = 5.0

logger = logging.getLogger(__name__)
SendFrame = Callable[[str], Awaitable[None]]


class Socket:
    """What one asker sends and hears. `send` sends a frame; it raises AbandonedError when nobody takes it any more."""

    def __init__(self, asker: Principal, deps: ChatDependencies, send: SendFrame, *, deadline_seconds: float) -> None:
        self._asker = asker
        self._deps = deps
        self._outbox = Outbox(send)
        self._deadline_seconds = deadline_seconds
        self._tasks: set[asyncio.Task[None]] = set()
        self._runs: set[Run] = set()

    async def receive(self, frame: str) -> None:
        """Do what a frame asks for, beside what is under way; wait while that is a great deal."""
        while len(self._tasks) >= MOST_AT_ONCE:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        task = asyncio.create_task(self._handle(frame))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait until all is answered, and the runs that were begun here are over, with a reader or without one."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        with suppress(AbandonedError):
            await self._outbox.drain()
        await asyncio.gather(*(run.settled() for run in self._runs))
        await self._outbox.aclose()

    async def aclose(self) -> None:
        """The asker has left: answers go on without a reader for a while."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._outbox.aclose()

    async def tell(self, error: Exception, frame: str) -> None:
        """Answer a frame with a fault."""
        with suppress(AbandonedError):
            await self._outbox.put(write_message("error", fault_of(error)[1]["error"], request_id_in(frame)))

    async def _handle(self, text: str) -> None:
        try:
            await self._do(read_frame(text))
        except AbandonedError:
            return
        except Exception as error:  # noqa: BLE001 - each fault is an answer
            await self.tell(error, text)

    async def _do(self, frame: Frame) -> None:
        match frame:
            case AskFrame():
                await self._ask(frame)
            case ResumeFrame(last_event_id=last):
                await self._resume(last, frame.request_id)
            case StopFrame(run_id=run_id):
                async with let_in(self._deps, self._identify, is_new=False):
                    run = await self._deps.runs.find(self._asker, run_id)
                    stopped = {"stopped": await run.stop()}
                await self._outbox.put(write_message("stop", stopped, frame.request_id, run_id=run_id))
            case PingFrame():
                await self._outbox.put(write_message("pong", {}, frame.request_id))

    async def _ask(self, frame: AskFrame) -> None:
        deps = self._deps
        question = frame.question_of(self._asker)
        answering = frame.answering(deps.answering, self._asker)
        async with let_in(deps, self._identify) as visit:
            run = begin_run(question, answering, visit, deps, deadline_seconds=self._deadline_seconds)
            self._runs = {each for each in self._runs if not each.is_over} | {run}
            await self._forward(run, 0, frame.request_id)

    async def _resume(self, last_event_id: str, request_id: str | None) -> None:
        try:
            run_id, number = read_event_id(last_event_id)
        except ValueError as error:
            raise InvalidInputError(f"last_event_id is no event's id: {error}", param="last_event_id") from None
        async with let_in(self._deps, self._identify, is_new=False):
            run = await self._deps.runs.find(self._asker, run_id)
            await self._forward(run, number, request_id)

    async def _forward(self, run: Run | DistantRun, after: int, request_id: str | None) -> None:
        # Who takes nothing keeps no place for ever.
        seconds = self._deadline_seconds + LATER_SECONDS
        async with asyncio.timeout(seconds), aclosing(run.events(after)) as events:
            async for number, event in events:
                await self._outbox.put(write_event(event, request_id, run.id, number))

    async def _identify(self) -> Principal:
        return self._asker


class Outbox:
    """Sends lines in frames, one frame at a time: what comes meanwhile goes together into the next."""

    def __init__(self, send: SendFrame) -> None:
        self._send = send
        self._lines: list[tuple[str, int]] = []
        self._bytes = 0
        self._is_sending = False
        self._failure: Exception | None = None
        self._news, self._sent = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._write())

    async def put(self, line: str) -> None:
        """Send a line soon. Waits while there is more than a frame to send; raises AbandonedError when nobody takes it."""
        size = len(line.encode()) + 1
        while self._bytes > MOST_BYTES and self._failure is None:
            await self._next_sent()
        self._check()
        self._lines.append((line, size))
        self._bytes += size
        self._news.set()

    async def drain(self) -> None:
        """Wait until all is sent. Raises AbandonedError."""
        while (self._lines or self._is_sending) and self._failure is None:
            await self._next_sent()
        self._check()

    async def aclose(self) -> None:
        """Send nothing more."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _next_sent(self) -> None:
        self._sent.clear()
        await self._sent.wait()

    def _check(self) -> None:
        if self._failure is not None:
            raise AbandonedError("The connection is closed.") from self._failure

    async def _write(self) -> None:
        while self._failure is None:
            await self._news.wait()
            self._news.clear()
            while self._lines and self._failure is None:
                self._is_sending = True
                await self._send_with_retries(self._take())
                self._is_sending = False
                self._sent.set()

    async def _send_with_retries(self, frame: str) -> None:
        """Send a frame; what a gateway does not take now it may take a little later."""
        for pause_seconds in (*RETRY_SECONDS, None):
            try:
                await self._send(frame)
            except AbandonedError as error:
                self._failure = error
            except Exception as error:
                if isinstance(error, UnavailableError) and pause_seconds is not None:
                    await asyncio.sleep(pause_seconds)
                    continue
                is_known = isinstance(error, HeadraceError)
                logger.log(logging.ERROR, "A socket's frame could not be sent: %s", error, exc_info=not is_known)
                self._failure = error
            return

    def _take(self) -> str:
        """As many lines as go well into a frame, and one at least."""
        size = count = 0
        for _, each in self._lines:
            size += each
            if count and size > GOOD_BYTES:
                break
            count += 1
        taken, self._lines = self._lines[:count], self._lines[count:]
        self._bytes -= sum(each for _, each in taken)
        return "\n".join(line for line, _ in taken)
