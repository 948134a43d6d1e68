"""The parser's process: reads a request a line on standard input, answers a line on standard output.

Started by headrace.parsers.process, with the memory limit in bytes as its argument. A request is `{"path", "name", "content_type"}`; an answer is
`{"blocks": [[text, page, section], …]}` or `{"error": sentence}`.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
from pathlib import Path
from typing import Any

from headrace.errors import DocumentError

logger = logging.getLogger(__name__)

TOO_LARGE = "Reading the file took more memory than one file may have. Split it into smaller files."


def main() -> None:
    """Serve requests until standard input ends."""
    memory_bytes = int(sys.argv[1])
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    # Answers get a file descriptor of their own: libraries print to standard output.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), file=answers, flush=True)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        from headrace.parsers.unstructured import read_file

        blocks = read_file(Path(request["path"]), name=request["name"], content_type=request["content_type"])
    except DocumentError as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": TOO_LARGE}
    except RecursionError:
        return {"error": "The file is nested too deeply to be read. Flatten it."}
    except Exception as error:
        logger.exception("Reading %r failed", request["name"])
        return {"error": f"The file can't be read: it is damaged or not what its name says ({type(error).__name__})."}
    return {
        "blocks": [[_plain(block.text), block.page, [_plain(title) for title in block.section]] for block in blocks]
    }


def _plain(text: str) -> str:
    """The text without lone surrogates, which no tokenizer and no store takes."""
    return text.encode("utf-8", "replace").decode()
