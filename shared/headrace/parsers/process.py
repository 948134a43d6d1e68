"""A Parser in a process of its own, with a memory and a time limit: a hostile file can't take the function down."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from headrace.errors import DocumentError, HeadraceError, ParserUnavailableError
from headrace.types import Block, ParsedFile

# The worker imports from where this process does: on Lambda that is more than Python finds by itself.
START = (
    "import os, sys; sys.path[:] = sys.argv.pop(1).split(os.pathsep); from headrace.parsers.worker import main; main()"
)
MAX_ANSWER_BYTES = 512 * 1024 * 1024


class ProcessParser:
    """A Parser that keeps one worker process; a worker that hangs or dies is replaced."""

    def __init__(self, *, timeout_seconds: float, memory_bytes: int, ocr_languages: str) -> None:
        self._timeout_seconds = timeout_seconds
        self._memory_bytes = memory_bytes
        self._ocr_languages = ocr_languages
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    async def check(self) -> None:
        """Ready at any time: the worker starts with the first file."""

    async def parse(self, path: Path, *, name: str, content_type: str) -> ParsedFile:
        request = {"path": str(path), "name": name, "content_type": content_type, "languages": self._ocr_languages}
        async with self._turn:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    answer = await self._ask(request)
            except TimeoutError:
                await self.aclose()
                raise DocumentError(
                    f"Reading the file took longer than {self._timeout_seconds:g} seconds. Split it into smaller files."
                ) from None
            except BaseException:
                await self.aclose()
                raise
        if "error" in answer:
            raise DocumentError(answer["error"])
        return await asyncio.to_thread(_parsed, answer)

    async def aclose(self) -> None:
        """End the worker."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            # With its children: OCR runs in processes of its own.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        process = await self._worker()
        assert process.stdin is not None  # noqa: S101 - both are pipes, see _worker
        assert process.stdout is not None  # noqa: S101
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
        except (OSError, ValueError) as error:
            raise ParserUnavailableError(f"The parser's process was lost ({type(error).__name__}).") from error
        if not line:
            raise _death(await process.wait())
        answer: dict[str, Any] = await asyncio.to_thread(json.loads, line)
        return answer

    async def _worker(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            command = (sys.executable, "-c", START, os.pathsep.join(sys.path), str(self._memory_bytes))
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *command, stdin=PIPE, stdout=PIPE, limit=MAX_ANSWER_BYTES, start_new_session=True
                )
            except OSError as error:
                raise ParserUnavailableError(f"The parser's process could not be started ({error}).") from error
        return self._process


def _parsed(answer: dict[str, Any]) -> ParsedFile:
    blocks = [
        Block(text, page, tuple(section), tuple((label, value) for label, value in cells))
        for text, page, section, cells in answer["blocks"]
    ]
    return ParsedFile(blocks, answer["language"])


def _death(exit_code: int) -> HeadraceError:
    if exit_code < 0:
        # A signal ended it: the kernel for its memory, or a crash inside a library that reads this file.
        return DocumentError("Reading the file took too much memory or crashed the reader. Save it anew, or split it.")
    return ParserUnavailableError("The parser's process could not start; its log says why.")


@asynccontextmanager
async def open_process_parser(
    *, timeout_seconds: float, memory_bytes: int, ocr_languages: str = ""
) -> AsyncIterator[ProcessParser]:
    """The parser; its worker starts with the first file and ends with this context."""
    parser = ProcessParser(timeout_seconds=timeout_seconds, memory_bytes=memory_bytes, ocr_languages=ocr_languages)
    try:
        yield parser
    finally:
        await parser.aclose()
