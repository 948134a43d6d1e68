"""A queue as SQS is one: messages come late, in any order, more than once, and again when nobody deletes them."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import Any

HIDDEN = 1 << 62


@dataclass
class Held:
    """A message in the queue, and the moment from which it can be received."""

    number: int
    body: str
    visible_at: int
    receives: int = 0


class ChaoticQueue:
    """A Queue, and the event source on it, in a time of its own that `tick` moves on."""

    MAX_RECEIVES = 5
    DEAD_LETTERS_ARN = "arn:aws:sqs:us-east-1:000000000000:dead"

    def __init__(self, generator: random.Random) -> None:
        self._generator = generator
        self._numbers = itertools.count(1)
        self._now = 0
        self.messages: dict[int, Held] = {}
        self.dead: dict[int, Held] = {}
        self.sent = self.buried = 0

    async def send(self, bodies: list[str]) -> None:
        for body in bodies:
            self.sent += 1
            for _ in range(self._generator.choice((1, 1, 1, 2))):
                held = Held(next(self._numbers), body, self._now + self._generator.choice((0, 0, 1, 3, 9)))
                self.messages[held.number] = held

    async def show_again(self, receipt: str, *, seconds: int) -> None:
        """Its messages have no receipts, and come again when it likes."""

    @property
    def is_empty(self) -> bool:
        return not self.messages and not self.dead

    def tick(self) -> None:
        self._now += 1

    def receive(self) -> tuple[dict[str, Any], dict[int, Held]] | None:
        """A batch as Lambda gets it, and where its messages are held; None when there is nothing to receive now."""
        held = self.dead if self.dead and self._generator.random() < 0.3 else self.messages
        visible = [message for message in held.values() if message.visible_at <= self._now]
        if not visible:
            return None
        taken = self._generator.sample(visible, min(len(visible), self._generator.choice((1, 1, 2, 3))))
        for message in taken:
            message.receives += 1
            # The queue hides what somebody works on, but promises no more than that it is delivered at least once.
            message.visible_at = self._now if self._generator.random() < 0.05 else HIDDEN
        records = [
            {
                "messageId": str(message.number),
                "body": message.body,
                "eventSourceARN": self.DEAD_LETTERS_ARN if held is self.dead else "queue",
                "attributes": {"ApproximateReceiveCount": str(message.receives)},
            }
            for message in taken
        ]
        return {"Records": records}, held

    def settle(self, event: dict[str, Any], held: dict[int, Held], failed: set[str]) -> None:
        """Delete what was handled; bury what was received too often."""
        for record in event["Records"]:
            message = held.get(int(record["messageId"]))
            if message is None:
                continue
            # Once in a while a message that was deleted is delivered again.
            if record["messageId"] not in failed and self._generator.random() > 0.05:
                del held[message.number]
                continue
            message.visible_at = self._now + self._generator.choice((1, 3, 6))
            if held is self.messages and message.receives >= self.MAX_RECEIVES:
                del held[message.number]
                message.receives, message.visible_at = 0, self._now
                self.dead[message.number] = message
                self.buried += 1
