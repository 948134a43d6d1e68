"""What unstructured passes over in a presentation: charts, diagrams and comments."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

from headrace.parsers.archives import part_of, xml_of
from headrace.parsers.charts import chart_rows, words_of_diagram
from headrace.parsers.grid import plain_row
from headrace.parsers.relations import relations
from headrace.parsers.tables import read_rows
from headrace.types import Block

MAIN = "ppt/presentation.xml"
R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"


def beside_slides(path: Path) -> Iterator[list[Block]]:
    """For each slide in their order, the blocks that stand beside its text."""
    with zipfile.ZipFile(path) as archive:
        parts = {key: part for kind, part, key in relations(archive, MAIN) if kind == "slide"}
        for slide in xml_of(part_of(archive, MAIN)).iter("{*}sldId"):
            part = parts.get(slide.get(f"{R}id"))
            yield list(_beside(archive, part)) if part else []


def _beside(archive: zipfile.ZipFile, slide: str) -> Iterator[Block]:
    for kind, part, _ in relations(archive, slide):
        if kind == "chart":
            title, rows = chart_rows(xml_of(part_of(archive, part)))
            yield from [Block(title)] if title else []
            yield from read_rows(map(plain_row, rows))
        elif kind == "diagramData":
            yield from (Block(text) for text in words_of_diagram(xml_of(part_of(archive, part))))
        elif kind == "comments":
            texts = (" ".join(" ".join(comment.itertext()).split()) for comment in xml_of(part_of(archive, part)))
            yield from (Block(f"Comment: {text}") for text in texts if text)
