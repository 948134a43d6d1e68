"""One JSON line a log record on standard output, with the invocation that it belongs to.

AWS's own runtime frames its log lines; a runtime of one's own has standard
output. Many invocations may share the process, so the request id comes from a
context variable, not from a global.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback

from headrace.lambda_runtime.context import current_invocation

_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; values given as `extra` become fields."""

    def format(self, record: logging.LogRecord) -> str:
        seconds, milliseconds = divmod(int(record.created * 1000), 1000)
        line = {
            "timestamp": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{milliseconds:03}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        invocation = current_invocation()
        if invocation is not None:
            line["requestId"] = invocation.aws_request_id
            if invocation.trace_id:
                line["traceId"] = invocation.trace_id
        line |= {name: value for name, value in record.__dict__.items() if name not in _PLAIN}
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["errorType"] = type(error).__name__
            line["errorMessage"] = str(error)
            line["stackTrace"] = "".join(traceback.format_exception(error))
        return json.dumps(line, default=str, ensure_ascii=False)


def configure_logging(level: str) -> None:
    """Send every record of the process to standard output in this form."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    known = logging.getLevelNamesMapping()
    root.setLevel(known.get(level.upper(), logging.INFO))
