"""The first example of a page runs as it stands, but for the address."""

from __future__ import annotations

import ast
import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from headrace.models.openai import open_openai_model
from infra.local.processes import ROOT
from tests.support.http import served
from tests.support.library import Library
from tests.support.openai_server import Script

LEAVE = "Parents may take 26 weeks of parental leave. Tell the office eight weeks before."
LOCAL = "127.0.0.1:8000"


async def run_example(page: str, url: str) -> str:
    """What the page's first Python block prints."""
    code = (ROOT / "docs" / page).read_text().split("```python\n")[1].split("```")[0]
    assert LOCAL in code
    here = code.replace(LOCAL, url.removeprefix("http://"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", here, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_a_structured_answer(
    chat_app: Callable[..., Any], openai_url: str, script: Script, library: Library, stack: AsyncExitStack
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.structured = lambda _: {"weeks": 26, "notice_weeks": 8}
    model = await stack.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="m"))
    async with served(chat_app(model)) as url:
        printed = await run_example("constrained.md", url)
    assert "weeks=26 notice_weeks=8" in printed
    assert "'path': '/notice_weeks'" in printed


async def test_a_question_over_a_socket(chat_app: Callable[..., Any], library: Library) -> None:
    await library.put("handbook.docx", LEAVE)
    async with served(chat_app()) as url:
        printed = await run_example("websocket.md", url)
    lines = printed.splitlines()
    tokens = [ast.literal_eval(line.removeprefix("token "))["text"] for line in lines if line.startswith("token ")]
    assert "26 weeks" in "".join(tokens)
    assert lines[-1].startswith("done ")


async def test_an_agent(
    chat_app: Callable[..., Any], openai_url: str, script: Script, library: Library, stack: AsyncExitStack
) -> None:
    await library.put("handbook.docx", LEAVE)

    def act(body: dict[str, Any]) -> str | list[tuple[str, str]]:
        is_read = any(message["role"] == "tool" for message in body["messages"])
        return "Parents may stay at home for 26 weeks [1]." if is_read else [("list_documents", "{}")]

    script.act = act
    opening = open_openai_model(api_key="k", base_url=openai_url, model="m")
    url = await stack.enter_async_context(served(chat_app(await stack.enter_async_context(opening))))
    printed = await run_example("agents.md", url)
    assert printed.splitlines() == ["Parents may stay at home for 26 weeks [1].", "list_documents done"]
