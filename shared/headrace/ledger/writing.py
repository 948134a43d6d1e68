"""From the queue into the ledger: what is written is taken out of the queue, and what is not stays in it."""

from __future__ import annotations

from headrace.protocols import Ledger, LedgerQueue

BATCH = 500


async def write_waiting(queue: LedgerQueue, ledger: Ledger, *, most: int) -> int:
    """Write what waits, `most` entries or few more; how many. Raises LedgerUnavailableError, RegistryUnavailableError.

    Two who do it at once, or one who dies between, write an entry twice, which changes nothing.
    """
    await ledger.migrate()
    written = 0
    while written < most and (entries := await queue.take(BATCH)):
        await ledger.write([entry for _, entry in entries])
        await queue.remove([name for name, _ in entries])
        written += len(entries)
    return written
