"""What the routes work with: the dependencies that the lifespan opened, who asks, and how long an answer may take."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from functions.chat.metrics import Report
from headrace.answering.dependencies import AnswerDependencies
from headrace.protocols import CacheMaintenance, Uploads
from headrace.types import Principal

# Time to say, in the stream, that the deadline has come.
DEADLINE_MARGIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ChatDependencies:
    """What the routes work with. `report` is called with each answer's cache verdict, and the tokens that it saved."""

    answering: AnswerDependencies
    deadline_seconds: float
    cache_maintenance: CacheMaintenance | None = None
    uploads: Uploads | None = None
    max_document_bytes: int = 0
    report: Report | None = None


OpenDependencies = Callable[[], AbstractAsyncContextManager[ChatDependencies]]


def dependencies_of(request: Request) -> ChatDependencies:
    """The dependencies that the lifespan opened."""
    deps: ChatDependencies = request.app.state.dependencies
    return deps


def deadline_of(request: Request) -> float:
    """Seconds that an answer may take: the deployment's limit, or what Lambda leaves of the invocation if that is less."""
    limit_seconds = dependencies_of(request).deadline_seconds
    context = request.scope.get("aws.context")
    if context is None:
        return limit_seconds
    return max(0.0, min(limit_seconds, context.get_remaining_time_in_millis() / 1000 - DEADLINE_MARGIN_SECONDS))


def principal_of() -> Principal:
    """Who asks. No authentication is configured: everybody is the default tenant."""
    return Principal()


Dependencies = Annotated[ChatDependencies, Depends(dependencies_of)]
Asker = Annotated[Principal, Depends(principal_of)]
Deadline = Annotated[float, Depends(deadline_of)]
