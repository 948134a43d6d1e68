"""The parser's process: reads a request a line on standard input, answers a line on standard output.

Started by headrace.parsers.process, with the memory limit in bytes as its argument. A request is `{"path", "name",
"content_type", "languages"}`; an answer is `{"language", "blocks": [[text, page, section, cells], …]}` or
`{"error": sentence}`.
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
from headrace.types import Block

logger = logging.getLogger(__name__)

# A character takes up to four bytes on the way: within what the other end reads.
MAX_ANSWER_CHARACTERS = 120_000_000
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
        print(_written(json.loads(line)), file=answers, flush=True)


def _written(request: dict[str, Any]) -> str:
    try:
        answer = json.dumps(_answer(request), ensure_ascii=False)
    except MemoryError:
        answer = json.dumps({"error": TOO_LARGE})
    return answer if len(answer) <= MAX_ANSWER_CHARACTERS else json.dumps({"error": TOO_LARGE})


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        from headrace.parsers.readers import Source, read_file

        path = Path(request["path"])
        parsed = read_file(Source(path, request["name"], request["content_type"], request["languages"]))
    except DocumentError as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": TOO_LARGE}
    except RecursionError:
        return {"error": "The file is nested too deeply to be read. Flatten it."}
    except Exception as error:
        logger.exception("Reading %r failed", request["name"])
        return {"error": f"The file can't be read: it is damaged or not what its name says ({type(error).__name__})."}
    return {"language": parsed.language, "blocks": [_fields(block) for block in parsed.blocks]}


def _fields(block: Block) -> list[Any]:
    cells = [[_plain(label), _plain(value)] for label, value in block.cells]
    return [_plain(block.text), block.page, [_plain(title) for title in block.section], cells]


def _plain(text: str) -> str:
    """The text without lone surrogates, which no tokenizer and no store takes."""
    return text.encode("utf-8", "replace").decode()
