"""Keeps a run's log where other processes find it: in batches, and beside the run, which never waits for it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from headrace.errors import RegistryUnavailableError
from headrace.protocols import RunLog
from headrace.runs.run import Run
from headrace.single_flight.messages import encode_fault
from headrace.types import encode_event

# Events wait so long for others to go with.
BATCH_SECONDS = 0.5
# A lease is renewed, and a reader looks whether it holds, so often within a lease.
BEATS_A_LEASE = 4
# A log that does not answer is tried again; once the run is over, a few times more.
RETRY_SECONDS = 0.3
TRIES_AT_END = 3

logger = logging.getLogger(__name__)


async def publish(run: Run, log: RunLog) -> None:
    """Add the run's events to the log until it is over; stop it when somebody asks for that there.

    While the log does not answer, the run goes on here alone.
    """
    sent = failed = 0
    while True:
        ends, made = run.is_over, len(run.log)
        messages = [encode_event(event) for event in run.log[sent:made]]
        if ends and run.fault is not None:
            messages.append(encode_fault(run.fault))
        try:
            is_asked_to_stop = await log.append(run.name, messages, after=sent, ends=ends)
        except RegistryUnavailableError as error:
            # A server that comes back may have lost the log: all of it is sent again, and what is there stays there once.
            failed, sent = failed + 1, 0
            if failed == 1:
                logger.warning("%s Until it does, a run goes on in this process alone.", error)
            if ends and failed >= TRIES_AT_END:
                return
            await asyncio.sleep(RETRY_SECONDS)
            continue
        if is_asked_to_stop:
            run.ask_to_stop()
        if ends:
            return
        sent, failed = made, 0
        await _batch(run, sent, log.lease_seconds / BEATS_A_LEASE)


async def _batch(run: Run, sent: int, most_seconds: float) -> None:
    """Wait for a batch of events, the end, or until the lease has to be renewed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(most_seconds):
            while not run.is_over and len(run.log) == sent:
                await run.news()
        async with asyncio.timeout(BATCH_SECONDS):
            await run.end()
