"""A queue whose messages the test delivers itself."""

from __future__ import annotations

from collections.abc import Sequence


class ListQueue:
    """A Queue that keeps what it was told: the bodies sent, and which receipts are shown again after how many seconds."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.shown_again: list[tuple[str, int]] = []

    async def send(self, bodies: Sequence[str]) -> None:
        self.bodies += bodies

    async def show_again(self, receipt: str, *, seconds: int) -> None:
        self.shown_again.append((receipt, seconds))

    def batch(self) -> dict[str, object]:
        taken, self.bodies = self.bodies, []
        return {"Records": [{"messageId": str(i), "body": body, "attributes": {}} for i, body in enumerate(taken)]}
