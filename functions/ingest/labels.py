"""A document's labels: who may see it and what it is about, as its folder, its metadata and its sidecar say together."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from headrace.errors import DocumentError
from headrace.protocols import Bucket
from headrace.types import NO_READERS, SIDECAR_SUFFIX, Document, DocumentKey, ObjectVersion, Sidecar, read_names

MAX_SIDECAR_BYTES = 100_000
MAX_NAMES = 100
MAX_NAME_CHARACTERS = 200


async def observe(key: DocumentKey, bucket: Bucket) -> ObjectVersion | None:
    """What the bucket holds of a document now, its sidecar included; None when it holds nothing."""
    seen = await bucket.head(key.key)
    return None if seen is None else replace(seen, sidecar=await read_sidecar(key, bucket))


async def read_sidecar(key: DocumentKey, bucket: Bucket) -> Sidecar | None:
    """The document's sidecar, if it has one; what can't be understood says so in `fault`."""
    found = await bucket.read(key.sidecar, max_bytes=MAX_SIDECAR_BYTES + 1)
    if found is None:
        return None
    version, content = found
    try:
        groups, tags = _read(content)
    except DocumentError as error:
        return Sidecar(version.etag, fault=f"The file's {SIDECAR_SUFFIX} can't be used: {error}. Correct it.")
    return Sidecar(version.etag, groups, tags)


def readers_of(version: ObjectVersion) -> tuple[str, ...]:
    """The groups that may see an object; none: everybody of its tenant.

    The folder, the object's metadata and the sidecar each narrow what the others say, never widen it. Raises
    DocumentError when nobody is left, or when it can't be known.
    """
    if version.sidecar is not None and version.sidecar.fault:
        raise DocumentError(version.sidecar.fault)
    given = _given(version)
    if not given:
        return ()
    readers = tuple(sorted(set.intersection(*map(set, given))))
    if not readers:
        raise DocumentError(
            "Nobody may see this file: its folder, its metadata and its sidecar name no group in common. Name one in each."
        )
    return readers


def known_to(version: ObjectVersion) -> tuple[str, ...]:
    """The groups that may know of an object at all: its readers, or whoever is named where nobody may read it."""
    try:
        return readers_of(version)
    except DocumentError:
        # Where a sidecar says who, but nobody can read what, nobody is to know.
        return tuple(sorted({group for groups in _given(version) for group in groups})) or NO_READERS


def tags_of(version: ObjectVersion) -> tuple[str, ...]:
    """The tags that the object's metadata and its sidecar name."""
    return tuple(sorted({*version.tags, *(version.sidecar.tags if version.sidecar else ())}))


def sidecar_etag(version: ObjectVersion) -> str:
    """The version of the sidecar; empty when there is none."""
    return version.sidecar.etag if version.sidecar else ""


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


def _given(version: ObjectVersion) -> list[tuple[str, ...]]:
    folder = DocumentKey(version.key).groups
    beside = version.sidecar.groups if version.sidecar else ()
    return [*([] if folder is None else [folder]), *(groups for groups in (version.groups, beside) if groups)]


def _read(content: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Groups and tags. Also reads Bedrock's form, which puts everything below `metadataAttributes`."""
    if len(content) > MAX_SIDECAR_BYTES:
        raise DocumentError(f"it has more than {MAX_SIDECAR_BYTES:,} bytes")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise DocumentError("it is not valid JSON") from None
    if isinstance(value, dict) and "metadataAttributes" in value:
        if value.keys() & {"groups", "tags"}:
            raise DocumentError("it has groups or tags both in and beside metadataAttributes")
        value = value["metadataAttributes"]
    if not isinstance(value, dict):
        raise DocumentError('it must be an object, such as {"groups": ["hr"], "tags": ["policy"]}')
    return _names(value, "groups"), _names(value, "tags")


def _names(value: dict[str, Any], field: str) -> tuple[str, ...]:
    given = value.get(field, [])
    if isinstance(given, str):
        given = list(read_names(given))
    names = given if isinstance(given, list) and all(isinstance(name, str) for name in given) else None
    if names is None or len(names) > MAX_NAMES or any("," in name or len(name) > MAX_NAME_CHARACTERS for name in names):
        raise DocumentError(
            f"{field!r} must be a list of at most {MAX_NAMES} names of at most {MAX_NAME_CHARACTERS} characters, without commas"
        )
    if field in value and field == "groups" and not read_names(",".join(names)):
        raise DocumentError("'groups' names nobody; leave it out to open the file to everybody")
    return read_names(",".join(names))
