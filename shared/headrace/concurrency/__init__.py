"""Tools for asyncio: threads, retries, batches, one event loop for a synchronous handler."""
