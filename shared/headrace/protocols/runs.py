"""The seam of runs: the log that lets an answer be followed, and stopped, from another process than the one that makes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headrace.types import RunName


class RunLog(Protocol):
    """Keeps the messages of runs for a while, numbered from 1. Raises RegistryUnavailableError."""

    @property
    def lease_seconds(self) -> float:
        """A run of which its maker has said nothing for so long is made by nobody any more."""

    async def append(self, run: RunName, messages: Sequence[bytes], *, after: int, ends: bool) -> bool:
        """Add messages behind number `after`, none to say that the run goes on. True when somebody asked to stop it.

        Messages that are added again are there once.
        """

    async def read(self, run: RunName, after: int, *, wait_seconds: float = 0.0) -> list[bytes]:
        """The messages from number `after` + 1 on. Waits for the first one; empty when none came in time."""

    async def is_going_on(self, run: RunName) -> bool:
        """Whether somebody makes it."""

    async def stop(self, run: RunName) -> bool:
        """Ask whoever makes the run to stop; False when nobody does."""
