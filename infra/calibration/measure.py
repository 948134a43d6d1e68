"""Asks a cache of one half of the facts for the other, by rules and thresholds, and counts right and wrong hits."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from headrace.answering.recall import Thresholds, Verdict, compare, has_same_context
from headrace.lexical import blend, overlap
from headrace.protocols import Embedder
from headrace.types import Basis, CachedAnswer, Chunk, Found, Passage, PassagesEvent
from infra.calibration.families import Fact, Family

LIMIT = 6
DENSE_WEIGHT = 0.6
BATCH = 32


@dataclass(frozen=True, slots=True)
class Group:
    """Facts of one document; so many of their passages share a chunk."""

    name: str
    facts: tuple[Fact, ...]
    together: int


def groups_of(families: Sequence[Family]) -> list[Group]:
    """Every fact of each family."""
    return [Group(family.name, tuple(family.facts()), family.together) for family in families]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its fact, its embedding, and what is retrieved for it."""

    question: str
    fact: str
    vector: Sequence[float]
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Questions that are in the cache, and questions that come: some of them of facts that are not."""

    cached: tuple[Asked, ...]
    coming: tuple[Asked, ...]

    def paraphrases(self) -> int:
        """How many of the coming questions have an answer in the cache."""
        known = {asked.fact for asked in self.cached}
        return sum(asked.fact in known for asked in self.coming)


@dataclass(frozen=True, slots=True)
class Score:
    """Of all hits, how many are right; of all questions whose answer is there, how many are hit rightly."""

    right: int
    wrong: int
    paraphrases: int

    @property
    def precision(self) -> float:
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0

    @property
    def hit_rate(self) -> float:
        return self.right / self.paraphrases


def total(scores: Iterable[Score]) -> Score:
    """All of them together."""
    found = list(scores)
    return Score(
        sum(score.right for score in found),
        sum(score.wrong for score in found),
        sum(score.paraphrases for score in found),
    )


Choose = Callable[[Asked, Sequence[tuple[float, Asked]]], Asked | None]


async def make_set(groups: Sequence[Group], embedder: Embedder, *, seed: int = 0) -> LabelledSet:
    """Two thirds of each group's facts are in the cache, each by one of its wordings; every other wording comes."""
    generator = random.Random(seed)  # noqa: S311 - no secret
    chunks = list(_chunks(groups))
    vectors = await _embed(embedder, [chunk.text_to_embed for chunk in chunks])
    cached, coming = [], []
    for group in groups:
        facts = list(group.facts)
        generator.shuffle(facts)
        known = {fact.name for fact in facts[: max(1, len(facts) * 2 // 3)]}
        for fact in facts:
            questions = list(fact.questions)
            generator.shuffle(questions)
            if fact.name in known:
                cached.append((questions.pop(), fact))
            coming += [(question, fact) for question in questions]
    floor = blend(embedder.relevance_floor, 0.0, DENSE_WEIGHT)

    async def asked(pairs: Sequence[tuple[str, Fact]]) -> tuple[Asked, ...]:
        found = await _embed(embedder, [question for question, _ in pairs])
        return tuple(
            Asked(question, fact.name, vector, _retrieved(question, vector, chunks, vectors, floor))
            for (question, fact), vector in zip(pairs, found, strict=True)
        )

    return LabelledSet(await asked(cached), await asked(coming))


def measure(labelled: LabelledSet, choose: Choose, *, near: float) -> Score:
    """Let `choose` pick from the nearest cached questions, nearest first, for each question that comes."""
    right = wrong = 0
    for asked in labelled.coming:
        found = sorted(((cosine(asked.vector, held.vector), held) for held in labelled.cached), key=lambda p: -p[0])
        hit = choose(asked, [pair for pair in found[:8] if pair[0] >= near])
        right += hit is not None and hit.fact == asked.fact
        wrong += hit is not None and hit.fact != asked.fact
    return Score(right, wrong, labelled.paraphrases())


def by_threshold(_: Asked, near: Sequence[tuple[float, Asked]]) -> Asked | None:
    """What most caches do: the nearest, if it is near enough."""
    return near[0][1] if near else None


def by_rules(thresholds: Thresholds) -> Choose:
    """What the answer cache does: rules, and the retrieved context where they leave doubt."""

    def choose(asked: Asked, near: Sequence[tuple[float, Asked]]) -> Asked | None:
        for similarity, held in near:
            verdict = compare(asked.question, held.question, similarity, thresholds)
            if verdict is Verdict.SAME:
                return held
            if verdict is Verdict.NEAR:
                answer = CachedAnswer(0, 0.0, (PassagesEvent(held.passages),), Basis((), 0.0, {}))
                found = Found("", held.question, answer, settled=True, similarity=similarity)
                if has_same_context(asked.question, found, asked.passages, thresholds):
                    return held
        return None

    return choose


def cosine(some: Sequence[float], other: Sequence[float]) -> float:
    """Of unit-length vectors."""
    return sum(a * b for a, b in zip(some, other, strict=True))


def _chunks(groups: Sequence[Group]) -> Iterator[Chunk]:
    for group in groups:
        passages = [fact.passage for fact in group.facts]
        for start in range(0, len(passages), group.together):
            text = " ".join(passages[start : start + group.together])
            yield Chunk(f"documents/{group.name}.txt", 1, start, text)


def _retrieved(
    question: str, vector: Sequence[float], chunks: Sequence[Chunk], vectors: Sequence[Sequence[float]], floor: float
) -> tuple[Passage, ...]:
    found = []
    for chunk, held in zip(chunks, vectors, strict=True):
        similarity = cosine(vector, held)
        score = blend(similarity, overlap(question, chunk.text_to_embed), DENSE_WEIGHT)
        if score >= floor:
            found.append(Passage(chunk, score, similarity))
    return tuple(sorted(found, key=lambda passage: -passage.score)[:LIMIT])


async def _embed(embedder: Embedder, texts: Sequence[str]) -> list[Sequence[float]]:
    return [
        vector for start in range(0, len(texts), BATCH) for vector in await embedder.embed(texts[start : start + BATCH])
    ]
