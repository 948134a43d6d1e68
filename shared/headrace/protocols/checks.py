"""The seam of readiness."""

from __future__ import annotations

from typing import Protocol


class Checkable(Protocol):
    """A part that can say whether it is ready."""

    async def check(self) -> None:
        """Return when the part is ready; raise a HeadraceError that says why it isn't."""
