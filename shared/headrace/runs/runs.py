"""The runs of this process, and those of others through their log: begun, read from any event on, stopped."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator

from headrace.errors import RunLostError, UnavailableError, UnknownRunError
from headrace.protocols import RunLog
from headrace.runs.publisher import BEATS_A_LEASE, publish
from headrace.runs.run import Make, Observe, Run, is_stopped
from headrace.single_flight.messages import decode_fault, is_fault
from headrace.types import AnswerEvent, DoneEvent, Principal, RunName, Stage, StatusEvent, decode_event

# A run whose last reader has gone goes on for so long.
GRACE_SECONDS = 30.0
# Of runs that are over, so many can be read from this process's memory, and for so long.
MOST_KEPT = 200
KEPT_SECONDS = 120.0
# Who stops a run elsewhere waits so long until it has stopped, and looks so often.
STOP_SECONDS = 2.0
STOP_LOOK_SECONDS = 0.02


class Runs:
    """Without a log, runs are known to their own process alone."""

    def __init__(self, log: RunLog | None = None, *, grace_seconds: float = GRACE_SECONDS) -> None:
        self._log = log
        self._grace_seconds = grace_seconds
        self._runs: dict[RunName, Run] = {}
        # Those that are over, in the order of their ends.
        self._over: deque[Run] = deque()

    def begin(
        self, asker: Principal, make: Make, *, observe: Observe, deadline_seconds: float, run_id: str = ""
    ) -> Run:
        """Have an answer made, in a task of its own; `run_id` has 16 hexadecimal digits, chance ones if none are given."""

        def observed(event: AnswerEvent) -> None:
            # What comes from the cache is there at once, and again for whoever asks again: its log is this process's.
            if self._log is not None and len(run.log) == 1 and not _is_replay(event):
                run.publish(publish(run, self._log))
            observe(event)

        run = Run(
            RunName.of(asker, run_id or secrets.token_hex(8)),
            make,
            observe=observed,
            on_end=self._over.append,
            grace_seconds=self._grace_seconds,
            deadline_seconds=deadline_seconds,
        )
        self._keep(run)
        return run

    async def find(self, asker: Principal, run_id: str) -> Run | DistantRun:
        """The asker's run, here or elsewhere. Raises UnknownRunError."""
        name = RunName.of(asker, run_id)
        self._forget()
        if name in self._runs:
            return self._runs[name]
        if self._log is not None and (messages := await self._log.read(name, 0)):
            return DistantRun(name, self._log, messages)
        raise UnknownRunError(
            f"There is no run {run_id!r} of yours, or it ended minutes ago. Ask again.", param="run_id"
        )

    async def aclose(self) -> None:
        """End what goes on."""
        await asyncio.gather(*(run.aclose() for run in self._runs.values()))
        self._runs.clear()
        self._over.clear()

    def _keep(self, run: Run) -> None:
        self._forget()
        self._runs[run.name] = run

    def _forget(self) -> None:
        """Forget what has been over for long, and the oldest of too many."""
        since = time.monotonic() - KEPT_SECONDS
        while self._over and (len(self._over) > MOST_KEPT or self._over[0].ended_at < since):
            self._runs.pop(self._over.popleft().name, None)


class DistantRun:
    """A run that another process makes, or made. `messages` are those that its log has."""

    def __init__(self, name: RunName, log: RunLog, messages: list[bytes]) -> None:
        self.name = name
        self._log = log
        self._messages = messages

    @property
    def id(self) -> str:
        return self.name.id

    async def events(self, after: int = 0) -> AsyncGenerator[tuple[int, AnswerEvent], None]:
        """The numbered events behind number `after`, as they come, to the last. Raises what made the run fail.

        Raises RunLostError when the process that made it has ended.
        """
        number = 0
        messages, self._messages = self._messages, []
        while True:
            for message in messages:
                if is_fault(message):
                    raise decode_fault(message)
                event = decode_event(message)
                number += 1
                if number > after:
                    yield number, event
                if isinstance(event, DoneEvent):
                    return
            messages = await self._next(number)

    async def stop(self) -> bool:
        """Stop the run, and wait until it is over; False when it came to its own end. Raises UnavailableError.

        Raises RunLostError when nobody makes it, and it has no end.
        """
        if not await self._log.stop(self.name):
            await self._last()
            return False
        deadline = asyncio.get_running_loop().time() + STOP_SECONDS
        while await self._log.is_going_on(self.name):
            if asyncio.get_running_loop().time() > deadline:
                raise UnavailableError("The process that makes this answer does not react. Try again in a moment.")
            await asyncio.sleep(STOP_LOOK_SECONDS)
        return is_stopped([await self._last()])

    async def _last(self) -> AnswerEvent:
        """The run's last event. Raises what made it fail, and RunLostError."""
        messages = await self._log.read(self.name, 0)
        if messages and is_fault(messages[-1]):
            raise decode_fault(messages[-1])
        last = decode_event(messages[-1]) if messages else None
        if not isinstance(last, DoneEvent):
            raise RunLostError(
                "The process that was making this answer has ended, or can't be told to stop. Ask again."
            )
        return last

    async def _next(self, number: int) -> list[bytes]:
        wait_seconds = self._log.lease_seconds / BEATS_A_LEASE
        while not (messages := await self._log.read(self.name, number, wait_seconds=wait_seconds)):
            if not await self._log.is_going_on(self.name):
                # It may have ended between the two.
                messages = await self._log.read(self.name, number)
                if not messages:
                    raise RunLostError("The process that was making this answer has ended. Ask again.")
                break
        return messages


def _is_replay(event: AnswerEvent) -> bool:
    return isinstance(event, StatusEvent) and event.stage is Stage.CACHED
