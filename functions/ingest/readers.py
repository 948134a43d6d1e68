"""Who may see a document: what its folder and its metadata say, together."""

from __future__ import annotations

from dataclasses import replace

from headrace.errors import DocumentError
from headrace.types import Document, DocumentKey, ObjectVersion


def readers_of(version: ObjectVersion) -> tuple[str, ...]:
    """The groups that may see an object; none: everybody of its tenant.

    The object's metadata may narrow what its `groups=` folder says, never widen it. Raises DocumentError when nobody
    is left.
    """
    folder, given = DocumentKey(version.key).groups, version.groups
    if folder is None:
        return given
    readers = tuple(sorted(set(folder) & set(given))) if given else folder
    if not readers:
        raise DocumentError(
            "Nobody may see this file: its folder and its metadata name no group in common. Name one in both."
        )
    return readers


def known_to(version: ObjectVersion) -> tuple[str, ...]:
    """The groups that may know of an object at all: its readers, or whoever is named where nobody may read it."""
    try:
        return readers_of(version)
    except DocumentError:
        return tuple(sorted({*(DocumentKey(version.key).groups or ()), *version.groups}))


def narrowed(document: Document, groups: tuple[str, ...]) -> Document:
    """The document while its next version, for these groups, is on its way.

    Whoever loses it loses the old version at once; whoever gains it waits for the new one.
    """
    if document.generation is None or not document.groups:
        return replace(document, groups=groups)
    if not groups:
        return document
    both = tuple(sorted(set(document.groups) & set(groups)))
    return replace(document, groups=both) if both else replace(document, groups=groups, generation=None, chunks=0)
