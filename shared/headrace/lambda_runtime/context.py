"""What Lambda says about one invocation, and a context variable that carries it through the code that runs in it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class InvocationContext:
    """One invocation; the same names as in AWS's own Python runtime where it has them. `deadline_ms` is epoch time."""

    aws_request_id: str
    deadline_ms: int
    invoked_function_arn: str = ""
    trace_id: str | None = None
    tenant_id: str | None = None
    invocation_id: str | None = None
    client_context: Any = None
    function_name: str = ""
    function_version: str = ""
    memory_limit_in_mb: str = ""
    log_group_name: str = ""
    log_stream_name: str = ""

    @classmethod
    def from_headers(cls, headers: Mapping[str, str], environ: Mapping[str, str]) -> InvocationContext:
        """Read `/next`'s headers (lower-case names). Raises ValueError when the request id or the deadline is missing."""
        request_id = headers.get("lambda-runtime-aws-request-id", "")
        deadline = headers.get("lambda-runtime-deadline-ms", "")
        if not request_id or not deadline.isdigit():
            raise ValueError("the Runtime API sent an invocation without a request id or a deadline")
        return cls(
            aws_request_id=request_id,
            deadline_ms=int(deadline),
            invoked_function_arn=headers.get("lambda-runtime-invoked-function-arn", ""),
            trace_id=headers.get("lambda-runtime-trace-id") or None,
            tenant_id=headers.get("lambda-runtime-aws-tenant-id") or None,
            invocation_id=headers.get("lambda-runtime-invocation-id") or None,
            client_context=_json_or_none(headers.get("lambda-runtime-client-context")),
            function_name=environ.get("AWS_LAMBDA_FUNCTION_NAME", ""),
            function_version=environ.get("AWS_LAMBDA_FUNCTION_VERSION", ""),
            memory_limit_in_mb=environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", ""),
            log_group_name=environ.get("AWS_LAMBDA_LOG_GROUP_NAME", ""),
            log_stream_name=environ.get("AWS_LAMBDA_LOG_STREAM_NAME", ""),
        )

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the invocation; never negative."""
        return max(0, self.deadline_ms - time.time_ns() // 1_000_000)


_current: ContextVar[InvocationContext | None] = ContextVar("lambda_invocation", default=None)


def current_invocation() -> InvocationContext | None:
    """The invocation that the calling code runs in; None outside of any, as during start-up."""
    return _current.get()


def enter_invocation(context: InvocationContext) -> None:
    """Make this the current invocation for the rest of the calling task."""
    _current.set(context)


def _json_or_none(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None
