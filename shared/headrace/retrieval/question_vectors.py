"""The embeddings of questions: each is made once for all who ask for it at a time, perhaps ahead of need, and remembered."""

from __future__ import annotations

import asyncio
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from headrace.protocols import Embedder
from headrace.types import Query

REMEMBERED_QUESTIONS = 512
# An embedding that was begun longer ago than this is not waited for: a second call is likely to be answered sooner.
JOIN_SECONDS = 2.0


@dataclass(slots=True)
class _Ahead:
    """An embedding that was begun before anybody waited for it, and how many do now. `began` is the loop's time."""

    task: asyncio.Task[None]
    began: float
    waiting: int = 0


class QuestionVectors:
    """Embeds questions, and remembers the last ones."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        # In single precision: an eighth of the room, and each open answer holds its question's.
        self._vectors: OrderedDict[str, array[float]] = OrderedDict()
        self._ahead: dict[str, _Ahead] = {}

    def begin(self, question: str) -> None:
        """Begin to embed the question, for whoever needs it next."""
        if question in self._vectors or question in self._ahead:
            return

        async def embed() -> None:
            (vector,) = await self._embedder.embed([question])
            self._remember(question, array("f", vector))

        def done(task: asyncio.Task[None]) -> None:
            del self._ahead[question]
            # Whoever waits for it raises its fault; perhaps nobody does.
            if not task.cancelled():
                task.exception()

        task = asyncio.create_task(embed())
        self._ahead[question] = _Ahead(task, asyncio.get_running_loop().time())
        task.add_done_callback(done)

    def give_up(self, question: str) -> None:
        """End what was begun for the question, unless somebody waits for it."""
        ahead = self._ahead.get(question)
        if ahead is not None and not ahead.waiting:
            ahead.task.cancel()

    async def of(self, texts: Sequence[str]) -> list[Query]:
        """The texts with their unit-length embeddings. Raises EmbedderUnavailableError."""
        for text in texts:
            await self._join(text)
        # Meanwhile another question may push out what was found: it is kept here.
        found = {text: self._vectors[text] for text in texts if text in self._vectors}
        missing = [text for text in texts if text not in found]
        if missing:
            embedded = [array("f", vector) for vector in await self._embedder.embed(missing)]
            found.update(zip(missing, embedded, strict=True))
        for text in texts:
            self._remember(text, found[text])
        return [Query(text, found[text]) for text in texts]

    async def _join(self, text: str) -> None:
        """Wait for what was begun for the text, if it was lately. Raises its fault."""
        ahead = self._ahead.get(text)
        if ahead is None or asyncio.get_running_loop().time() - ahead.began > JOIN_SECONDS:
            return
        ahead.waiting += 1
        try:
            await asyncio.wait({ahead.task})
        finally:
            ahead.waiting -= 1
            # Who leaves takes it from nobody else; the last one takes it out of the embedder's line.
            if not ahead.waiting:
                ahead.task.cancel()
        if not ahead.task.cancelled():
            ahead.task.result()

    def _remember(self, text: str, vector: array[float]) -> None:
        self._vectors[text] = vector
        self._vectors.move_to_end(text)
        while len(self._vectors) > REMEMBERED_QUESTIONS:
            self._vectors.popitem(last=False)
