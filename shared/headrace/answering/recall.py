"""When another question's answer is this one's: near enough, nothing that speaks against it, and the same passages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from headrace.protocols import AnswerCache
from headrace.questions.rules import contradiction, difference, roots_in, without_typos
from headrace.sentences import sentence_spans
from headrace.types import CachedAnswer, Found, Neighbour, Partition, Passage, Retrieval

# How much of what is retrieved for the two questions must be the same, beside the best passage.
SHARED_PASSAGES = 0.5
# A bar is stored as text and comes back as it was; what is computed anew may differ in single precision.
BAR_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Cosines between two questions.

    From `same` on, and with the same words, they are one question; from `near` on, if the same passages are retrieved
    for both; below, they are two.
    """

    same: float
    near: float


# By embedding model, as `make calibrate` finds them on the calibration set, for 99 % of right answers.
CALIBRATED: Mapping[str, Thresholds] = {"all-MiniLM-L6-v2": Thresholds(same=0.9, near=0.7)}
# A model that nobody has measured: every answer of another question is held against its passages.
UNCALIBRATED = Thresholds(same=1.01, near=0.85)


class Verdict(StrEnum):
    """What two questions are to each other."""

    SAME = "same"
    NEAR = "near"  # the same, if the same passages are retrieved for both
    OTHER = "other"


def compare(question: str, other: str, similarity: float, thresholds: Thresholds) -> Verdict:
    """What the questions themselves say, and the cosine of their embeddings."""
    if similarity < thresholds.near or contradiction(question, other):
        return Verdict.OTHER
    is_same = similarity >= thresholds.same and not difference(question, other)
    return Verdict.SAME if is_same else Verdict.NEAR


async def recall(
    cache: AnswerCache, partition: Partition, question: str, vector: Sequence[float], thresholds: Thresholds
) -> tuple[Found | None, list[Neighbour]]:
    """The answer of the same question in other words, or else the questions that may turn out to be the same."""
    # What has the same wording need not be compared, nor the others be looked through.
    worded = await cache.worded(partition, question, vector, at_least=thresholds.same)
    if worded is None:
        return None, []
    near: list[Neighbour] = []
    looked_at = set()
    for neighbour in worded:
        looked_at.add(neighbour.id)
        if found := await _settled(cache, partition, neighbour):
            return found, []
    for neighbour in await cache.nearest(partition, vector, at_least=thresholds.near):
        if neighbour.id in looked_at:
            continue
        verdict = compare(question, neighbour.question, neighbour.similarity, thresholds)
        if verdict is Verdict.SAME:
            if found := await _settled(cache, partition, neighbour):
                return found, []
        elif verdict is Verdict.NEAR:
            near.append(neighbour)
    return None, near


async def _settled(cache: AnswerCache, partition: Partition, neighbour: Neighbour) -> Found | None:
    found = await cache.read(partition, neighbour, count=True)
    return found if found is not None and found.settled else None


def has_same_context(question: str, found: Found, retrieved: Sequence[Passage], thresholds: Thresholds) -> bool:
    """Whether what is retrieved for the question makes the other question's answer right for it.

    The best passage is the same, and half of the others; and by no word in which the questions differ do the documents
    tell things apart: each sentence that has the words that they share has that word as well, or no sentence has it, so
    that it is the asker's way to say it. A word that the documents do not know must not stand where the other question
    has one that they know; where it is added, the questions must be nearer, for the documents may say nothing of it.
    """
    cached = found.answer.passages
    if not cached or not retrieved or cached[0].chunk.identity != retrieved[0].chunk.identity:
        return False
    ours, theirs = ({passage.chunk.identity for passage in passages} for passages in (retrieved, cached))
    if len(ours & theirs) < SHARED_PASSAGES * max(len(ours), len(theirs)):
        return False
    sentences = [sentence for passage in (*retrieved, *cached) for sentence in _sentences(passage)]
    known = frozenset[str]().union(*sentences)
    apart = without_typos(difference(question, found.question), known)
    asked_of = [sentence for sentence in sentences if apart.shared & known <= sentence]
    if any(
        not asked_of or any(word not in sentence for sentence in asked_of)
        for word in (apart.left | apart.right) & known
    ):
        return False
    foreign = apart.left - known
    if foreign and apart.right & known:
        return False
    return not foreign or bool(apart.right) or found.similarity >= thresholds.same


def _sentences(passage: Passage) -> Iterator[frozenset[str]]:
    """The words of each sentence, with those of the headings above it."""
    chunk = passage.chunk
    above = roots_in(" ".join(chunk.section))
    for start, end in sentence_spans(chunk.text):
        yield above | roots_in(chunk.text[start:end])


def rests_on_the_same(before: CachedAnswer, now: Retrieval) -> bool:
    """Whether a search today finds for the answer's own question what it was made from."""
    same = [passage.chunk.identity for passage in before.passages] == [p.chunk.identity for p in now.passages]
    return same and abs(before.basis.bar - now.basis.bar) < BAR_TOLERANCE
