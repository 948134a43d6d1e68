"""What every parser promises, and what becomes of files that can't be read."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from headrace.errors import DocumentError
from headrace.parsers.process import ProcessParser, open_process_parser
from headrace.protocols import Parser
from headrace.types import Block
from tests.support import files, hostile
from tests.support.compound import compound_file

TEXT = "The shaft seal of the feed pump is replaced every four thousand operating hours."
FILES = files.of_every_format(TEXT)
HUGE = b"[" + b'{"a": 1},' * 8_000_000 + b"1]"
# Honest, and some ten seconds of work.
SLOW = "\n\n".join(
    f"# Part {n}\n\nThe *seal* of pump {n} is [replaced](#{n}) every year." for n in range(20_000)
).encode()
LIMIT_BYTES = 2 * 1024**3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def process_parser() -> AsyncIterator[ProcessParser]:
    async with open_process_parser(
        timeout_seconds=60, cpu_seconds=60, memory_bytes=LIMIT_BYTES, ocr_languages="eng"
    ) as parser:
        yield parser


@pytest.fixture(params=["unstructured"])
def any_parser(request: pytest.FixtureRequest, process_parser: ProcessParser) -> Parser:
    return {"unstructured": process_parser}[request.param]


async def parse(parser: Parser, folder: Path, name: str, content: bytes, content_type: str = "") -> list[Block]:
    path = folder / "document"
    await asyncio.to_thread(path.write_bytes, content)
    return list((await parser.parse(path, name=name, content_type=content_type)).blocks)


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("name", FILES)
async def test_the_text_of_every_format_comes_out_in_one_block(any_parser: Parser, tmp_path: Path, name: str) -> None:
    blocks = await parse(any_parser, tmp_path, name, FILES[name])
    assert any(TEXT in block.text for block in blocks)
    assert not any("alert" in block.text for block in blocks)


@pytest.mark.parametrize(
    ("name", "page", "section"),
    [
        ("a.pdf", 2, ("Chapter 2",)),
        ("a.pptx", 1, ("Part",)),
        ("a.docx", None, ("Part",)),
        ("a.md", None, ("Title", "Part")),
        ("a.html", None, ("Title",)),
        ("a.xlsx", 1, ("Sheet",)),
        ("a.json", None, ("part",)),
    ],
)
async def test_a_block_knows_its_page_and_its_section(
    any_parser: Parser, tmp_path: Path, name: str, page: int | None, section: tuple[str, ...]
) -> None:
    blocks = await parse(any_parser, tmp_path, name, FILES[name])
    (block,) = [block for block in blocks if TEXT in block.text]
    assert (block.page, block.section) == (page, section)


async def test_a_table_row_says_what_its_values_are(any_parser: Parser, tmp_path: Path) -> None:
    blocks = await parse(any_parser, tmp_path, "t.csv", b"Part,Price\nSeal,12\nValve,40\n")
    assert [block.text for block in blocks] == ["Part: Seal; Price: 12", "Part: Valve; Price: 40"]


async def test_the_type_is_in_the_bytes_not_in_the_name(any_parser: Parser, tmp_path: Path) -> None:
    for name in ("a.docx", "a.pdf"):
        blocks = await parse(any_parser, tmp_path, "misnamed.txt", FILES[name], "text/plain")
        assert any(TEXT in block.text for block in blocks)


async def test_other_encodings_are_read(any_parser: Parser, tmp_path: Path) -> None:
    text = "Die Öffnungszeiten der Bücherei ändern sich übermorgen für längere Zeit."
    for encoding in ("utf-8", "latin-1", "cp1252", "utf-16"):
        blocks = await parse(any_parser, tmp_path, "a.txt", text.encode(encoding))
        assert text in blocks[0].text


async def test_broken_unicode_is_mended(any_parser: Parser, tmp_path: Path) -> None:
    blocks = await parse(any_parser, tmp_path, "a.json", b'{"title": "smile \\ud83d cut"}')
    assert [block.text for block in blocks] == ["title: smile ? cut"]


def bomb() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"0" * (600 * 1024 * 1024))
    return target.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", b"", "empty"),
        ("a.txt", b" \n\t ", "No text"),
        ("a.pdf", files.pdf("secret", password="x"), "password"),
        ("a.pdf", b"%PDF-1.7 and then nothing", "damaged"),
        ("a.pdf", files.pdf(""), "no text"),
        ("a.docx", FILES["a.docx"][:900], "damaged"),
        ("a.docx", compound_file({"EncryptedPackage": b"x" * 5000}), "password"),
        ("a.docx", bomb(), "unpacks"),
        ("a.json", b"{not json", "not valid JSON"),
        ("a.json", b'{"a":' * 200 + b"1" + b"}" * 200, "deep"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + b"\x00" * 100, "damaged"),
        ("a.bin", bytes(range(256)) * 20, "can't be read|not supported|No text"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else None,
)
async def test_what_cannot_be_read_says_why(
    any_parser: Parser, tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    with pytest.raises(DocumentError, match=reason) as raised:
        await parse(any_parser, tmp_path, name, content)
    assert str(raised.value).endswith((".", ")"))
    assert str(tmp_path) not in str(raised.value)


@pytest.mark.parametrize("name", ["a.png", "scan.pdf"])
async def test_without_ocr_a_picture_says_so(tmp_path: Path, name: str) -> None:
    async with open_process_parser(timeout_seconds=60, cpu_seconds=60, memory_bytes=LIMIT_BYTES) as parser:
        with pytest.raises(DocumentError, match="no OCR"):
            await parse(parser, tmp_path, name, FILES[name])


async def test_the_language_is_told_and_words_that_are_few_tell_none(any_parser: Parser, tmp_path: Path) -> None:
    texts = {
        "en": "The shaft seal is replaced every year, and the bearing every second year.",
        "de": "Die Gleitringdichtung wird jedes Jahr ersetzt, das Lager jedes zweite Jahr.",
        "fr": "Le joint est remplacé chaque année, et le roulement tous les deux ans, sans exception.",
        "": "OK 4711",
    }
    for language, text in texts.items():
        path = tmp_path / "document"
        await asyncio.to_thread(path.write_text, text)
        assert (await any_parser.parse(path, name="a.txt", content_type="")).language == language


async def test_a_table_keeps_its_cells(any_parser: Parser, tmp_path: Path) -> None:
    page = b"<p>Prices</p><table><tr><th>Part</th><th>Price</th></tr><tr><td>Seal</td><td>12</td></tr></table>"
    blocks = await parse(any_parser, tmp_path, "a.html", page)
    assert (blocks[-1].text, blocks[-1].cells) == ("Part: Seal; Price: 12", (("Part", "Seal"), ("Price", "12")))


async def test_a_file_that_takes_too_long_fails_and_the_next_one_is_read(tmp_path: Path) -> None:
    async with open_process_parser(timeout_seconds=60, cpu_seconds=1, memory_bytes=LIMIT_BYTES) as parser:
        with pytest.raises(DocumentError, match="more than 1 seconds of processor time"):
            await parse(parser, tmp_path, "a.md", SLOW)
        assert await parse(parser, tmp_path, "a.txt", TEXT.encode())


async def test_a_file_that_takes_too_much_memory_fails_and_the_next_one_is_read(tmp_path: Path) -> None:
    async with open_process_parser(timeout_seconds=120, cpu_seconds=60, memory_bytes=700 * 1024**2) as parser:
        with pytest.raises(DocumentError, match="memory"):
            await parse(parser, tmp_path, "a.json", HUGE)
        assert await parse(parser, tmp_path, "a.txt", TEXT.encode())


async def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    async with open_process_parser(timeout_seconds=60, cpu_seconds=60, memory_bytes=LIMIT_BYTES) as parser:
        await parse(parser, tmp_path, "a.txt", TEXT.encode())
        assert parser._server is not None
        parser._server.process.kill()
        await parser._server.process.wait()
        assert await parse(parser, tmp_path, "a.txt", TEXT.encode())


@pytest.mark.parametrize(
    ("name", "content", "kept"),
    [
        (
            "a.xml",
            "<s><title>T</title><para>Never <b>mix</b> these two chemicals.</para></s>",
            "Never mix these two chemicals.",
        ),
        ("a.xml", "<doc><para><b>Note</b> this is kept</para></doc>", "Note this is kept"),
        ("a.xml", '<parts><part name="seal" price="12"/></parts>', "name: seal; price: 12"),
        ("a.rst", "T\n=\n\n.. versionadded:: 2.0\n   Important text here.\n", "Important text here."),
        ("a.txt", "BMW has an annual report.", "BMW has an annual report."),
        ("a.html", "<p>" + "é" * 600_001 + "</p>", "é" * 600_001),
    ],
    ids=[
        "xml-prose",
        "xml-tail",
        "xml-attributes",
        "rst-directive",
        "starts-like-a-bitmap",
        "sample-ends-in-a-character",
    ],
)
async def test_no_text_is_lost(any_parser: Parser, tmp_path: Path, name: str, content: str, kept: str) -> None:
    blocks = await parse(any_parser, tmp_path, name, content.encode())
    assert kept in " ".join(block.text for block in blocks)


async def test_a_sheet_of_very_many_columns_takes_no_room(any_parser: Parser, tmp_path: Path) -> None:
    row = [""] * 16_000
    (block, *_) = await parse(any_parser, tmp_path, "a.xlsx", files.xlsx("S", ("a", *row, "b"), ("1", *row, "2")))
    assert block.cells == (("a", "1"), ("b", "2"))


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("far-row.xlsx", 1),
        ("far-cells.xlsx", 20_000),
        ("strings.xlsx", "more than the 32,767 characters"),
        ("spine.epub", 2),
        ("aliases.epub", 2),
        ("links.md", 1),
        ("stars.md", 1),
        ("backticks.md", 1),
        ("quotes.md", "nested deeper"),
        ("lists.md", "nested deeper"),
        ("attributes.html", "attributes"),
        ("attributes.xml", "attributes"),
        ("parts.eml", "parts"),
        ("addresses.eml", 2),
        ("headers.eml", 1),
        ("encoded.eml", 2),
        ("marks.rst", "marks of markup"),
        ("itself.pdf", "too much memory or crashed|processor time"),
        ("drawing.svg", 1),
    ],
)
async def test_a_file_that_means_to_keep_its_reader_busy_does_not(
    tmp_path: Path, name: str, outcome: int | str
) -> None:
    content = await asyncio.to_thread(hostile.busy()[name][1])
    async with open_process_parser(timeout_seconds=60, cpu_seconds=10, memory_bytes=LIMIT_BYTES) as parser:
        if isinstance(outcome, int):
            assert len(await parse(parser, tmp_path, name, content)) == outcome
        else:
            with pytest.raises(DocumentError, match=outcome):
                await parse(parser, tmp_path, name, content)


async def test_a_drawing_is_read_as_what_it_shows(any_parser: Parser, tmp_path: Path) -> None:
    (block,) = await parse(any_parser, tmp_path, "a.svg", hostile.busy()["drawing.svg"][1]())
    assert block.text == "Valve 7"


async def test_a_list_of_addresses_that_is_cut_says_so(any_parser: Parser, tmp_path: Path) -> None:
    header, _ = await parse(any_parser, tmp_path, "a.eml", hostile.busy()["addresses.eml"][1]())
    assert header.text.startswith("Subject: s; To: A B <a0@b.example>, A B <a1@b.example>")
    assert header.text.endswith("… (and more)")
