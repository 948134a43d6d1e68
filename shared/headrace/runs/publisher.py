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
BATCH_SECONDS = 0.2
# A lease is renewed, and a reader looks whether it holds, so often within a lease.
BEATS_A_LEASE = 4

logger = logging.getLogger(__name__)


async def publish(run: Run, log: RunLog) -> None:
    """Add the run's events to the log until it is over; stop it when somebody asks for that there.

    Where the log does not answer, the run goes on here alone.
    """
    sent = 0
    while True:
        ends, there = run.is_over, len(run.log)
        messages = [encode_event(event) for event in run.log[sent:there]]
        if ends and run.fault is not None:
            messages.append(encode_fault(run.fault))
        try:
            if await log.append(run.name, messages, after=sent, ends=ends):
                run.ask_to_stop()
        except RegistryUnavailableError as error:
            logger.warning("%s The run goes on in this process alone.", error)
            return
        if ends:
            return
        sent = there
        await _batch(run, sent, log.lease_seconds / BEATS_A_LEASE)


async def _batch(run: Run, sent: int, most_seconds: float) -> None:
    """Wait for a batch of events, the end, or until the lease has to be renewed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(most_seconds):
            while not run.is_over and len(run.log) == sent:
                await run.news()
        async with asyncio.timeout(BATCH_SECONDS):
            await run.end()
