"""What a reader of files may touch: code that runs while a file is read is given everything to try."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from headrace.errors import DocumentError, ParserUnavailableError
from headrace.parsers.process import ProcessParser, open_process_parser
from headrace.types import Block

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the guards are Linux's")

SECRET = "sk-a-secret-of-the-function"
# Stands where the library that reads rtf files would stand, as if a file had taken it over.
TAKEN_OVER = """
import ctypes, json, os, socket, subprocess

def attempt(action):
    try:
        return repr(action())
    except BaseException as error:
        return type(error).__name__

def rtf_to_text(text, **_):
    asked = json.loads(text.partition(" ")[2])
    parent, server = asked["parent"], os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    tried = {
        "environment": repr(dict(os.environ)),
        "parent's environment": attempt(lambda: open(f"/proc/{parent}/environ").read()),
        "parent's memory": attempt(lambda: open(f"/proc/{parent}/mem", "rb").read(1)),
        "server's environment": attempt(lambda: open(f"/proc/{server}/environ").read()),
        "server's memory": attempt(lambda: open(f"/proc/{server}/mem", "rb").read(1)),
        "a socket": attempt(lambda: socket.create_connection(("127.0.0.1", asked["port"]), 1)),
        "a pair of sockets": attempt(socket.socketpair),
        "a signal": attempt(lambda: os.kill(parent, 0)),
        "a group of its own": attempt(os.setsid),
        "another file": attempt(lambda: open(asked["other"]).read()),
        "users": attempt(lambda: open("/etc/passwd").read()),
        "a file beside the code": attempt(lambda: open(asked["beside"], "w")),
        "tracing": attempt(lambda: (libc.ptrace(16, parent, 0, 0), ctypes.get_errno())),
        "a ring": attempt(lambda: (libc.syscall(425, 1, 0), ctypes.get_errno())),
        "more of everything": attempt(lambda: __import__("resource").setrlimit(__import__("resource").RLIMIT_CPU, (9**9, 9**9))),
        "another's limits": attempt(lambda: __import__("resource").prlimit(parent, __import__("resource").RLIMIT_CPU)),
        "a program": attempt(lambda: subprocess.run(["/bin/cat", asked["other"]], capture_output=True, check=True)),
        "open files": attempt(lambda: sorted(os.listdir("/proc/self/fd"))),
    }
    return json.dumps(tried)
"""


@pytest_asyncio.fixture
async def taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ProcessParser]:
    folder = tmp_path / "site-packages"
    (folder / "striprtf").mkdir(parents=True)
    (folder / "striprtf" / "__init__.py").touch()
    (folder / "striprtf" / "striprtf.py").write_text(TAKEN_OVER)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    async with open_process_parser(timeout_seconds=60, cpu_seconds=60, memory_bytes=2 * 1024**3) as parser:
        yield parser


async def tried(parser: ProcessParser, tmp_path: Path) -> dict[str, Any]:
    other = tmp_path / "another tenant's document"
    await asyncio.to_thread(other.write_text, SECRET)
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        asked = {
            "parent": os.getpid(), "port": server.sockets[0].getsockname()[1], "other": str(other),
            "beside": str(tmp_path / "site-packages" / "planted.py"),
        }  # fmt: skip
        blocks = await read(parser, tmp_path / "of the document", "a.rtf", "{\\rtf " + json.dumps(asked))
    told: dict[str, Any] = json.loads(" ".join(block.text for block in blocks))
    return told


async def test_a_reader_that_is_taken_over_finds_no_secret_no_network_and_no_other_file(
    taken_over: ProcessParser, tmp_path: Path
) -> None:
    told = await tried(taken_over, tmp_path)
    assert SECRET not in json.dumps(told)
    environment = told.pop("environment")
    assert not [name for name in ("AWS", "KEY", "REDIS") if name in environment]
    # Input, output and the log are there, and the answer's pipe; and the listing's own.
    assert told.pop("open files") == repr(["0", "1", "2", "3", "4"])
    assert told.pop("tracing") == told.pop("a ring") == "(-1, 1)"
    assert set(told.values()) <= {"PermissionError", "ValueError", "CalledProcessError"}, told
    assert not (tmp_path / "site-packages" / "planted.py").exists()


async def test_nothing_was_missing_of_the_guards(
    taken_over: ProcessParser, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await tried(taken_over, tmp_path)
    assert "guard" not in caplog.text


SLOW = "\n\n".join(f"# Part {n}\n\nThe *seal* of pump {n} is [replaced](#{n}) every year." for n in range(30_000))


async def read(parser: ProcessParser, folder: Path, name: str, content: str) -> list[Block]:
    await asyncio.to_thread(folder.mkdir)
    await asyncio.to_thread((folder / "document").write_text, content)
    return list((await parser.parse(folder / "document", name=name, content_type="")).blocks)


async def test_a_file_behind_twenty_that_take_all_their_time_is_read_before_any_of_them_ends(tmp_path: Path) -> None:
    async with open_process_parser(timeout_seconds=120, cpu_seconds=1, memory_bytes=2 * 1024**3) as parser:
        heavy = [asyncio.create_task(read(parser, tmp_path / str(n), "a.md", SLOW)) for n in range(20)]
        await asyncio.sleep(1)
        assert not any(task.done() for task in heavy)
        blocks = await read(parser, tmp_path / "light", "a.txt", "The seal of the pump is replaced every year.")
        assert len(blocks) == 1
        assert not any(task.done() for task in heavy)
        ends = await asyncio.gather(*heavy, return_exceptions=True)
    assert {type(end) for end in ends} == {DocumentError}


async def test_files_that_take_too_much_memory_together_are_read_one_after_the_other(tmp_path: Path) -> None:
    """Each may have 700 MB of addresses; that they have 150 MB together is seen to while they are read."""
    large = json.dumps([{"part": n, "text": "seal " * 20} for n in range(150_000)])
    async with open_process_parser(timeout_seconds=120, cpu_seconds=60, memory_bytes=1024**3) as parser:
        parser._watch.memory_bytes = 150 * 1024**2
        files = [read(parser, tmp_path / str(n), "a.json", large) for n in range(4)]
        ends = await asyncio.gather(*files)
    assert [len(blocks) for blocks in ends] == [150_000] * 4


async def test_the_clock_alone_ends_no_file_for_good(tmp_path: Path) -> None:
    async with open_process_parser(timeout_seconds=0.2, cpu_seconds=60, memory_bytes=2 * 1024**3) as parser:
        with pytest.raises(ParserUnavailableError, match="busy machine"):
            await read(parser, tmp_path / "a", "a.md", SLOW)
