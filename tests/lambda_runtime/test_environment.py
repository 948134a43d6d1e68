"""The environment's life: snapshots, many invocations at once, long service, and launching as Lambda launches."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace.lambda_runtime import after_restore, before_snapshot, current_invocation, hooks
from tests.lambda_runtime.conftest import Serve
from tests.lambda_runtime.test_protocol import TEXT, Lifecycle, responding
from tests.support.runtime_api import Outcome, RuntimeApiDouble, url_event

ROOT = Path(__file__).resolve().parents[2]
WRAPPER = ROOT / "shared" / "headrace" / "lambda_runtime" / "bootstrap.sh"


@pytest.fixture
def no_hooks() -> Iterator[None]:
    yield
    hooks._before.clear()
    hooks._after.clear()


async def test_hooks_run_around_a_snapshot_and_then_events_are_served(serve: Serve, no_hooks: None) -> None:
    said: list[str] = []
    before_snapshot(lambda: said.append("before 1"))

    @before_snapshot
    async def close() -> None:
        said.append("before 2")

    after_restore(lambda: said.append("after 1"))

    @after_restore
    async def reopen() -> None:
        said.append("after 2")

    app = Lifecycle()
    async with serve_snapshot(serve, app) as api:
        await asyncio.wait_for(api.restore_asked.wait(), 5)
        assert app.seen == ["startup"], "the start is part of the snapshot"
        assert said == ["before 2", "before 1"]
        assert api.polls == 0
        api.restore.set()
        assert (await api.run(url_event())).body == b"1"
    assert said == ["before 2", "before 1", "after 1", "after 2"]


@contextlib.asynccontextmanager
async def serve_snapshot(serve: Serve, app: Any) -> AsyncIterator[RuntimeApiDouble]:
    """The runtime inside SnapStart's initialization; it does not poll before the restore."""
    from headrace.lambda_runtime import Runtime, RuntimeOptions

    async with RuntimeApiDouble().serve() as api:
        task = asyncio.create_task(Runtime(RuntimeOptions(api.address, snap_start=True), {}).run(app))
        try:
            yield api
        finally:
            task.cancel()
            await asyncio.wait({task})
        assert api.violations == []


async def test_a_hook_that_fails_is_an_init_error_or_a_restore_error(serve: Serve, no_hooks: None) -> None:
    def fail() -> None:
        raise LookupError("no entropy")

    after_restore(fail)
    async with serve_snapshot(serve, responding(b"x")) as api:
        api.restore.set()
        async with asyncio.timeout(5):
            while not api.restore_errors:
                await asyncio.sleep(0.001)
        assert api.restore_errors[0]["errorType"] == "LookupError"
    before_snapshot(fail)
    async with serve_snapshot(serve, responding(b"x")) as api:
        async with asyncio.timeout(5):
            while not api.init_errors:
                await asyncio.sleep(0.001)
        assert not api.restore_asked.is_set()


async def test_many_invocations_share_one_loop_each_with_its_own_context(serve: Serve) -> None:
    inside = 0
    most = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal inside, most
        if scope["type"] == "lifespan":
            raise NotImplementedError
        inside += 1
        most = max(most, inside)
        await send({"type": "http.response.start", "status": 200, "headers": TEXT})
        for _ in range(10):
            context = current_invocation()
            assert context is not None
            await asyncio.sleep(0.02)
            piece = f"{context.aws_request_id} {context.trace_id}\n".encode()
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})
        inside -= 1

    async with serve(app, concurrency=8) as api:
        outcomes = await asyncio.gather(*(api.run(url_event()) for _ in range(8)))
    assert most == 8
    for outcome in outcomes:
        expected = f"{outcome.request_id} {outcome.headers['Lambda-Runtime-Trace-Id']}\n".encode()
        assert outcome.body == expected * 10
    assert os.environ.get("_X_AMZN_TRACE_ID") not in {o.headers["Lambda-Runtime-Trace-Id"] for o in outcomes}


