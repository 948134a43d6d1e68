"""The hosted parser against a server that speaks its protocol, and that server against the vendor's own client."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headrace.errors import ConfigurationError, DocumentError, ParserUnavailableError
from headrace.parsers.unstructured_api import UnstructuredApi, open_unstructured_api
from headrace.types import ParsedFile
from tests.support import files
from tests.support.http import served
from tests.support.unstructured_server import Desk, unstructured_app

TEXT = "The shaft seal of the feed pump is replaced every four thousand operating hours."
PATH = "/general/v0/general"


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def url(desk: Desk) -> AsyncIterator[str]:
    async with served(unstructured_app(desk)) as url:
        yield url


@pytest.fixture
async def parser(url: str) -> AsyncIterator[UnstructuredApi]:
    async with open_unstructured_api(url + PATH, api_key="key", timeout_seconds=20) as opened:
        yield opened


async def parse(parser: UnstructuredApi, folder: Path, name: str, content: bytes) -> ParsedFile:
    path = folder / "document"
    await asyncio.to_thread(path.write_bytes, content)
    return await parser.parse(path, name=name, content_type="")


async def test_files_come_back_with_sections_tables_and_language(
    parser: UnstructuredApi, desk: Desk, tmp_path: Path
) -> None:
    page = f"<h1>Seals</h1><p>{TEXT}</p><table><tr><th>Part</th><th>Price</th></tr><tr><td>Seal</td><td>12</td></tr></table>"
    parsed = await parse(parser, tmp_path, "a.html", page.encode())
    assert [(block.text, block.section) for block in parsed.blocks[1:]] == [
        (TEXT, ("Seals",)),
        ("Part: Seal; Price: 12", ("Seals",)),
    ]
    assert parsed.blocks[2].cells == (("Part", "Seal"), ("Price", "12"))
    assert parsed.language == "en"
    assert desk.forms == [{"strategy": "auto", "output_format": "application/json"}]
    slides = await parse(parser, tmp_path, "a.pptx", files.pptx("Seals", TEXT))
    assert (slides.blocks[1].page, slides.blocks[1].section) == (1, ("Seals",))


async def test_it_is_tried_again_and_then_says_why(parser: UnstructuredApi, desk: Desk, tmp_path: Path) -> None:
    desk.fail = [429, 503, 500]
    assert (await parse(parser, tmp_path, "a.txt", TEXT.encode())).blocks[0].text == TEXT
    desk.fail = [500] * 9
    with pytest.raises(ParserUnavailableError, match="status 500"):
        await parse(parser, tmp_path, "a.txt", TEXT.encode())


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("a.bin", b"x", "not supported"), ("a.txt", b"", "empty"), ("a.txt", b"  \n", "No text")],
)
async def test_what_it_refuses_is_the_documents_fault(
    parser: UnstructuredApi, tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    with pytest.raises(DocumentError, match=reason):
        await parse(parser, tmp_path, name, content)


async def test_a_wrong_key_is_the_deployments_fault(url: str, tmp_path: Path) -> None:
    async with open_unstructured_api(url + PATH, api_key="other", timeout_seconds=20) as parser:
        with pytest.raises(ConfigurationError, match="UNSTRUCTURED_API_KEY"):
            await parse(parser, tmp_path, "a.txt", b"text")


VENDORS_CLIENT = """
import json, sys
from unstructured_client import UnstructuredClient
from unstructured_client.models import operations, shared

client = UnstructuredClient(api_key_auth="key", server_url=sys.argv[1], timeout_ms=10_000)
given = shared.Files(content=sys.argv[2].encode(), file_name="a.txt")
parameters = shared.PartitionParameters(files=given, strategy=shared.Strategy.AUTO)
print(json.dumps(client.general.partition(request=operations.PartitionRequest(partition_parameters=parameters)).elements))
"""


async def test_the_vendors_own_client_reads_the_server(url: str, desk: Desk) -> None:
    # In a process of its own: it leaves sockets open.
    command = [sys.executable, "-c", VENDORS_CLIENT, url, TEXT]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True, timeout=60)
    (element,) = json.loads(done.stdout.splitlines()[-1])
    assert element["text"] == TEXT
    assert desk.forms[0]["strategy"] == "auto"
