"""The Model Context Protocol with its SDK of the generation before, in an environment of its own: as client and as server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from headrace.models.openai import open_openai_model
from headrace.tools.mcp import McpServer
from headrace.types import Principal
from tests.clients.test_clients import HERE, LEAVE, REPLY, _python, _run
from tests.support.http import served
from tests.support.library import Library
from tests.support.openai_server import Script

PACKAGES = ("mcp==1.30.0",)


async def test_its_client_asks_us(
    chat_app: Callable[..., Any], openai_url: str, script: Script, library: Library
) -> None:
    await library.put("handbook.docx", LEAVE)
    script.reply = lambda _: REPLY
    async with open_openai_model(api_key="k", base_url=openai_url, model="m") as model, served(chat_app(model)) as url:
        results = await _run([*_python(PACKAGES), str(HERE / "python" / "ask_mcp.py")], f"{url}/v1")
    assert results["listed"]["text"] == "ask,list_documents,look_up_rows,read_document,search_documents", results
    assert json.loads(results["asked"]["text"]) == [REPLY, "handbook.docx"]
    assert results["searched"]["text"] == LEAVE
    assert "arguments are wrong" in results["wrong"]["text"]


async def test_we_call_the_tools_of_its_server() -> None:
    process = await asyncio.create_subprocess_exec(
        *_python(PACKAGES), str(HERE / "python" / "serve_mcp.py"), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(120):
            port = int(await process.stdout.readline())
        server = McpServer(name="trips", url=f"http://127.0.0.1:{port}/mcp", allow_private=True)
        for _ in range(50):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except OSError:
                await asyncio.sleep(0.2)
        (tool,) = await server.tools({})
        assert tool.spec.name == "trips_forecast"
        found = await asyncio.gather(*(tool.call({"city": str(n)}, Principal()) for n in range(4)))
        assert [each.text for each in found] == [f"sunny in {n}" for n in range(4)]
    finally:
        process.terminate()
        await process.wait()
