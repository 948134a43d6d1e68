"""Whatever happens to documents, processes and replicas, no answer is served that its documents do not give today.

Files are put, replaced, deleted and opened or closed to groups; ingest dies at any await, searches meet replicas that
are behind, askers die in the middle of an answer or finish one whose documents changed meanwhile; several processes
share the cache. Each answer is held against arithmetic over all that is current: it may cite no version but a current
one that its asker may see, and nothing else that is current may be better than what it was made from.
"""

from __future__ import annotations

import asyncio
import random
import re
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from functions.ingest.dependencies import IngestDependencies
from functions.ingest.pipeline import synchronise
from headrace.answering.answer import answer
from headrace.answering.dependencies import AnswerDependencies, NearQuestions
from headrace.answering.generation import LanguageModelAnswerer
from headrace.clients.redis import open_redis
from headrace.redis_state.answer_cache.cache import CacheLimits, RedisCache
from headrace.redis_state.answer_cache.invalidation import RedisInvalidationPlanner
from headrace.redis_state.answer_cache.question_index import LocalQuestionIndex
from headrace.redis_state.conversations import RedisConversations
from headrace.redis_state.layout import counters_key
from headrace.redis_state.registry import RedisRegistry
from headrace.redis_state.relay import RedisRelay
from headrace.retrieval.retriever import OVERFETCH, RetrievalOptions, Retriever
from headrace.retrieval.selection import without_repeats
from headrace.single_flight.flight import SingleFlight
from headrace.single_flight.splice import without_false_starts
from headrace.text.lexical import blend, overlap
from headrace.types import (
    AnswerEvent,
    CacheEntry,
    CacheInvalidation,
    ChunkId,
    DocumentKey,
    DoneEvent,
    FinishReason,
    InvalidationReason,
    JudgeVerdict,
    Message,
    ModelChunk,
    Passage,
    PassagesEvent,
    Principal,
    Question,
    Scope,
    StatusEvent,
    Usage,
    text_of,
)
from tests.support.chunks import cosine
from tests.support.crashes import Crash, Fuse, Mortal
from tests.support.embedders import WordEmbedder
from tests.support.ingest import FolderBucket, LineParser
from tests.support.replicated_store import ReplicatedStore
from tests.support.scale import tries

T = TypeVar("T")

STEPS = 50
# Hypothesis may end a history early: as many histories as it takes.
STEPS_AT_LEAST = tries(5_000, 100_000)
HISTORIES_AT_ONCE = 60
NAMES = ("a.txt", "b.txt", "c.txt")
TOPICS = ("oil", "valve", "pump", "leave", "office", "winter")
GROUPS = ((), (), ("hr",), ("ops",))
SCOPES = (frozenset[str](), frozenset({"hr"}), frozenset({"hr", "ops"}))
# Two ways to ask the same, and what is near it and another question.
PAIRS = (("oil", "valve"), ("pump", "valve"), ("office", "winter"))
WORDINGS = ("Describe {} and {}.", "Tell me about {} and {}, please.")
QUESTIONS = (
    *(wording.format(*pair) for pair in PAIRS for wording in WORDINGS),
    "Which pump?",
    "Which winter?",
)
FILTERS: tuple[dict[str, Any], ...] = ({}, {}, {}, {"name": "a.txt"})
OPTIONS = RetrievalOptions(limit=2, min_similarity=0.2, dense_weight=0.6)
NO_PLANNER = object()
FLOOR = OPTIONS.score_of(OPTIONS.min_similarity)


@dataclass
class Tally:
    """What all histories went through, so that none of it is missed in silence."""

    seen: Counter[str] = field(default_factory=Counter)


TALLY = Tally()


class NumberingModel:
    """A ChatModel whose answers have a number of their own, and which can be held up in the middle."""

    name = "numbering"

    def __init__(self) -> None:
        self.count = 0
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def check(self) -> None:
        """Always ready."""

    async def stream(self, messages: Sequence[Message], **_: Any) -> AsyncGenerator[ModelChunk, None]:
        self.count += 1
        yield ModelChunk(f"answer {self.count} ")
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        passages = messages[-1].content.count("<passage-")
        yield ModelChunk(" ".join(f"[{number}]" for number in range(1, passages + 1)))
        yield ModelChunk(usage=Usage(10, 5), finish_reason=FinishReason.STOP)


