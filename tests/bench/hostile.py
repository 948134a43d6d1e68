"""What files that mean to keep their reader busy take: state, sentence, processor time and peak memory of each.

HEADRACE_WRITE_DOCS=1 writes the table into docs/formats.md.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from headrace.errors import HeadraceError
from headrace.parsers.process import ProcessParser, open_process_parser
from headrace.settings import Settings
from tests.support import hostile

PAGE = Path("docs/formats.md")
BEGIN, END = "<!-- made by HEADRACE_WRITE_DOCS=1 make bench BENCH=hostile -->\n", "<!-- end of what it made -->\n"
HEAD = "\n| file | what is wrong with it | state | processor, s | memory, MB |\n| --- | --- | --- | --- | --- |\n"


class Uses(logging.Handler):
    """Keeps what the parser's log says that each file took."""

    def __init__(self) -> None:
        super().__init__()
        self.by_name: dict[str, dict[str, Any]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg.startswith("Read ") and isinstance(record.args, tuple):
            name, use = record.args
            if isinstance(name, str) and isinstance(use, dict):
                self.by_name[name] = use


async def run() -> None:
    """Read each file, as ingest would, and print a row for it."""
    uses = Uses()
    log = logging.getLogger("headrace.parsers.process")
    log.setLevel(logging.INFO)
    log.addHandler(uses)
    settings = Settings()
    rows = []
    print(HEAD.strip())
    async with open_process_parser(
        timeout_seconds=settings.parse_timeout_seconds,
        cpu_seconds=settings.parse_cpu_seconds,
        memory_bytes=settings.parse_memory_bytes,
        ocr_languages=settings.ocr_languages,
    ) as parser:
        for name, (wrong, make) in hostile.busy().items():
            state = await outcome(parser, name, await asyncio.to_thread(make))
            use = uses.by_name[name]
            rows.append(f"| {name} | {wrong} | {state} | {use['seconds']:.1f} | {use['peak_bytes'] / 1e6:.0f} |")
            print(rows[-1], flush=True)
    if os.environ.get("HEADRACE_WRITE_DOCS"):
        await asyncio.to_thread(write, "\n".join(rows))


async def outcome(parser: ProcessParser, name: str, content: bytes) -> str:
    """The state that ingest would give the file, and why."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "document"
        await asyncio.to_thread(path.write_bytes, content)
        try:
            parsed = await parser.parse(path, name=name, content_type="")
        except HeadraceError as error:
            return f"`failed`: {error}"
    return f"`ready`, {len(parsed.blocks):,} block{'' if len(parsed.blocks) == 1 else 's'}"


def write(rows: str) -> None:
    """Put the table into its page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}{HEAD}{rows}\n\n{END}{after}")
