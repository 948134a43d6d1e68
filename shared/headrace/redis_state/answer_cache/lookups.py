"""Lookups of one turn of the event loop are one script a tenant, hence one round trip, in cluster mode as well."""

from __future__ import annotations

import logging
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from redis.asyncio import Redis

from headrace.concurrency.batch_loader import BatchLoader
from headrace.concurrency.deadlines import ServerDeadline
from headrace.redis_state.answer_cache.entries import decode_body, decode_provenance
from headrace.redis_state.answer_cache.question_index import QuestionIndex
from headrace.redis_state.layout import accounts, entry_key, partition_key, registry_key, rejected_key
from headrace.redis_state.scripts import script
from headrace.types import CachedAnswer, CacheEntry, Lookup, Partition

MOST_LOOKUPS = 64
# Answers that stay here as they were decoded, so that only their version is asked for: so many bytes of them.
DECODED_BYTES = 32 * 1024 * 1024
# What an answer takes beside its body, and how much a byte of a compressed body takes when it is decoded.
DECODED_OVERHEAD = 1500
DECODED_FACTOR = 8
# Questions that this process knows to be other keys of an entry.
MOST_ALIASES = 20_000

logger = logging.getLogger(__name__)


class _Decoded(NamedTuple):
    """An answer as it was decoded: its version, its question, and how many bytes it takes up, about."""

    version: bytes
    question: str
    answer: CachedAnswer | None
    size: int


NOTHING = _Decoded(b"", "", None, 0)


class _Alias(NamedTuple):
    """The entry that a question is another key of, and the similarity of their questions."""

    entry: str
    similarity: float


class _Ask(NamedTuple):
    """One entry that is asked for. `alias` is the question asked, where it is another key of the entry."""

    partition: Partition
    entry: str
    kind: str
    similarity: float
    asked: str
    alias: str = ""

    @property
    def key(self) -> str:
        return entry_key(self.partition.scope.tenant, self.partition.name, self.entry)


class Lookups:
    """Reads entries. Raises what the Redis client raises, and TimeoutError."""

    def __init__(self, client: Redis, index: QuestionIndex, *, timeout_seconds: float) -> None:
        self._index = index
        self._timeout_seconds = timeout_seconds
        self._find = script(client, "find")
        self._decoded: OrderedDict[str, _Decoded] = OrderedDict()
        self._decoded_bytes = 0
        self._aliases: OrderedDict[str, _Alias] = OrderedDict()
        self._loader: BatchLoader[str, _Ask, Lookup | _Alias] = BatchLoader(self._load, most=MOST_LOOKUPS)

    @property
    def size(self) -> int:
        """About how many bytes the decoded answers take up."""
        return self._decoded_bytes

    def knows(self, partition: Partition, entry: str) -> bool:
        """Whether the entry, or one that it is another key of, was read here lately."""
        key = entry_key(partition.scope.tenant, partition.name, entry)
        return key in self._decoded or key in self._aliases

    async def find(
        self, partition: Partition, entry: str, *, kind: str, similarity: float = 1.0, asked: str = ""
    ) -> Lookup:
        """The entry, or the one that it is another key of, if it is current; and the tenant's revision.

        Of `kind` `exact` it counts as a lookup and, if the entry is fresh, as a hit; with an empty one as neither. With
        `asked` it is a candidate for the question of that id: found by its own question alone, and not if a judge rejected.
        """
        tenant = partition.scope.tenant
        ask = _Ask(partition, entry, kind, similarity, asked)
        known = None if asked else self._aliases.get(ask.key)
        if known is not None:
            lookup = await self._loader.load(tenant, _of(ask, known))
            if isinstance(lookup, Lookup) and lookup.entry is not None:
                return lookup
            # It is no other key of that entry any more; perhaps it has an entry of its own.
            self._aliases.pop(ask.key, None)
            ask = ask._replace(kind="hit" if kind else "")
        found = await self._loader.load(tenant, ask)
        if isinstance(found, Lookup):
            return found
        self._aliases[ask.key] = found
        while len(self._aliases) > MOST_ALIASES:
            self._aliases.popitem(last=False)
        # The first step has counted the lookup.
        lookup = await self._loader.load(tenant, _of(ask, found)._replace(kind="hit" if kind else ""))
        return lookup if isinstance(lookup, Lookup) else Lookup(None, None)

    async def _load(self, tenant: str, asks: Sequence[_Ask]) -> list[Lookup | _Alias]:
        partitions = {ask.partition.name: ask.partition for ask in asks}
        numbers = {name: number for number, name in enumerate(partitions, 1)}
        positions = [self._index.known(partition) for partition in partitions.values()]
        # Whatever is pushed out meanwhile is still at hand when the reply says that this version is current.
        decoded = [self._decoded.get(ask.key, NOTHING) for ask in asks]
        keys = [registry_key(tenant), *accounts(tenant), rejected_key(tenant)]
        keys += [partition_key(tenant, name) for name in partitions]
        keys += [ask.key for ask in asks]
        args: list[str | int] = [len(partitions), *(part for position in positions for part in position)]
        asked = [
            f"{numbers[ask.partition.name]}:{ask.kind}:{known.version.decode()}:{ask.alias}:{ask.asked} "
            for ask, known in zip(asks, decoded, strict=True)
        ]
        args.append("".join(asked))
        async with ServerDeadline(self._timeout_seconds):
            revision, replies, logs = await self._find(keys=keys, args=args)
        for partition, position, log in zip(partitions.values(), positions, logs, strict=True):
            self._index.learn(partition, position, log)
        return [
            self._read(ask, reply, known, int(revision))
            for ask, reply, known in zip(asks, replies, decoded, strict=True)
        ]

    def _read(self, ask: _Ask, reply: Sequence[Any], known: _Decoded, revision: int) -> Lookup | _Alias:
        try:
            if reply[0] == b"alias":
                return _Alias(reply[1].decode(), float(reply[2]))
            return Lookup(self._entry(ask, reply, known), revision)
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
            logger.warning("A cached answer could not be read (an older release wrote it?); treating it as a miss.")
            return Lookup(None, revision)

    def _entry(self, ask: _Ask, reply: Sequence[Any], known: _Decoded) -> CacheEntry | None:
        if reply[0] in {b"miss", b"rejected"}:
            return None
        verdict, version, revision, *rest = reply
        if rest:
            body, documents, question, admission_score, created_at = rest
            provenance = decode_provenance(documents, admission_score)
            made = CachedAnswer(int(revision), float(created_at), decode_body(body), provenance)
            known = _Decoded(version, question.decode(), made, DECODED_OVERHEAD + DECODED_FACTOR * len(body))
        answer = known.answer
        if answer is None or known.version != version:
            return None
        if answer.revision != int(revision):
            # It was revalidated since.
            answer = replace(answer, revision=int(revision))
            known = known._replace(answer=answer)
        self._keep(ask.key, known)
        fresh = verdict == b"fresh"
        return CacheEntry(ask.entry, known.question, answer, fresh, ask.similarity, version.decode())

    def _keep(self, key: str, known: _Decoded) -> None:
        before = self._decoded.pop(key, NOTHING)
        self._decoded[key] = known
        self._decoded_bytes += known.size - before.size
        while self._decoded_bytes > DECODED_BYTES and len(self._decoded) > 1:
            _, oldest = self._decoded.popitem(last=False)
            self._decoded_bytes -= oldest.size


def _of(ask: _Ask, alias: _Alias) -> _Ask:
    """The entry that the question asked for is another key of."""
    return ask._replace(entry=alias.entry, similarity=alias.similarity, alias=ask.entry)
