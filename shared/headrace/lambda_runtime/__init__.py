"""An asyncio runtime for AWS Lambda that drives an ASGI application and streams its response.

    python -m headrace.lambda_runtime module:app

Standard library only; it knows nothing of the rest of Headrace. The rooms:
`api` (the Runtime API's HTTP), `events` (Lambda events to ASGI scopes),
`invocation` (one request), `lifespan`, `logs`, `hooks` and `loop` (the whole).
"""

from headrace.lambda_runtime.context import InvocationContext, current_invocation
from headrace.lambda_runtime.hooks import after_restore, before_snapshot
from headrace.lambda_runtime.loop import Runtime, RuntimeOptions

__all__ = [
    "InvocationContext",
    "Runtime",
    "RuntimeOptions",
    "after_restore",
    "before_snapshot",
    "current_invocation",
]
