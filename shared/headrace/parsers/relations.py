"""How the parts of an Office file refer to each other. Reference: ECMA-376, part 2, 6.5 (Relationships)."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from posixpath import dirname, join, normpath

from headrace.parsers.archives import part_of, xml_of


def relations(archive: zipfile.ZipFile, part: str) -> Iterator[tuple[str, str, str]]:
    """The kind (`comments`), the name and the id of each part within the archive that a part refers to; of the archive: ''."""
    part = part.lstrip("/")
    content = part_of(archive, join(dirname(part), "_rels", f"{part.rpartition('/')[2]}.rels"), missing=b"")
    if not content:
        return
    names = set(archive.namelist())
    for relation in xml_of(content).iter("{*}Relationship"):
        target = relation.get("Target", "")
        name = target.lstrip("/") if target.startswith("/") else normpath(join(dirname(part), target))
        if name in names and relation.get("TargetMode") != "External":
            yield relation.get("Type", "").rpartition("/")[2], name, relation.get("Id", "")
