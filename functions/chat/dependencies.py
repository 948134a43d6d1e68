"""What the routes work with: the dependencies that the lifespan opened, who asks, and how long an answer may take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from functions.chat.load import Load
from functions.chat.metrics import Report
from functions.chat.visit import VISIT, Visit
from headrace.answering.dependencies import AnswerDependencies
from headrace.concurrency.on_demand import OnDemand
from headrace.errors import ForbiddenError
from headrace.protocols import (
    Authenticator,
    CacheMaintenance,
    Files,
    Ledger,
    LedgerQueue,
    RateLimiter,
    SocketRegistry,
    SocketSender,
    Tracer,
)
from headrace.runs.runs import Runs
from headrace.types import Principal, Role

# Time to say, in the stream, that the deadline has come.
DEADLINE_MARGIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Sockets:
    """Connections that a WebSocket API keeps: who is behind each, and what sends to them.

    `endpoint` is the API's address, where it is not what its events name.
    """

    registry: SocketRegistry
    sender: SocketSender
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class ChatDependencies:
    """What the routes work with. `report` is called with each answer's figures at its end, and `exposition` shows the sums.

    `ledger_queue` takes a record of each answer, and admins ask the `ledger`. The page may send files to `upload_origin`.
    `trace_url`, with `{trace_id}` in it, is where admins look at a trace. `sockets` is what a WebSocket API takes. `citations` is where OpenAI's clients find them if they don't say: `none`,
    `footer` or `inline`.
    """

    answering: AnswerDependencies
    deadline_seconds: float
    authenticator: Authenticator
    limiter: RateLimiter
    load: Load
    runs: Runs
    sockets: Sockets | None = None
    cache_maintenance: CacheMaintenance | None = None
    files: Files | None = None
    upload_origin: str = ""
    max_document_bytes: int = 0
    report: Report | None = None
    exposition: Callable[[], bytes] | None = None
    citations: str = "none"
    ledger_queue: LedgerQueue | None = None
    ledger: OnDemand[Ledger] | None = None
    tracer: Tracer | None = None
    trace_url: str = ""


OpenDependencies = Callable[[], AbstractAsyncContextManager[ChatDependencies]]


async def dependencies_of(request: Request) -> ChatDependencies:
    """The dependencies that the lifespan opened."""
    deps: ChatDependencies = request.app.state.dependencies
    return deps


async def deadline_of(request: Request) -> float:
    """Seconds that an answer may take: the deployment's limit, or what Lambda leaves of the invocation if that is less."""
    deps: ChatDependencies = request.app.state.dependencies
    limit_seconds = deps.deadline_seconds
    context = request.scope.get("aws.context")
    if context is None:
        return limit_seconds
    return max(0.0, min(limit_seconds, context.get_remaining_time_in_millis() / 1000 - DEADLINE_MARGIN_SECONDS))


def visit_of(request: Request) -> Visit:
    """The request's way through the door, which takes note of the answer that it gets."""
    visit: Visit = request.scope[VISIT]
    return visit


def _with(role: Role) -> Callable[..., Awaitable[Principal]]:
    async def check(request: Request) -> Principal:
        # As the door found out.
        asker = visit_of(request).principal
        if not asker.may(role):
            raise ForbiddenError(
                f"This takes the role {role!r}, and you are {asker.role!r}. Ask whoever gave you access."
            )
        return asker

    return check


Dependencies = Annotated[ChatDependencies, Depends(dependencies_of)]
Deadline = Annotated[float, Depends(deadline_of)]
# Who asks, where a role is needed for it.
Reader = Annotated[Principal, Depends(_with(Role.READER))]
Writer = Annotated[Principal, Depends(_with(Role.WRITER))]
Admin = Annotated[Principal, Depends(_with(Role.ADMIN))]
