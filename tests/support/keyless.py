"""The answerer without a language model, asked as a new user would: documents of three domains, one of them German."""

from __future__ import annotations

import asyncio
import tomllib
from dataclasses import dataclass
from pathlib import Path

from headrace.answering.extractive import ExtractiveAnswerer
from headrace.answering.generation import answer_from
from headrace.answering.phrases import PHRASES
from headrace.parsers.readers import Source, read_blocks
from headrace.retrieval.retriever import RetrievalOptions, Retriever
from headrace.types import DoneEvent, Principal, Question, text_of
from tests.support.library import Library

FOLDER = Path("tests/support/answers")
HELD_OUT = FOLDER / "held_out"
NEEDS_MODEL = [phrases.needs_model for phrases in PHRASES.values()]


@dataclass(frozen=True)
class Expected:
    """A question, and what a right answer has: these words and none of those, a refusal, or that it needs a model."""

    ask: str
    says: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    refused: bool = False
    model: bool = False


def questions(folder: Path) -> list[Expected]:
    """The questions beside the documents."""
    found = tomllib.loads((folder / "questions.toml").read_text())["question"]
    return [
        Expected(
            one["ask"],
            tuple(one.get("says", ())),
            tuple(one.get("not", ())),
            one.get("refused", False),
            one.get("model", False),
        )
        for one in found
    ]


async def _fill(library: Library, folder: Path) -> None:
    """Put the folder's documents into the library."""
    for path in await asyncio.to_thread(lambda: sorted(folder.glob("*.md"))):
        blocks, _ = await asyncio.to_thread(read_blocks, Source(path, path.name))
        await library.put(path.name, *blocks)


async def _ask(expected: Expected, retriever: Retriever, tenant: str) -> tuple[str, str]:
    """The verdict (`right`, `partly`, `wrong`, `refused`) and the answer."""
    question = Question(expected.ask, Principal(tenant))
    retrieval = await retriever.retrieve(question.text, scope=question.principal.scope, strict=True)
    events = [event async for event in answer_from(question, retrieval.passages, ExtractiveAnswerer())]
    answer = text_of(events)
    is_refusal = any(isinstance(event, DoneEvent) and event.mode.value == "refused" for event in events)
    needs_model = any(sentence in answer for sentence in NEEDS_MODEL)
    if expected.model:
        return ("right" if needs_model else "refused" if is_refusal else "wrong"), answer
    if expected.refused:
        return ("right" if is_refusal else "wrong"), answer
    if is_refusal or needs_model:
        return "refused", answer
    said = [words in answer for words in expected.says]
    if any(words in answer for words in expected.without) or not any(said):
        return "wrong", answer
    return ("right" if all(said) else "partly"), answer


async def ask_all(library: Library, folder: Path) -> list[tuple[str, str, str]]:
    """Fill the library with the folder's documents, and ask: each question, its verdict, and the answer."""
    await _fill(library, folder)
    options = RetrievalOptions(min_similarity=library.embedder.relevance_floor)
    retriever = Retriever(embedder=library.embedder, store=library.store, registry=library.registry, options=options)
    asked = await asyncio.to_thread(questions, folder)
    return [(expected.ask, *await _ask(expected, retriever, library.tenant)) for expected in asked]
