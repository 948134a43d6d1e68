"""The parser's process: forks a process for each file, which gives up all it has no use for, reads, answers, and ends.

Started by headrace.parsers.process with an empty environment and the limits as its arguments; it never looks into a file
itself. Requests come on a socket that is its standard input, one at a time, each answered by a line on standard output:

    {"read": {"path", "name", "content_type", "languages"}} and a pipe  ->  {"pid"}: who reads, and writes into the pipe
    {"reap": pid}  ->  {"status", "seconds", "peak_bytes"}: how it ended (os.wait), and what it took

What is written into the pipe is `{"language", "notes", "blocks": [[text, page, section, cells, spot], …]}` or `{"error": sentence}`,
with `"missing"`: the guards that this system has not.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import socket
import sys
import tempfile
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from headrace.errors import DocumentError
from headrace.parsers.confinement import Limits, confine, end_with_parent, hide_process
from headrace.types import Block

logger = logging.getLogger(__name__)

# A character takes up to four bytes on the way: within what the other end reads.
MAX_ANSWER_CHARACTERS = 120_000_000
MAX_REQUEST_BYTES = 64 * 1024
TOO_LARGE = "Reading the file took more memory than one file may have. Split it into smaller files."
# Loaded before the fork, once, so that not every file pays for it. A name may lie: then its file pays.
_PAGES = ("headrace.parsers.html",)
_MARKDOWN = (*_PAGES, "headrace.parsers.markdown", "markdown_it", "mdit_py_plugins.footnote", "mdit_py_plugins.deflist")
_WARM = {
    ".csv": (), ".json": (), ".ndjson": (), ".jsonl": (), ".txt": (), ".xml": (), ".tsv": (), ".tab": (), ".rtf": (),
    ".pdf": ("headrace.parsers.pdf",), ".xlsx": ("headrace.parsers.workbooks",), ".xls": ("xlrd",), ".md": _MARKDOWN, ".markdown": _MARKDOWN,
    ".docx": ("headrace.parsers.unstructured",),
    ".pptx": ("headrace.parsers.unstructured",),
    ".rst": (*_PAGES, "headrace.parsers.rst", "docutils.core"), ".org": (*_PAGES, "headrace.parsers.org"),
    ".eml": (*_PAGES, "headrace.parsers.mail"),
}  # fmt: skip


def main() -> None:
    """Serve requests until the other end closes."""
    limits = Limits(memory_bytes=int(sys.argv[1]), cpu_seconds=int(sys.argv[2]))
    hide_process()
    # Answers get a file descriptor of their own: libraries print to standard output.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    ended: dict[int, dict[str, Any]] = {}
    with socket.socket(fileno=os.dup(0)) as requests:
        while True:
            message, pipes, _, _ = socket.recv_fds(requests, MAX_REQUEST_BYTES, 1)
            if not message:
                return
            request = json.loads(message)
            ended |= _ended()
            if "reap" in request:
                pid = request["reap"]
                answer = ended.pop(pid) if pid in ended else _end(*os.wait4(pid, 0)[1:])
            else:
                answer = {"pid": _fork(request["read"], pipes[0], limits)}
            print(json.dumps(answer), file=answers, flush=True)


def _ended() -> dict[int, dict[str, Any]]:
    """How readers ended that have ended by now, so that none stays behind that nobody asks for."""
    ended = {}
    with suppress(ChildProcessError):
        while (found := os.wait4(-1, os.WNOHANG))[0]:
            ended[found[0]] = _end(*found[1:])
    return ended


def _end(status: int, use: resource.struct_rusage) -> dict[str, Any]:
    # Linux counts kilobytes, macOS bytes.
    peak_bytes = use.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"status": status, "seconds": round(use.ru_utime + use.ru_stime, 3), "peak_bytes": peak_bytes}


def _fork(request: dict[str, Any], pipe: int, limits: Limits) -> int:
    """Start a process that reads the file and writes into the pipe; it is a group of its own."""
    _warm_up(request["name"])
    pid = os.fork()
    if pid:
        os.close(pipe)
        _lead_group(pid)
        return pid
    code = 1
    try:
        _lead_group(0)
        end_with_parent()
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(pipe, 3)
        os.closerange(4, 1024)
        _read(request, limits)
        code = 0
    except BaseException:
        logger.exception("The reader of files came to an end")
    finally:
        os._exit(code)


def _lead_group(pid: int) -> None:
    """Both sides do it, so that the group is there whoever runs first."""
    try:
        os.setpgid(pid, pid)
    except OSError:
        logger.debug("The process leads its group already, or has ended")


def _warm_up(name: str) -> None:
    _load_readers()
    for module in _WARM.get(Path(name).suffix.lower(), _PAGES):
        import_module(module)


@cache
def _load_readers() -> None:
    from headrace.parsers import detection, readers  # noqa: F401 - what every file needs

    # The detector loads its profiles with the first text.
    detection.language_of([Block("A sentence in some language, long enough for its detector to tell which one it is.")])


def _read(request: dict[str, Any], limits: Limits) -> None:
    path = Path(request["path"])
    tempfile.tempdir = str(path.parent)
    missing = confine(limits, readable=_code_folders(), writable=path.parent)
    with os.fdopen(3, "w", encoding="utf-8") as answers:
        answers.write(_written(request, path, missing))


def _code_folders() -> list[Path]:
    """Where code lies that a reader may still load; the project's own folder holds more than code, and is none."""
    places = [Path(place) for place in sys.path if "packages" in place or "python" in Path(place).name]
    return [Path(__file__).parents[1], Path(sys.prefix), Path(sys.base_prefix), *places]


def _written(request: dict[str, Any], path: Path, missing: tuple[str, ...]) -> str:
    try:
        answer = json.dumps({**_answer(request, path), "missing": missing}, ensure_ascii=False)
    except MemoryError:
        answer = json.dumps({"error": TOO_LARGE})
    return answer if len(answer) <= MAX_ANSWER_CHARACTERS else json.dumps({"error": TOO_LARGE})


def _answer(request: dict[str, Any], path: Path) -> dict[str, Any]:
    try:
        from headrace.parsers.readers import Source, read_file

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
    notes = [_plain(note) for note in parsed.notes]
    return {"language": parsed.language, "notes": notes, "blocks": [_fields(block) for block in parsed.blocks]}


def _fields(block: Block) -> list[Any]:
    cells = [[_plain(label), _plain(value)] for label, value in block.cells]
    return [_plain(block.text), block.page, [_plain(title) for title in block.section], cells, _plain(block.spot)]


def _plain(text: str) -> str:
    """The text without lone surrogates, which no tokenizer and no store takes."""
    return text.encode("utf-8", "replace").decode()
