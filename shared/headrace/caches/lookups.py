"""Lookups of one turn of the event loop are one script a tenant, hence one round trip, in cluster mode as well."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from headrace.cache_layout import entry_key, ledger_keys, partition_key, registry_key
from headrace.caches.entries import decode_basis, decode_events
from headrace.caches.indexes import QuestionIndex
from headrace.caches.scripts import FIND
from headrace.types import AnswerEvent, CachedAnswer, Found, Lookup, Partition

MOST_LOOKUPS = 64
# Answers that are kept here as they were decoded, so that only their version is asked for.
KNOWN_ANSWERS = 512

# A version, and its events.
_Held = tuple[bytes, tuple[AnswerEvent, ...]]
NOTHING: _Held = (b"", ())


@dataclass(frozen=True, slots=True)
class _Question:
    partition: Partition
    entry: str
    kind: str
    answer: asyncio.Future[Lookup]

    @property
    def key(self) -> str:
        return entry_key(self.partition.scope.tenant, self.partition.name, self.entry)


class Lookups:
    """Reads entries. Raises what the Redis client raises, and TimeoutError."""

    def __init__(self, client: Redis, index: QuestionIndex, *, timeout_seconds: float) -> None:
        self._index = index
        self._timeout_seconds = timeout_seconds
        self._find = client.register_script(FIND)
        self._known: OrderedDict[str, _Held] = OrderedDict()
        self._waiting: dict[str, list[_Question]] = defaultdict(list)
        self._asking: set[asyncio.Task[None]] = set()

    async def find(self, partition: Partition, entry: str, *, kind: str) -> Lookup:
        """The entry, if it is current, and the tenant's revision. A hit counts as `kind`, if that is not empty."""
        question = _Question(partition, entry, kind, asyncio.get_running_loop().create_future())
        if not self._waiting:
            task = asyncio.create_task(self._ask_all())
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        self._waiting[partition.scope.tenant].append(question)
        return await question.answer

    async def _ask_all(self) -> None:
        waiting, self._waiting = self._waiting, defaultdict(list)
        batches = [
            (tenant, questions[start : start + MOST_LOOKUPS])
            for tenant, questions in waiting.items()
            for start in range(0, len(questions), MOST_LOOKUPS)
        ]
        await asyncio.gather(*(self._ask(tenant, questions) for tenant, questions in batches))

    async def _ask(self, tenant: str, questions: Sequence[_Question]) -> None:
        try:
            await self._ask_script(tenant, questions)
        except Exception as error:  # noqa: BLE001 - it is each asker's
            for question in questions:
                if not question.answer.done():
                    question.answer.set_exception(error)

    async def _ask_script(self, tenant: str, questions: Sequence[_Question]) -> None:
        keys = [registry_key(tenant), *ledger_keys(tenant)]
        args: list[str | bytes | int] = []
        known = [self._index.known(question.partition) for question in questions]
        # Whatever is pushed out meanwhile is still at hand when the answer says that nothing else is there.
        held = {question.key: self._known[question.key] for question in questions if question.key in self._known}
        for question, (born, seq) in zip(questions, known, strict=True):
            keys += [question.key, partition_key(tenant, question.partition.name)]
            args += [question.entry, held.get(question.key, NOTHING)[0], question.kind, born, seq]
        async with asyncio.timeout(self._timeout_seconds):
            revision, *answers = await self._find(keys=keys, args=args)
        for question, (_, seq), (found, news) in zip(questions, known, answers, strict=True):
            self._index.learn(question.partition, seq, news)
            if not question.answer.done():
                question.answer.set_result(
                    Lookup(self._found(question, found, held.get(question.key, NOTHING)), int(revision))
                )

    def _found(self, question: _Question, found: Sequence[Any], held: _Held) -> Found | None:
        if found[0] == b"miss":
            return None
        verdict, made, body, documents, asked, bar, revision, created_at = found
        if body:
            held = made, decode_events(body) or ()
        if not held[1] or held[0] != made:
            return None
        self._known[question.key] = held
        self._known.move_to_end(question.key)
        while len(self._known) > KNOWN_ANSWERS:
            self._known.popitem(last=False)
        answer = CachedAnswer(int(revision), float(created_at), held[1], decode_basis(documents, bar))
        settled = verdict == b"holds"
        return Found(question.entry, asked.decode(), answer, settled, version=made.decode())