class TableJudge:
    """An AnswerJudge who knows which of the questions are the same; documents change while it reads."""

    name = "table"

    def __init__(self) -> None:
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def judge(self, question: str, candidates: Sequence[CacheEntry]) -> JudgeVerdict:
        TALLY.seen["judged"] += 1
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        same = [position for position, each in enumerate(candidates) if same_question(question, each.question)]
        return JudgeVerdict(same[0] if same else None, Usage(50, 1))


def same_question(one: str, other: str) -> bool:
    """Whether two of the questions are wordings of one."""
    wordings = [{wording.format(*pair) for wording in WORDINGS} for pair in PAIRS]
    return any({one, other} <= each for each in wordings)


class CacheTruth(RuleBasedStateMachine):
    """One history. Everything real but the store, which is a model of one that is behind."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()

    def teardown(self) -> None:
        self._run(self._count_invalidated())
        self._run(self._stack.aclose())
        self._runner.close()

    def _run(self, work: Any) -> Any:
        return self._runner.run(work)

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self._generator = random.Random(seed)
        self._tenant = f"truth-{uuid.uuid4().hex[:12]}"
        self._bucket, self._model, self._judge = FolderBucket(), NumberingModel(), TableJudge()
        self._embedder = WordEmbedder(TOPICS)
        self._store = ReplicatedStore(random.Random(seed))
        self._run(self._open())
        # Which question and scope each answer was made for, by its number.
        self._made: dict[str, tuple[str, frozenset[str], str]] = {}
        self._last: tuple[str, frozenset[str], dict[str, Any]] = (QUESTIONS[0], SCOPES[0], {})

    async def _open(self) -> None:
        self._redis = await self._stack.enter_async_context(open_redis(self.url))
        self._registry = RedisRegistry(self._redis)
        limits = CacheLimits(ttl_seconds=600, timeout_seconds=5.0, tenant_entries=12)
        self._processes = [
            (
                RedisCache(self._redis, LocalQuestionIndex(self._redis, most_bytes=10**6), limits),
                SingleFlight(self._relay()),
            )
            for _ in range(2)
        ]
        self._planners = [
            RedisInvalidationPlanner(self._redis, LocalQuestionIndex(self._redis, most_bytes=10**6)) for _ in range(2)
        ]

    def _relay(self) -> RedisRelay:
        return RedisRelay(self._redis, lease_seconds=0.02)

    async def _count_invalidated(self) -> None:
        tally: Any = await self._redis.hgetall(counters_key(self._tenant))
        for name, count in tally.items():
            if name.startswith(b"invalidated:"):
                TALLY.seen[name.decode()] += int(count)

    @invariant()
    def count_the_step(self) -> None:
        TALLY.seen["step"] += 1

    @rule(
        name=st.sampled_from(NAMES),
        topics=st.lists(st.sampled_from(TOPICS), min_size=1, max_size=4),
        groups=st.sampled_from(GROUPS),
        steps=st.one_of(st.none(), st.integers(0, 40)),
    )
    def put(self, name: str, topics: list[str], groups: tuple[str, ...], steps: int | None) -> None:
        """A file comes, or another version of it."""
        self._write(name, topics, groups)
        self._run(self._deliver(name, steps))

    @rule(name=st.sampled_from(NAMES), steps=st.one_of(st.none(), st.integers(0, 20)))
    def delete(self, name: str, steps: int | None) -> None:
        self._bucket.files.pop(self._key(name).key, None)
        self._run(self._deliver(name, steps))

    @rule(name=st.sampled_from(NAMES), groups=st.sampled_from(GROUPS), steps=st.one_of(st.none(), st.integers(0, 40)))
    def regroup(self, name: str, groups: tuple[str, ...], steps: int | None) -> None:
        """The file is opened or closed to others."""
        key = self._key(name).key
        if key in self._bucket.files:
            self._bucket.put(key, self._bucket.files[key], groups=groups)
            self._run(self._deliver(name, steps))

    @rule(name=st.sampled_from(NAMES))
    def resync(self, name: str) -> None:
        """A message comes again, after a process died."""
        self._run(self._deliver(name, None))

    @rule(
        question=st.sampled_from(QUESTIONS),
        scope=st.sampled_from(SCOPES),
        filter_=st.sampled_from(FILTERS),
        process=st.integers(0, 1),
    )
    def ask(self, question: str, scope: frozenset[str], filter_: dict[str, Any], process: int) -> None:
        self._run(self._ask_and_check(question, scope, filter_, process))
        self._last = (question, scope, filter_)

    @rule(process=st.integers(0, 1), which=st.integers(0, 1))
    def ask_again(self, process: int, which: int) -> None:
        """The same question, or the other wording of it."""
        question, scope, filter_ = self._last
        others = [wording.format(*pair) for pair in PAIRS for wording in WORDINGS]
        if question in others:
            question = others[others.index(question) // 2 * 2 + which]
        self._run(self._ask_and_check(question, scope, filter_, process))

    @rule(
        question=st.sampled_from(QUESTIONS),
        scope=st.sampled_from(SCOPES),
        steps=st.integers(0, 12),
        process=st.integers(0, 1),
    )
    def ask_and_die(self, question: str, scope: frozenset[str], steps: int, process: int) -> None:
        """The asker's process dies at some await; whoever asks next is answered by somebody else."""
        self._run(self._ask_and_die(question, scope, steps, process))

    @rule(
        question=st.sampled_from(QUESTIONS),
        scope=st.sampled_from(SCOPES),
        name=st.sampled_from(NAMES),
        topics=st.lists(st.sampled_from(TOPICS), min_size=0, max_size=3),
        process=st.integers(0, 1),
    )
    def change_while_answering(
        self, question: str, scope: frozenset[str], name: str, topics: list[str], process: int
    ) -> None:
        """A document changes while the model writes; the next asker must not get that answer, if it is another now."""

        async def change() -> None:
            if topics:
                self._write(name, topics)
            else:
                self._bucket.files.pop(self._key(name).key, None)
            before = await self._registry.revision(self._tenant)
            await self._deliver(name, None)
            # Who asks after a change must not be given the answer that is being made.
            if await self._registry.revision(self._tenant) != before:
                await self._ask_and_check(question, scope, {}, 1 - process)

        async def both() -> None:
            self._model.meanwhile = change
            await self._ask(question, scope, {}, process)
            self._model.meanwhile = None
            await self._ask_and_check(question, scope, {}, 1 - process)

        self._run(both())

    @rule(
        question=st.sampled_from(QUESTIONS),
        scope=st.sampled_from(SCOPES),
        name=st.sampled_from(NAMES),
        topics=st.lists(st.sampled_from(TOPICS), min_size=1, max_size=3),
        process=st.integers(0, 1),
    )
    def answer_while_changing(
        self, question: str, scope: frozenset[str], name: str, topics: list[str], process: int
    ) -> None:
        """An answer comes into the cache after ingest has looked through it, and before the flip."""
        self._write(name, topics)

        async def both() -> None:
            await self._deliver(
                name, None, _OvertakenPlanner(self._planners[0], lambda: self._ask(question, scope, {}, process))
            )
            await self._ask_and_check(question, scope, {}, 1 - process)

        self._run(both())

    @rule(
        question=st.sampled_from(QUESTIONS),
        scope=st.sampled_from(SCOPES),
        name=st.sampled_from(NAMES),
        topics=st.lists(st.sampled_from(TOPICS), min_size=1, max_size=3),
        process=st.integers(0, 1),
    )
    def come_unwatched(self, question: str, scope: frozenset[str], name: str, topics: list[str], process: int) -> None:
        """A document comes, and nobody looks through the cache: whoever asks has to."""

        async def all_of_it() -> None:
            await self._ask_and_check(question, scope, {}, process)
            self._write(name, topics)
            await self._deliver(name, None, NO_PLANNER)
            for _ in range(2):
                await self._ask_and_check(question, scope, {}, 1 - process)

        self._run(all_of_it())

    @rule(
        pair=st.sampled_from(PAIRS),
        name=st.sampled_from(NAMES),
        topics=st.lists(st.sampled_from(TOPICS), min_size=0, max_size=3),
        process=st.integers(0, 1),
    )
    def change_while_judging(self, pair: tuple[str, str], name: str, topics: list[str], process: int) -> None:
        """A document changes while the judge reads the answer that was made from it."""
        one, other = (wording.format(*pair) for wording in WORDINGS)

        async def change() -> None:
            if topics:
                self._write(name, topics)
            else:
                self._bucket.files.pop(self._key(name).key, None)
            await self._deliver(name, None)

        async def both() -> None:
            await self._ask_and_check(one, SCOPES[0], {}, process)
            self._judge.meanwhile = change
            await self._ask_and_check(other, SCOPES[0], {}, process, changing=True)
            self._judge.meanwhile = None
            await self._ask_and_check(other, SCOPES[0], {}, 1 - process)

        self._run(both())

    @rule(question=st.sampled_from(QUESTIONS), scope=st.sampled_from(SCOPES), process=st.integers(0, 1))
    def say_it_is_wrong(self, question: str, scope: frozenset[str], process: int) -> None:
        async def say() -> None:
            events = await self._ask(question, scope, {}, process)
            done = next(event for event in events if isinstance(event, DoneEvent))
            answer_id = done.answer_id
            if answer_id is None:
                # Nothing was found while a document is being read: that is nobody else's answer.
                assert done.unread
                return
            cache, _ = self._processes[1 - process]
            await cache.invalidate(self._tenant, [answer_id], InvalidationReason.WRONG)
            again = await self._ask_and_check(question, scope, {}, process)
            assert not number_of(again) or number_of(again) != number_of(events), "what is wrong is not said again"

        self._run(say())

    def _write(self, name: str, topics: list[str], groups: tuple[str, ...] = ()) -> None:
        """Put a version into the bucket: a paragraph a topic."""
        lines = [f"{topic} {topics[0]} {self._filler()}" for topic in topics]
        self._bucket.put(self._key(name).key, "\n".join(lines).encode(), groups=groups)

    def _filler(self) -> str:
        """Words that nobody asks for. Two texts of the same ones say nearly the same."""
        words = random.Random(self._generator.randrange(8))
        return " ".join(f"w{words.getrandbits(24):x}" for _ in range(70))

    def _key(self, name: str) -> DocumentKey:
        return DocumentKey(f"documents/{self._tenant}/{name}")

    async def _deliver(self, name: str, steps: int | None, planner: Any = None) -> None:
        fuse = Fuse(self._generator, steps)
        deps = (self._bucket, LineParser(), self._embedder, self._store, self._registry)
        bucket, parser, embedder, store, registry = (Mortal(part, fuse) for part in deps)
        if planner is None:
            planner = Mortal(self._generator.choice(self._planners), fuse)
        made = IngestDependencies(
            bucket=bucket, parser=parser, embedder=embedder, store=store, registry=registry,
            planner=None if planner is NO_PLANNER else planner,
            max_document_bytes=10**6, wait_seconds=0.0,
        )  # fmt: skip
        try:
            await synchronise(self._key(name), made)
            TALLY.seen["flip"] += 1
        except Crash:
            TALLY.seen["ingest died"] += 1

    def _deps(self, process: int, fuse: Fuse | None = None) -> AnswerDependencies:
        cache, single_flight = self._processes[process]
        deps: tuple[Any, ...] = (cache, self._registry, self._store, self._embedder)
        if fuse is not None:
            deps = tuple(Mortal(part, fuse) for part in deps)
            single_flight = SingleFlight(self._relay())
        cache, registry, store, embedder = deps
        return AnswerDependencies(
            retriever=Retriever(embedder=embedder, store=store, registry=registry, options=OPTIONS),
            registry=registry,
            cache=cache,
            single_flight=single_flight,
            conversations=RedisConversations(self._redis, ttl_seconds=60),
            answerer=LanguageModelAnswerer(self._model, max_tokens=100),
            near_questions=NearQuestions(self._judge, timeout_seconds=20.0, at_least=0.7),
        )

    async def _ask(
        self, question: str, scope: frozenset[str], filter_: dict[str, Any], process: int
    ) -> list[AnswerEvent]:
        asked = Question(question, Principal(self._tenant, scope), history=(), filter=filter_)
        async with asyncio.timeout(20):
            events = without_false_starts([event async for event in answer(asked, self._deps(process))])
        number = number_of(events)
        self._made.setdefault(number, (question, scope, repr(filter_)))
        return events

    async def _ask_and_die(self, question: str, scope: frozenset[str], steps: int, process: int) -> None:
        asked = Question(question, Principal(self._tenant, scope), history=())
        try:
            async for _ in answer(asked, self._deps(process, Fuse(self._generator, steps))):
                pass
        except Crash:
            TALLY.seen["asker died"] += 1
        await self._ask_and_check(question, scope, {}, 1 - process)

    async def _ask_and_check(
        self, question: str, scope: frozenset[str], filter_: dict[str, Any], process: int, *, changing: bool = False
    ) -> list[AnswerEvent]:
        """With `changing`, documents change meanwhile: a new answer may be of before; one from the cache may not."""
        events = await self._ask(question, scope, filter_, process)
        status = next(event for event in events if isinstance(event, StatusEvent))
        number = number_of(events)
        if number:
            made_for, made_in, made_under = self._made[number]
            assert (made_in, made_under) == (scope, repr(filter_)), "an answer crossed a scope"
        else:
            made_for = question
        if status.stage == "cached":
            TALLY.seen[_kind_of_hit(status)] += 1
            assert number == "" or made_for == question or same_question(made_for, question)
            assert number == "" or status.similarity != 1 or made_for == question
        else:
            assert status.cache is not None
            TALLY.seen[status.cache] += 1
        if status.stage == "cached" or not changing:
            await self._check(made_for, Scope(self._tenant, scope), filter_, events)
        return events

    async def _check(self, question: str, scope: Scope, filter_: dict[str, Any], events: list[AnswerEvent]) -> None:
        """Hold what the answer was made from against all that is current."""
        (passages,) = (event.passages for event in events if isinstance(event, PassagesEvent))
        keys = [self._key(name).key for name in NAMES]
        current = (await self._registry.snapshot(self._tenant, keys)).current
        for passage in passages:
            generation, groups = current[passage.chunk.document_key]
            assert passage.chunk.generation == generation, "a version that is not current"
            assert scope.may_see(groups), "a document that the asker may not see"
        best = await self._best(question, scope, filter_, current)
        served = sorted(passage.chunk.identity for passage in passages)
        assert served == sorted(best), f"{question!r}: made from {served}, but today it is {best}"

    async def _best(self, question: str, scope: Scope, filter_: dict[str, Any], current: Any) -> list[ChunkId]:
        """What a search that misses nothing finds, by arithmetic."""
        (asked,) = await self._embedder.embed([question])
        found = []
        for key, (generation, groups) in current.items():
            if not scope.may_see(groups) or filter_.get("name", DocumentKey(key).name) != DocumentKey(key).name:
                continue
            places = [ChunkId(key, generation, position) for position in range(20)]
            for each in await self._store.embedded(self._tenant, places):
                shared = overlap(question, each.chunk.text_to_embed)
                score = blend(cosine(asked, each.vector), shared, OPTIONS.dense_weight)
                if score >= FLOOR:
                    found.append(Passage(each.chunk, round(score, 6)))
        ranked = sorted(found, key=lambda passage: (-passage.score, passage.chunk.identity))
        chosen = without_repeats(ranked[: OPTIONS.limit * OVERFETCH], limit=OPTIONS.limit)
        return [passage.chunk.identity for passage in chosen]