async def test_a_stream_that_never_pauses_lets_others_run(serve: Serve) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 200, "headers": TEXT})
        if scope["path"] == "/greedy":
            deadline = time.monotonic() + 1.0
            while time.monotonic() < deadline:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b"done"})

    async with serve(app, concurrency=2) as api:
        greedy = api.invoke(url_event(path="/greedy"))
        await greedy.arrived.wait()
        modest = await api.run(url_event())
        assert not greedy.done.is_set()
        assert modest.body == b"done"
        await greedy.done.wait()


async def test_one_invocations_failure_leaves_the_others_alone(serve: Serve) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await asyncio.sleep(0.02)
        if scope["path"] == "/bad":
            raise LookupError
        await responding(b"fine")(scope, receive, send)

    async with serve(app, concurrency=4) as api:
        paths = ["/bad", "/good"] * 10
        outcomes = await asyncio.gather(*(api.run(url_event(path=path)) for path in paths))
    assert [outcome.error_type or outcome.body for outcome in outcomes] == ["LookupError", b"fine"] * 10


async def test_long_service_grows_neither_memory_nor_sockets(serve: Serve) -> None:
    """10,000 invocations and 1,000 streams in one environment; the lifespan opens once."""
    incarnation = Lifecycle()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await incarnation(scope, receive, send)
        elif scope["path"] == "/stream":
            await responding(*[b"token "] * 20)(scope, receive, send)
        else:
            await responding(b"x")(scope, receive, send)

    process = psutil.Process()

    async def several(path: str, count: int) -> None:
        for _ in range(count // 8):
            await asyncio.gather(*(api.run(url_event(path=path)) for _ in range(8)))

    async with serve(app, concurrency=8) as api:
        await several("/", 2_000)
        gc.collect()
        sockets, memory = process.num_fds(), process.memory_info().rss
        for _ in range(4):
            await several("/", 2_000)
            await several("/stream", 250)
        gc.collect()
        assert process.num_fds() - sockets <= 4
        assert process.memory_info().rss - memory < 8_000_000
        assert incarnation.seen == ["startup"]


APP = """
import asyncio, os, sys, logging
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive(); await send({"type": "lifespan.startup.complete"})
        await receive(); print("bye", flush=True); await send({"type": "lifespan.shutdown.complete"}); return
    logging.getLogger("app").info("asked")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for i in range(3):
        await send({"type": "http.response.body", "body": b"data: %d\\n\\n" % i, "more_body": True})
        await asyncio.sleep(0.05)
    await send({"type": "http.response.body", "body": os.environ["AWS_LAMBDA_FUNCTION_NAME"].encode()})
"""


async def launch(
    api: RuntimeApiDouble, task_root: Path, handler: str, *path: Path, **environ: str
) -> asyncio.subprocess.Process:
    """Start a function as Lambda does: the wrapper around the interpreter, in the task root, with Lambda's variables."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "LANG": "en_US.UTF-8",
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "AWS_LAMBDA_FUNCTION_NAME": "chat",
        "LAMBDA_TASK_ROOT": str(task_root),
        "_HANDLER": handler,
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        **environ,
    }
    return await asyncio.create_subprocess_exec(
        str(WRAPPER), sys.executable, cwd=task_root, env=environment, stdout=asyncio.subprocess.PIPE
    )  # fmt: skip


async def test_the_wrapper_starts_the_runtime_and_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / "my_app.py").write_text, APP)
    async with RuntimeApiDouble().serve() as api:
        process = await launch(api, tmp_path, "my_app.app", ROOT / "shared")
        async with asyncio.timeout(20):
            await api.ready.wait()
        outcome = await api.run(url_event())
        assert outcome.body == b"data: 0\n\ndata: 1\n\ndata: 2\n\nchat"
        gaps = [b - a for (a, _), (b, _) in zip(outcome.chunks[2:], outcome.chunks[3:], strict=False)]
        assert min(gaps) > 0.02, "each event came when it was sent"
        process.send_signal(signal.SIGTERM)
        output, _ = await process.communicate()
        assert process.returncode == 0
        lines = output.decode().splitlines()
        assert json.loads(lines[0])["requestId"] == outcome.request_id
        assert lines[-1] == "bye"
        assert api.violations == []


async def test_a_start_that_fails_ends_the_process_with_1_after_an_init_error(tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / "broken.py").write_text, "raise RuntimeError('no such table')")
    async with RuntimeApiDouble().serve() as api:
        process = await launch(api, tmp_path, "broken:app", ROOT / "shared")
        await process.communicate()
        assert process.returncode == 1
        assert api.init_errors[0]["errorType"] == "RuntimeError"


def test_a_wrong_call_says_how_it_is_meant() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "AWS_LAMBDA_RUNTIME_API"}
    environment["PYTHONPATH"] = str(ROOT / "shared")
    for arguments, words in (([], "usage:"), (["a:b"], "AWS_LAMBDA_RUNTIME_API")):
        command = [sys.executable, "-m", "headrace.lambda_runtime", *arguments]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode in (1, 2)
        assert words in result.stderr
        assert "Traceback" not in result.stderr


def test_the_module_can_be_lifted_out(tmp_path: Path) -> None:
    """Alone in a folder, under another name, with no site-packages: it imports, and loads nothing but the standard library."""
    target = tmp_path / "lifted"
    shutil.copytree(
        ROOT / "shared" / "headrace" / "lambda_runtime", target, ignore=shutil.ignore_patterns("__pycache__")
    )
    for path in target.glob("*.py"):
        path.write_text(path.read_text().replace("headrace.lambda_runtime", "lifted"))
    source = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import lifted, lifted.__main__; "
        "print(sorted(lifted.__all__)); "
        "print([m for m in sys.modules if m.split('.')[0] not in sys.stdlib_module_names and not m.startswith('lifted')])"
    )
    result = subprocess.run([sys.executable, "-I", "-S", "-c", source], capture_output=True, text=True, check=True)
    names, others = result.stdout.splitlines()
    assert len(json.loads(names.replace("'", '"'))) == 6
    assert others in ("[]", "['__main__']")


async def test_outcomes_are_told_apart(serve: Serve) -> None:
    """The double itself: a cut stream is not a whole one."""
    async with RuntimeApiDouble().serve() as api:
        reader, writer = await asyncio.open_connection(*api.address.split(":"))
        outcome: Outcome = api.invoke(url_event())
        writer.write(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        other_reader, other = await asyncio.open_connection(*api.address.split(":"))
        head = f"POST /2018-06-01/runtime/invocation/{outcome.request_id}/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        other.write(head.encode() + b"2\r\n{}\r\n")
        other.close()
        await outcome.done.wait()
        assert outcome.cut
        assert api.violations
        writer.close()
        del other_reader


def test_the_environment_sets_the_runtimes_options() -> None:
    from headrace.lambda_runtime import RuntimeOptions
    from headrace.lambda_runtime.invocation import ResponseOptions
    from headrace.lambda_runtime.loop import StartError

    plain = RuntimeOptions.from_env({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001"})
    assert plain == RuntimeOptions("127.0.0.1:9001")
    everything = {
        "AWS_LAMBDA_RUNTIME_API": "h:1", "AWS_LAMBDA_MAX_CONCURRENCY": "8", "LAMBDA_RUNTIME_GRACE_MS": "750",
        "LAMBDA_RUNTIME_FLUSH_SSE": "1", "LAMBDA_RUNTIME_FILL_EMPTY": "1", "AWS_LAMBDA_LOG_LEVEL": "DEBUG",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
    }  # fmt: skip
    response = ResponseOptions(flush_sse=True, fill_empty=True, yields=True)
    assert RuntimeOptions.from_env(everything) == RuntimeOptions("h:1", 8, True, "DEBUG", 0.75, response)
    for wrong in ({}, {"AWS_LAMBDA_RUNTIME_API": "h:1", "AWS_LAMBDA_MAX_CONCURRENCY": "many"}):
        with pytest.raises(StartError):
            RuntimeOptions.from_env(wrong)
