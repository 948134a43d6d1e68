"""A Parser that reads each file in a process of its own, without secrets, network or a way to others: see docs/security.md.

Many files are read at once, and share what there is: who has used more processor time gets less of it, and when all of
them together take too much memory, the largest one begins again, alone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from headrace.errors import DocumentError, HeadraceError, ParserUnavailableError
from headrace.parsers.confinement import hide_process
from headrace.parsers.usage import Reading, Watch
from headrace.types import Block, ParsedFile

logger = logging.getLogger(__name__)

# The worker imports from where this process does: on Lambda that is more than Python finds by itself.
START = (
    "import os, sys; sys.path[:] = sys.argv.pop(1).split(os.pathsep); from headrace.parsers.worker import main; main()"
)
MAX_ANSWER_BYTES = 512 * 1024 * 1024
PIECE_BYTES = 1024 * 1024
MOST_AT_ONCE = 32


class _TookTooMuchError(Exception):
    """The file was put out so that the others have room, and is to be read alone."""


@dataclass(slots=True)
class _Server:
    """The process that starts a process for each file, and the socket that it takes requests from."""

    process: Process
    requests: socket.socket


class ProcessParser:
    """A Parser whose readers can't take the function down, look into it, or talk to anybody."""

    def __init__(self, *, timeout_seconds: float, cpu_seconds: int, memory_bytes: int, ocr_languages: str = "") -> None:
        self._timeout_seconds = timeout_seconds
        self._cpu_seconds = cpu_seconds
        self._memory_bytes = memory_bytes
        self._ocr_languages = ocr_languages
        self._server: _Server | None = None
        self._talk = asyncio.Lock()
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._alone = asyncio.Lock()
        self._watch = Watch(memory_bytes)
        self._told: set[str] = set()

    async def check(self) -> None:
        """Ready at any time: the process that starts readers comes with the first file."""

    async def parse(self, path: Path, *, name: str, content_type: str) -> ParsedFile:
        """The file's blocks. Raises DocumentError; ParserUnavailableError when trying again may help.

        A file that is busy with the processor for too long can't be read; one that only waits for it too long, on a busy
        machine, may be read the next time.
        """
        request = {"path": str(path), "name": name, "content_type": content_type, "languages": self._ocr_languages}
        try:
            async with self._places:
                answer = await self._read(request)
        except _TookTooMuchError:
            async with self._alone:
                answer = await self._read(request, alone=True)
        for guard in sorted({*answer.get("missing", ())} - self._told):
            self._told.add(guard)
            logger.warning(
                "This system can't give readers of files the guard %r; docs/security.md says what holds", guard
            )
        if "error" in answer:
            raise DocumentError(answer["error"])
        return await asyncio.to_thread(_parsed, answer)

    async def aclose(self) -> None:
        """End the readers and the process that starts them."""
        for reading in self._watch.readings:
            reading.kill()
        await self._end_server()

    async def _read(self, request: dict[str, Any], *, alone: bool = False) -> dict[str, Any]:
        server = await self._running()
        loop = asyncio.get_running_loop()
        with _pipe() as (end, answers):
            pid = await self._start(server, request, answers)
            reader = asyncio.StreamReader(limit=PIECE_BYTES)
            transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), end)
        reading = Reading(pid, may_be_put_out=not alone)
        try:
            with self._watch.over(reading):
                async with asyncio.timeout(self._timeout_seconds):
                    written = await _all_of(reader)
        except TimeoutError:
            raise ParserUnavailableError(
                f"Reading the file took longer than {self._timeout_seconds:g} seconds on a busy machine. It is tried again."
            ) from None
        finally:
            reading.kill()
            transport.close()
            use = await asyncio.shield(self._reap(server, pid))
            logger.info("Read %s: %s", request["name"], use)
        if reading.is_put_out:
            raise _TookTooMuchError
        try:
            answer: dict[str, Any] = await asyncio.to_thread(json.loads, written)
        except ValueError:
            raise self._death(use.get("status")) from None
        return answer

    async def _start(self, server: _Server, request: dict[str, Any], answers: int) -> int:
        """Have a reader started that writes into this pipe; one that nobody waits for any longer is ended."""
        starting = asyncio.create_task(self._tell(server, {"read": request}, os.dup(answers)))
        try:
            started = await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(_end_started)
            raise
        pid: int = started["pid"]
        return pid

    async def _reap(self, server: _Server, pid: int) -> dict[str, Any]:
        """How the reader ended, and what it took; nothing when nobody knows."""
        with suppress(ParserUnavailableError):
            return await self._tell(server, {"reap": pid})
        return {}

    async def _tell(self, server: _Server, message: dict[str, Any], pipe: int | None = None) -> dict[str, Any]:
        """Send one message, with a pipe that is closed here then, and take its answer."""
        async with self._talk:
            assert server.process.stdout is not None  # noqa: S101 - a pipe, see _launched
            try:
                socket.send_fds(server.requests, [json.dumps(message).encode()], [] if pipe is None else [pipe])
                answer: dict[str, Any] = json.loads(await server.process.stdout.readline())
            except (OSError, ValueError) as error:
                raise ParserUnavailableError(
                    f"The process that reads files was lost ({type(error).__name__}); its log says why."
                ) from error
            finally:
                if pipe is not None:
                    os.close(pipe)
        return answer

    async def _running(self) -> _Server:
        async with self._talk:
            if self._server is None or self._server.process.returncode is not None:
                await self._end_server()
                hide_process()
                self._server = await self._launched()
            return self._server

    async def _launched(self) -> _Server:
        ours, theirs = socket.socketpair()
        limits = (str(self._memory_bytes), str(self._cpu_seconds))
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", START, os.pathsep.join(sys.path), *limits,
                    stdin=theirs.fileno(), stdout=PIPE, env=_environment(), start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                ours.close()
                raise ParserUnavailableError(f"The process that reads files could not be started ({error}).") from error
        return _Server(process, ours)

    async def _end_server(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.requests.close()
            if server.process.returncode is None:
                server.process.kill()
            await server.process.wait()

    def _death(self, status: int | None) -> HeadraceError:
        """Why a reader ended without an answer."""
        if status is None:
            return ParserUnavailableError("The process that reads files was lost. It is tried again.")
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
            return DocumentError(
                f"Reading the file took more than {self._cpu_seconds} seconds of processor time. Split it into smaller files."
            )
        if os.WIFSIGNALED(status):
            # The kernel ended it for its memory, or a library that reads this file crashed.
            return DocumentError(
                "Reading the file took too much memory or crashed the reader. Save it anew, or split it."
            )
        return ParserUnavailableError("The process that reads the file could not start; its log says why.")


def _environment() -> dict[str, str]:
    """Nothing of this process's own but where the loader finds libraries: what is not there can't be read."""
    library_path = os.environ.get("LD_LIBRARY_PATH")
    kept = {"LD_LIBRARY_PATH": library_path} if library_path else {}
    # A library of numbers would start threads, which a process that forks must not have.
    return {**kept, "PATH": os.defpath, "LANG": "C.UTF-8", "HOME": "/nonexistent", "OPENBLAS_NUM_THREADS": "1"}


@contextmanager
def _pipe() -> Iterator[tuple[FileIO, int]]:
    """A pipe's end to read from, which its user closes, and the one to write into, which is closed here."""
    end, answers = os.pipe()
    reading = FileIO(end, "rb")
    try:
        yield reading, answers
    except BaseException:
        reading.close()
        raise
    finally:
        os.close(answers)


def _end_started(starting: asyncio.Task[dict[str, Any]]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        Reading(starting.result()["pid"]).kill()


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    """All that a reader of files writes. Raises DocumentError beyond what can be taken."""
    pieces = bytearray()
    while piece := await reader.read(PIECE_BYTES):
        pieces += piece
        if len(pieces) > MAX_ANSWER_BYTES:
            raise DocumentError("The file has more text than one file may have. Split it into smaller files.")
    return bytes(pieces)


def _parsed(answer: dict[str, Any]) -> ParsedFile:
    blocks = [
        Block(text, page, tuple(section), tuple((label, value) for label, value in cells), spot)
        for text, page, section, cells, spot in answer["blocks"]
    ]
    return ParsedFile(blocks, answer["language"], tuple(answer["notes"]))


@asynccontextmanager
async def open_process_parser(
    *, timeout_seconds: float, cpu_seconds: int, memory_bytes: int, ocr_languages: str = ""
) -> AsyncIterator[ProcessParser]:
    """The parser; its processes start with the first file and end with this context."""
    parser = ProcessParser(
        timeout_seconds=timeout_seconds,
        cpu_seconds=cpu_seconds,
        memory_bytes=memory_bytes,
        ocr_languages=ocr_languages,
    )
    try:
        yield parser
    finally:
        await parser.aclose()
