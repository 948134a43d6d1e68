"""Lookups of one turn of the event loop are one script a tenant, hence one round trip, in cluster mode as well."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from redis.asyncio import Redis

from headrace.cache_layout import entry_key, ledger_keys, partition_key, registry_key
from headrace.caches.entries import decode_basis, decode_events
from headrace.caches.indexes import QuestionIndex
from headrace.caches.scripts import FIND
from headrace.caches.turns import Turns
from headrace.types import CachedAnswer, Found, Lookup, Partition

MOST_LOOKUPS = 64
# Answers that are kept here as they were decoded, so that only their version is asked for: so many bytes of them.
KNOWN_BYTES = 32 * 1024 * 1024
# What an answer takes beside its body, and a byte of a compressed body when it is decoded.
KNOWN_OVERHEAD = 1500
DECODED = 8

logger = logging.getLogger(__name__)


class _Held(NamedTuple):
    """An answer as it was decoded: its version, its question, and how many bytes it takes up, about."""

    version: bytes
    question: str
    answer: CachedAnswer | None
    size: int


NOTHING = _Held(b"", "", None, 0)


class _Question(NamedTuple):
    partition: Partition
    entry: str
    kind: str
    similarity: float
    key: str


class Lookups:
    """Reads entries. Raises what the Redis client raises, and TimeoutError."""

    def __init__(self, client: Redis, index: QuestionIndex, *, timeout_seconds: float) -> None:
        self._index = index
        self._timeout_seconds = timeout_seconds
        self._find = client.register_script(FIND)
        self._known: OrderedDict[str, _Held] = OrderedDict()
        self._known_bytes = 0
        self._turns: Turns[str, _Question, Lookup] = Turns(self._ask, most=MOST_LOOKUPS)

    @property
    def size(self) -> int:
        """About how many bytes the decoded answers take up."""
        return self._known_bytes

    async def find(self, partition: Partition, entry: str, *, kind: str, similarity: float = 1.0) -> Lookup:
        """The entry, if it is current, and the tenant's revision. A hit counts as `kind`, if that is not empty."""
        tenant = partition.scope.tenant
        question = _Question(partition, entry, kind, similarity, entry_key(tenant, partition.name, entry))
        return await self._turns.ask(tenant, question)

    async def _ask(self, tenant: str, questions: Sequence[_Question]) -> list[Lookup]:
        partitions = {question.partition.name: question.partition for question in questions}
        numbers = {name: number for number, name in enumerate(partitions, 1)}
        points = [self._index.known(partition) for partition in partitions.values()]
        # Whatever is pushed out meanwhile is still at hand when the answer says that nothing else is there.
        held = [self._known.get(question.key, NOTHING) for question in questions]
        keys = [registry_key(tenant), *ledger_keys(tenant), *(partition_key(tenant, name) for name in partitions)]
        keys += [question.key for question in questions]
        args: list[str | int] = [len(partitions), *(part for point in points for part in point)]
        asked = [
            f"{numbers[question.partition.name]}:{question.kind}:{known.version.decode()} "
            for question, known in zip(questions, held, strict=True)
        ]
        args.append("".join(asked))
        async with asyncio.timeout(self._timeout_seconds):
            revision, answers, news = await self._find(keys=keys, args=args)
        for partition, point, told in zip(partitions.values(), points, news, strict=True):
            self._index.learn(partition, point, told)
        return [
            Lookup(self._readable(question, answer, known), int(revision))
            for question, answer, known in zip(questions, answers, held, strict=True)
        ]

    def _readable(self, question: _Question, found: Sequence[Any], held: _Held) -> Found | None:
        try:
            return self._found(question, found, held)
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
            logger.warning("A cached answer could not be read (an older release wrote it?); treating it as a miss.")
            return None

    def _found(self, question: _Question, found: Sequence[Any], held: _Held) -> Found | None:
        if found[0] == b"miss":
            return None
        verdict, version, revision, *rest = found
        if rest:
            body, documents, asked, bar, created_at = rest
            basis = decode_basis(documents, bar)
            made = CachedAnswer(int(revision), float(created_at), decode_events(body), basis)
            held = _Held(version, asked.decode(), made, KNOWN_OVERHEAD + DECODED * len(body))
        answer = held.answer
        if answer is None or held.version != version:
            return None
        if answer.revision != int(revision):
            # Somebody has looked again, and it still holds.
            answer = replace(answer, revision=int(revision))
            held = held._replace(answer=answer)
        self._keep(question.key, held)
        settled = verdict == b"holds"
        return Found(question.entry, held.question, answer, settled, question.similarity, version.decode())

    def _keep(self, key: str, held: _Held) -> None:
        before = self._known.pop(key, NOTHING)
        self._known[key] = held
        self._known_bytes += held.size - before.size
        while self._known_bytes > KNOWN_BYTES and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            self._known_bytes -= oldest.size
