"""Function URLs of functions with an exec wrapper, streamed: MiniStack decides who may call, the Runtime API carries the answer.

Lambda's rules that hold here: one question an environment, the wrapper of the layer in place of the runtime, both permissions of
an open URL, the caller's ARN in the event.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import uuid
import zipfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from infra.local.processes import Processes
from infra.local.runtime_api import RuntimeApiServer
from tests.support.cloud.identities import credentials_of
from tests.support.signatures import is_signed

MARK = "x-streams"
DELIMITER = bytes(8)
START_SECONDS = 60.0
OPEN_URL = {
    ("lambda:InvokeFunctionUrl", "lambda:FunctionUrlAuthType", "NONE"),
    ("lambda:InvokeFunction", "lambda:InvokedViaFunctionUrl", "true"),
}
FORBIDDEN = (403, {"content-type": "application/json"}, b'{"Message":"Forbidden"}')
logger = logging.getLogger(__name__)
Handle = Callable[..., Awaitable[tuple[int, dict[str, str], bytes]]]


@dataclass
class Environment:
    """A running function, which serves one request at a time."""

    api: RuntimeApiServer
    stack: AsyncExitStack
    is_busy: bool = False


@dataclass
class Answer:
    """What a function writes, as it comes; None is the end."""

    chunks: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    failed: bool = False


class StreamingUrls:
    """The environments of such functions, and the answers that are under way."""

    def __init__(self, folder: Path, python: Path) -> None:
        self._folder = folder
        self._python = python
        self._environments: dict[str, list[Environment]] = {}
        self._answers: dict[str, Answer] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def wrapped(self, original: Handle) -> Handle:
        """MiniStack's handling of a function URL, with ours for functions that have a wrapper."""
        functions = import_module("ministack.services.lambda_svc")

        async def handle(
            url_id: str, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]],
            resolved: Any = None, source_ip: str | None = None,
        ) -> tuple[int, dict[str, str], bytes]:  # fmt: skip
            account, region, name, qualifier, url = resolved or functions.resolve_function_url(url_id)
            record, config, _ = functions._get_func_record_for_ref_in_scope(
                f"{name}:{qualifier}" if qualifier else name, account_id=account, region=region
            )
            variables = (config or {}).get("Environment", {}).get("Variables", {})
            if "AWS_LAMBDA_EXEC_WRAPPER" not in variables:
                return await original(
                    url_id, method, path, headers, body, query, resolved=resolved, source_ip=source_ip
                )
            is_open = url["AuthType"] == "NONE"
            if is_open and not _is_open(functions._functions[name]["policy"], f":{qualifier}"):
                return FORBIDDEN
            if not is_open and not _is_signed(method, path, headers, body, query):
                return FORBIDDEN
            event = functions._build_function_url_event(
                url_id, account, region, method, path, headers, body, query, anonymous=is_open
            )
            if not is_open:
                arn = import_module("ministack.core.iam_evaluator").request_caller_arn(headers, query)
                event["requestContext"]["authorizer"] = {"iam": {"userArn": arn, "accountId": account}}
            environment = await self._lease(config, functions._execution_record_for_config(record, config))
            if environment is None:
                return 502, {"content-type": "application/json"}, b'{"message":"Internal Server Error"}'
            mark = uuid.uuid4().hex
            self._answers[mark] = answer = Answer()
            task = asyncio.create_task(_invoke(environment, event, int(config["Timeout"]), answer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return 200, {MARK: mark}, b""

        return handle

    def middleware(self, app: Any) -> Any:
        """Puts the stream in the place of the marked answer."""

        async def streaming(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                await app(scope, receive, send)
                return
            is_replaced = False

            async def replaced(message: Any) -> None:
                nonlocal is_replaced
                if message["type"] == "http.response.start":
                    marks = [value for name, value in message["headers"] if name.lower() == MARK.encode()]
                    if marks:
                        is_replaced = True
                        await _send(self._answers.pop(marks[0].decode()), send)
                if not is_replaced:
                    await send(message)

            await app(scope, receive, replaced)

        return streaming

    async def _lease(self, config: dict[str, Any], record: dict[str, Any]) -> Environment | None:
        """A free environment of this version, or a new one; None when it does not start."""
        version = f"{config['FunctionArn']}-{config['CodeSha256']}-{config['RevisionId']}"
        pool = self._environments.setdefault(version, [])
        for environment in pool:
            if not environment.is_busy:
                environment.is_busy = True
                return environment
        started = await self._start(config, record)
        if started is not None:
            pool.append(started)
        return started

    async def _start(self, config: dict[str, Any], record: dict[str, Any]) -> Environment | None:
        home = self._folder / uuid.uuid4().hex[:8]
        layers = await asyncio.to_thread(_unpack, home, config, record)
        variables = config["Environment"]["Variables"]
        wrapper = next(
            path for layer in layers if (path := layer / Path(variables["AWS_LAMBDA_EXEC_WRAPPER"]).name).exists()
        )
        runtime = import_module("ministack.core.lambda_runtime")
        stack = AsyncExitStack()
        api = await stack.enter_async_context(RuntimeApiServer().serve())
        processes = await stack.enter_async_context(Processes(home))
        environment = {
            "PATH": "/usr/bin:/bin", "LANG": "en_US.UTF-8", "PYTHONPATH": ":".join(str(layer / "python") for layer in layers),
            **{name: os.environ[name] for name in ("SSL_CERT_FILE",) if name in os.environ},
            **runtime.execution_credentials(config), "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}", "AWS_LAMBDA_RUNTIME_API": api.address,
            "AWS_LAMBDA_FUNCTION_NAME": config["FunctionName"], "AWS_LAMBDA_FUNCTION_VERSION": config["Version"],
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config["MemorySize"]), "LAMBDA_TASK_ROOT": str(home / "code"),
            "_HANDLER": config["Handler"], **variables,
        }  # fmt: skip
        child = await processes.start("function", [str(wrapper), str(self._python)], environment, cwd=home / "code")

        async def polls() -> bool:
            return api.ready.is_set()

        try:
            await processes.until_ready(child, polls, seconds=START_SECONDS)
        except Exception as error:  # noqa: BLE001 - the caller answers as Lambda does, and this is its log
            logger.warning("%s does not start: %s", config["FunctionName"], error)
            await stack.aclose()
            return None
        return Environment(api, stack, is_busy=True)


def _unpack(home: Path, config: dict[str, Any], record: dict[str, Any]) -> list[Path]:
    """The function's code and its layers, unpacked; gives the layers' folders."""
    functions = import_module("ministack.services.lambda_svc")
    _extract(record["code_zip"], home / "code")
    layers = []
    for number, reference in enumerate(config.get("Layers", [])):
        layers.append(home / f"layer{number}")
        _extract(functions._resolve_layer_zip(reference), layers[-1])
    return layers


def _extract(content: bytes, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in archive.infolist():
            path = Path(archive.extract(member, folder))
            if not member.is_dir():
                path.chmod(member.external_attr >> 16 or 0o644)


def _is_signed(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]) -> bool:
    """Whether a key that this cloud knows has signed the request, for Lambda."""
    given = {name.lower(): value for name, value in headers.items()}
    key_id = given.get("authorization", "").partition("Credential=")[2].partition("/")[0]
    credentials = credentials_of(key_id) if key_id else None
    if credentials is None:
        return False
    return is_signed(
        method, quote(path, safe="/~"), given, body, query=urlencode(query, doseq=True),
        credentials=credentials, scope=("us-east-1", "lambda"),
    )  # fmt: skip


def _is_open(policy: dict[str, Any], qualifier: str) -> bool:
    """Whether the function's policy has both statements that a URL without authentication needs, on this alias."""
    found = set()
    for statement in policy["Statement"]:
        if statement["Principal"] == "*" and statement["Resource"].endswith(qualifier):
            for keys in statement.get("Condition", {}).values():
                found |= {(statement["Action"], name, value) for name, value in keys.items()}
    return found >= OPEN_URL


async def _invoke(environment: Environment, event: dict[str, Any], timeout_seconds: float, answer: Answer) -> None:
    async def sink(chunk: bytes) -> None:
        await answer.chunks.put(chunk)

    outcome = environment.api.invoke(event, timeout_seconds=timeout_seconds, sink=sink)
    await outcome.done.wait()
    answer.failed = outcome.cut or bool(outcome.trailers)
    await answer.chunks.put(None)
    environment.is_busy = False


async def _send(answer: Answer, send: Any) -> None:
    head = b""
    while DELIMITER not in head:
        chunk = await answer.chunks.get()
        if chunk is None:
            # What Lambda answers when a function fails before its response.
            await send(
                {"type": "http.response.start", "status": 502, "headers": [(b"content-type", b"application/json")]}
            )
            await send({"type": "http.response.body", "body": b'{"Message":"Internal Server Error"}'})
            return
        head += chunk
    start, _, first = head.partition(DELIMITER)
    prelude = json.loads(start)
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in prelude["headers"].items()]
    headers += [(b"set-cookie", cookie.encode("latin-1")) for cookie in prelude.get("cookies", [])]
    await send({"type": "http.response.start", "status": prelude["statusCode"], "headers": headers})
    await send({"type": "http.response.body", "body": first, "more_body": True})
    while (chunk := await answer.chunks.get()) is not None:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    if answer.failed:
        raise ConnectionAbortedError("the function failed after its response had begun")
    await send({"type": "http.response.body", "body": b""})