class _OvertakenPlanner:
    """A planner that is overtaken: something else happens when it has planned."""

    def __init__(self, planner: RedisInvalidationPlanner, meanwhile: Callable[[], Awaitable[Any]]) -> None:
        self._planner = planner
        self._meanwhile: Callable[[], Awaitable[Any]] | None = meanwhile

    async def plan(self, *looked_at: Any) -> CacheInvalidation | None:
        invalidation = await self._planner.plan(*looked_at)
        if self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            await meanwhile()
        return invalidation


def _kind_of_hit(status: StatusEvent) -> str:
    if status.judge_tokens:
        return "judged hit"
    return "exact hit" if status.similarity == 1 else "hit of a learnt wording"


def number_of(events: list[AnswerEvent]) -> str:
    """The number of the answer; none for a refusal."""
    found = re.match(r"answer (\d+)", text_of(events))
    return found.group(1) if found else ""


def test_no_answer_is_served_that_its_documents_do_not_give_today(redis_url: str) -> None:
    CacheTruth.url = redis_url
    how = settings(
        max_examples=HISTORIES_AT_ONCE,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        # A history of random processes does not shrink.
        phases=(Phase.generate,),
        report_multiple_bugs=False,
        print_blob=True,
    )
    seen = TALLY.seen
    while seen["step"] < STEPS_AT_LEAST:
        run_state_machine_as_test(CacheTruth, settings=how)
    kinds = ("exact hit", "judged hit", "miss", "flip", "ingest died", "asker died", "invalidated:superseded")
    assert seen["hit of a learnt wording"] > STEPS_AT_LEAST / 500, seen
    for kind in (*kinds, "invalidated:changed"):
        assert seen[kind] > STEPS_AT_LEAST / 200, (kind, seen)
