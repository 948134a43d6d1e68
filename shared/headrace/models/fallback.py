"""Several chat models in order: the next one writes when one does not begin to."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from headrace.errors import ConfigurationError, HeadraceError, ModelProtocolError, RefusedError, UnavailableError
from headrace.protocols import ChatModel
from headrace.types import Constraint, Message, ModelChunk, ModelOptions, ToolChoice, ToolSpec, ToolUse

# A model that failed is left alone for as long as it asked for, or this, so that not every question waits for it.
REST_SECONDS = 10.0
LONGEST_REST_SECONDS = 60.0

logger = logging.getLogger(__name__)


class FallbackModel:
    """A ChatModel that is the first of several that writes. Once one has begun, its faults are the caller's."""

    def __init__(self, models: Sequence[ChatModel], clock: Callable[[], float] = time.monotonic) -> None:
        self._models = models
        self._clock = clock
        self._rests_until = [0.0] * len(models)
        self.name = models[0].name

    async def check(self) -> None:
        """Ready when one of them is. Raises the first one's fault."""
        faults: list[HeadraceError] = []
        for model in self._models:
            try:
                await model.check()
            except HeadraceError as error:
                faults.append(error)
            else:
                return
        raise faults[0]

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        tools: Sequence[ToolSpec] = (),
        tool_choice: ToolChoice = ToolUse.AUTO,
        constraint: Constraint | None = None,
        options: ModelOptions | None = None,
    ) -> AsyncGenerator[ModelChunk, None]:
        faults: list[HeadraceError] = []
        for position in self._order():
            model = self._models[position]
            asked = model.stream(
                messages,
                max_tokens=max_tokens,
                tools=tools,
                tool_choice=tool_choice,
                constraint=constraint,
                options=options,
            )
            async with aclosing(asked) as chunks:
                try:
                    first = await anext(chunks)
                except (UnavailableError, ConfigurationError) as error:
                    # What is refused for what it says is not asked of others until one takes it, and a model that
                    # answers what it was not asked is there.
                    if isinstance(error, RefusedError | ModelProtocolError):
                        raise
                    faults.append(error)
                    self._rest(position, error)
                    continue
                yield first._replace(fallback=position > 0)
                async for chunk in chunks:
                    yield chunk._replace(fallback=True) if position else chunk
                return
        raise faults[0]

    def _order(self) -> list[int]:
        """The models by their order, those that rest last."""
        now = self._clock()
        return sorted(range(len(self._models)), key=lambda position: self._rests_until[position] > now)

    def _rest(self, position: int, error: HeadraceError) -> None:
        seconds = min(getattr(error, "retry_after_seconds", None) or REST_SECONDS, LONGEST_REST_SECONDS)
        self._rests_until[position] = self._clock() + seconds
        logger.warning("%s The next model is asked instead, for %.0f seconds.", error, seconds)
