"""Asks a cache of each family's facts for all of their questions, and counts which answers are given rightly.

Every question is asked of two caches: one that knows all facts of the family, each by its first question, and one that
lacks the question's own fact, so that each hit there is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from headrace.answering.cached import CANDIDATES
from headrace.answering.judge import verdict_in_time
from headrace.protocols import AnswerJudge, Embedder
from headrace.text.codes import codes_of
from headrace.types import CachedAnswer, CacheEntry, Provenance, TokenEvent, normalise_question
from infra.calibration.families import Fact, Family


@dataclass(frozen=True, slots=True)
class Trial:
    """A question that is asked of a cache: the entries that it has, nearest first, and which one is right, if any."""

    question: str
    entries: tuple[CacheEntry, ...]
    right: str | None

    def candidates(self, at_least: float) -> tuple[CacheEntry, ...]:
        """The entries that a judge reads: as near as that, of the same numbers and codes, a few."""
        codes = codes_of(self.question)
        near = (entry for entry in self.entries if entry.similarity >= at_least)
        return tuple(entry for entry in near if codes_of(entry.question) == codes)[:CANDIDATES]


@dataclass(frozen=True, slots=True)
class Score:
    """How often an answer was given, rightly and wrongly, of so many questions whose answer was there.

    `verdicts` counts the judge's calls, `tokens` and `seconds` what they took, `missing` those without a verdict.
    """

    known: int
    right: int = 0
    wrong: int = 0
    verdicts: int = 0
    missing: int = 0
    tokens: int = 0
    seconds: float = 0.0

    @property
    def precision(self) -> float | None:
        """The share of hits that are right; None where there are no hits."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else None

    @property
    def hit_rate(self) -> float:
        """The share of questions, of those whose answer was there, that got it."""
        return self.right / self.known if self.known else 0.0


def total(scores: Iterable[Score]) -> Score:
    """All of them together."""
    found = list(scores)
    names = ("known", "right", "wrong", "verdicts", "missing", "tokens", "seconds")
    return Score(*(sum(getattr(score, name) for score in found) for name in names))


async def trials_of(family: Family, embedder: Embedder) -> tuple[Trial, ...]:
    """Every question of the family but those that the cache was asked first, on both caches."""
    questions = [question for fact in family.facts for question in fact.questions]
    vectors = dict(zip(questions, await embedder.embed(questions), strict=True))
    return tuple(_trials(family, vectors))


def by_threshold(trials: Sequence[Trial], at_least: float) -> Score:
    """What most caches do: the nearest entry, if it is near enough."""
    hits = [(trial, trial.entries[0]) for trial in trials if trial.entries and trial.entries[0].similarity >= at_least]
    return Score(_known(trials), *_right_and_wrong(hits))


def found_among_candidates(trials: Sequence[Trial], at_least: float) -> Score:
    """How many hits there would be if a judge never erred."""
    hits = [(trial, entry) for trial in trials for entry in trial.candidates(at_least) if entry.id == trial.right]
    return Score(_known(trials), *_right_and_wrong(hits))


async def by_judge(trials: Sequence[Trial], judge: AnswerJudge, *, at_least: float, timeout_seconds: float) -> Score:
    """What the answer cache does: the entry that the judge accepts, of the candidates. No verdict in time is a miss."""
    hits: list[tuple[Trial, CacheEntry]] = []
    verdicts = missing = tokens = 0
    seconds = 0.0
    for trial in trials:
        if not (candidates := trial.candidates(at_least)):
            continue
        started = time.monotonic()
        verdict = await verdict_in_time(judge, trial.question, candidates, timeout_seconds=timeout_seconds)
        seconds += time.monotonic() - started
        verdicts += 1
        missing += verdict is None
        tokens += 0 if verdict is None else verdict.usage.total_tokens
        if verdict is not None and verdict.choice is not None:
            hits.append((trial, candidates[verdict.choice]))
    return Score(_known(trials), *_right_and_wrong(hits), verdicts, missing, tokens, seconds)


def _known(trials: Sequence[Trial]) -> int:
    return sum(trial.right is not None for trial in trials)


def _right_and_wrong(hits: Sequence[tuple[Trial, CacheEntry]]) -> tuple[int, int]:
    right = sum(entry.id == trial.right for trial, entry in hits)
    return right, len(hits) - right


def _trials(family: Family, vectors: Mapping[str, Sequence[float]]) -> Iterator[Trial]:
    for fact in family.facts:
        others = [other for other in family.facts if other is not fact]
        for question in fact.questions:
            if normalise_question(question) != normalise_question(fact.questions[0]):
                yield Trial(question, _entries(question, family.facts, vectors), _id(fact))
            yield Trial(question, _entries(question, others, vectors), None)


def _entries(question: str, facts: Sequence[Fact], vectors: Mapping[str, Sequence[float]]) -> tuple[CacheEntry, ...]:
    entries = []
    for fact in facts:
        cached = fact.questions[0]
        similarity = sum(a * b for a, b in zip(vectors[question], vectors[cached], strict=True))
        answer = CachedAnswer(0, 0.0, (TokenEvent(f"{fact.answer} [1]."),), Provenance((), 0.0, {}))
        entries.append(CacheEntry(_id(fact), cached, answer, fresh=True, similarity=similarity))
    return tuple(sorted(entries, key=lambda entry: -entry.similarity))


def _id(fact: Fact) -> str:
    return fact.questions[0]
