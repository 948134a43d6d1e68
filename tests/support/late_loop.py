"""An event loop that runs late."""

from __future__ import annotations

import asyncio
import time

ROUND_SECONDS = 0.02


def answered_late(rounds: int) -> asyncio.Future[str]:
    """What is answered (`here`) after so many rounds of the loop, each of which takes ROUND_SECONDS."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[str] = loop.create_future()

    def busy(left: int) -> None:
        time.sleep(ROUND_SECONDS)
        if left > 1:
            loop.call_soon(busy, left - 1)
        else:
            answered.set_result("here")

    loop.call_soon(busy, rounds)
    return answered
