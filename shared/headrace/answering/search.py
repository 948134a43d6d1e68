"""The retrieval for a question, as its answerer needs it."""

from __future__ import annotations

from headrace.answering.dependencies import AnswerDependencies
from headrace.types import Question, Retrieval


async def search(question: Question, deps: AnswerDependencies) -> Retrieval:
    """What the retriever finds for the question within the asker's scope. Raises what the retriever raises."""
    answerer = deps.answerer
    return await deps.retriever.retrieve(
        question.text,
        scope=question.principal.scope,
        history=(question.history or ()) if answerer.reads_history else (),
        filter_=question.filter,
        strict=answerer.needs_certain_match,
    )
