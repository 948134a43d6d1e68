"""The stack's child processes: started, watched and ended together, each with a log of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 8.0
PR_SET_PDEATHSIG = 1


class StackError(Exception):
    """The stack can't start or go on; the message says why and what to do."""


@dataclass(slots=True)
class Child:
    """One running process."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    async def stop(self) -> None:
        """Ask it to end; insist after a while."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    self.process.kill()
                await self.process.wait()


class Processes:
    """Every child of the stack. Use as an async context: leaving it ends them, the last started first.

    Without a log folder they write where this process does.
    """

    def __init__(self, log_folder: Path | None) -> None:
        self._log_folder = log_folder
        self._children: list[Child] = []

    async def __aenter__(self) -> Self:
        if self._log_folder is not None:
            self._log_folder.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        for child in reversed(self._children):
            await child.stop()

    async def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], *, cwd: Path | None = None
    ) -> Child:
        """Start a child whose output goes to `<log folder>/<name>.log`; it works in `cwd`, or where this process does."""
        log = self._log_folder / f"{name}.log" if self._log_folder else Path(os.devnull)
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(log.open("wb")) if self._log_folder else None
            process = await asyncio.create_subprocess_exec(
                *command,
                env=dict(environment),
                cwd=cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C reaches this process alone, which then ends the others in order.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child

    async def until_ready(self, child: Child, probe: Callable[[], Awaitable[bool]], *, seconds: float = 60.0) -> None:
        """Wait until the probe succeeds. Raises StackError when the child ends first, or the time is up."""
        try:
            async with asyncio.timeout(seconds):
                while not await _succeeds(probe):
                    if child.process.returncode is not None:
                        raise StackError(
                            f"{child.name} ended while starting. Its last words:\n{_last_words(child.log)}"
                        )
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise StackError(f"{child.name} did not become ready in {seconds:g} seconds. See {child.log}.") from None

    async def unless_death(self, work: Coroutine[None, None, None]) -> None:
        """Do the work; raise StackError as soon as a child ends instead of waiting for what it won't do."""
        working, dying = asyncio.create_task(work), asyncio.create_task(self.any_death())
        try:
            await asyncio.wait({working, dying}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                child = dying.result()
                raise StackError(f"{child.name} ended unexpectedly. Its last words:\n{_last_words(child.log)}")
            working.result()
        finally:
            working.cancel()
            dying.cancel()
            await asyncio.wait({working, dying})

    async def any_death(self) -> Child:
        """Wait until a child ends by itself."""
        waits = {asyncio.create_task(child.process.wait()): child for child in self._children}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        return waits[done.pop()]


async def answers_http(url: str) -> bool:
    """True when a GET of the URL answers 200."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session, session.get(url) as response:
        return response.status == 200


def free_port() -> int:
    """A port on 127.0.0.1 that nobody uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def port_is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1 at this port."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


async def _succeeds(probe: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await probe()
    except (OSError, aiohttp.ClientError, TimeoutError):
        return False


def _last_words(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-8:])


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
