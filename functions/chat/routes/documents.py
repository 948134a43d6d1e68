"""The routes about documents: their states, how they come along, and forms to upload with."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from functions.chat.dependencies import ChatDependencies, Deadline, Dependencies, Reader, Writer
from functions.chat.faults import write_fault
from functions.chat.listing import Shown, changes_of
from functions.chat.responses import EventResponse
from functions.chat.wire import schemas, sse
from functions.chat.wire.bodies import UploadBody
from headrace.errors import ConflictError, ForbiddenError, InvalidInputError, UnavailableError
from headrace.protocols import Files
from headrace.types import (
    DEFAULT_TENANT,
    DOCUMENTS_PREFIX,
    GROUPS_FOLDER,
    SIDECAR_SUFFIX,
    Document,
    DocumentKey,
    DocumentState,
    Principal,
)

MAX_KEY_BYTES = 1024
# What S3 calls the version of an object in a bucket that keeps none.
UNVERSIONED = "null"
USUALLY_LISTED = 100
MOST_LISTED = 1000


def add_document_routes(app: FastAPI) -> None:
    """`GET` and `POST /documents`, `GET` and `DELETE /documents/{name}`, and `GET /files/{name}`."""

    @app.get("/documents")
    async def documents(  # noqa: PLR0917 - FastAPI passes by name
        request: Request,
        deps: Dependencies,
        asker: Reader,
        deadline_seconds: Deadline,
        limit: Annotated[int, Query(ge=0, le=MOST_LISTED)] = USUALLY_LISTED,
        after: Annotated[str, Query(max_length=MAX_KEY_BYTES)] = "",
        prefix: Annotated[str, Query(max_length=MAX_KEY_BYTES)] = "",
        state: DocumentState | None = None,
    ) -> Response:
        """A page of the documents that the asker may see, by key, and how many there are in each state.

        With `Accept: text/event-stream`, also what changes, until all states are final.
        """
        shown = Shown(deps.answering.registry, asker, prefix, state)
        if _wants_events(request):
            return _watched(shown, after, limit, deadline_seconds)
        return JSONResponse(await shown.page(after, limit))

    @app.get("/documents/{name:path}")
    async def document(
        name: str, request: Request, deps: Dependencies, asker: Reader, deadline_seconds: Deadline
    ) -> Response:
        """One document with its history; with `Accept: text/event-stream`, how it comes along until its state is final."""
        found = await _find(name, deps, asker)
        if not _wants_events(request):
            return JSONResponse(schemas.document_payload(found, history=True))
        shown = Shown(deps.answering.registry, asker, found.key, None, is_one=True)
        return _watched(shown, "", 1, deadline_seconds)

    @app.delete("/documents/{name:path}", status_code=202)
    async def remove(name: str, deps: Dependencies, asker: Writer) -> dict[str, Any]:
        """Delete the document's file, and its labels; ingest, which hears of it, then forgets the document."""
        found = await _find(name, deps, asker)
        # Of one that is not ready, the groups are those that may know of it: whoever is in some of them may see less than it has.
        if found.state is not DocumentState.READY and not asker.groups.issuperset(found.groups):
            raise ForbiddenError(
                "The document is not ready, and you are not in all of its groups. Ask somebody who is."
            )
        await _files(deps).remove([found.key, *([DocumentKey(found.key).sidecar] if found.sidecar else [])])
        return {"name": found.name, "key": found.key}

    @app.get("/files/{name:path}")
    async def file(name: str, deps: Dependencies, asker: Reader) -> dict[str, Any]:
        """A link that reads the document's file in the bucket, for a few minutes: the version that its passages are from."""
        found = await _find(name, deps, asker)
        files = _files(deps)
        if found.state is not DocumentState.READY:
            raise ConflictError(
                "The document is not ready, and until then nobody knows who may read its file. Try again then."
            )
        if found.version_id in {None, "", UNVERSIONED}:
            raise ConflictError(
                "The bucket keeps no versions, so nobody knows whose file lies there now. Turn versioning on, and put the file there again."
            )
        url, expires_at = await files.link(found.key, str(found.version_id))
        return {"name": found.name, "key": found.key, "url": url, "expires_at": expires_at}

    @app.post("/documents", status_code=201)
    async def upload(body: UploadBody, deps: Dependencies, asker: Writer) -> dict[str, Any]:
        """A form with which the file can be put into the bucket: what it is called and who may see it is signed."""
        files = _files(deps)
        key = key_of(body.name, asker)
        metadata = {name: ", ".join(given) for name, given in (("groups", body.groups), ("tags", body.tags)) if given}
        _check_labels(body, asker)
        known = await deps.answering.registry.get(key)
        # A name that is hidden from the asker is not told apart from a free one; ingest keeps the document that has it.
        is_visible = known is not None and asker.may_see(known.groups)
        if is_visible and not body.replace:
            raise ConflictError(
                "There is a document of this name. Send `replace: true` to put another in its place, or choose another name.",
                param="name",
            )
        form = await files.form(
            key.key,
            metadata=metadata,
            content_type=body.content_type,
            max_bytes=deps.max_document_bytes,
            create_only=not is_visible,
        )
        return schemas.upload_payload(key, form, max_bytes=deps.max_document_bytes)


def key_of(name: str, asker: Principal) -> DocumentKey:
    """The document of that name among the asker's. Raises InvalidInputError for a name that could not be one."""
    # A folder's name in the default tenant would be another tenant's.
    alone = asker.tenant == DEFAULT_TENANT and "/" not in name
    key = DocumentKey(f"{DOCUMENTS_PREFIX}{name}" if alone else f"{DOCUMENTS_PREFIX}{asker.tenant}/{name}")
    why = _why_not(name, key)
    if why or key.tenant != asker.tenant or not key.is_document:
        raise InvalidInputError(f"A document can't be called that: {why or 'it has no name'}.", param="name")
    return key


def _why_not(name: str, key: DocumentKey) -> str:
    segments = name.split("/")
    if any(unicodedata.category(character) in {"Cc", "Cs", "Cf"} for character in name):
        return "its name has characters that can't be seen"
    if "${" in name:
        return "S3 would fill in what stands between ${ and }"
    if any(segment in {"", ".", ".."} for segment in segments):
        return "a part of its path is empty, . or .."
    if len(key.key.encode()) > MAX_KEY_BYTES:
        return f"its name has more than {MAX_KEY_BYTES} bytes with its folder"
    if name.endswith(SIDECAR_SUFFIX):
        return f"names that end in {SIDECAR_SUFFIX} are those of labels; give groups and tags here"
    return (
        "folders that begin with groups= are made in the bucket"
        if any(segment.startswith(GROUPS_FOLDER) for segment in segments)
        else ""
    )


def _check_labels(body: UploadBody, asker: Principal) -> None:
    for param, names in (("groups", body.groups), ("tags", body.tags)):
        # Metadata are HTTP headers: what is not ASCII can't be one.
        if any("," in name or not name.strip() or not name.isascii() or not name.isprintable() for name in names):
            raise InvalidInputError("A name in it is empty, has a comma, or is not ASCII.", param=param)
    strange = sorted(set(body.groups) - asker.groups)
    if strange:
        raise InvalidInputError(f"You are not in the group {strange[0]!r}, and would not see the file.", param="groups")


def _files(deps: ChatDependencies) -> Files:
    if deps.files is None:
        raise UnavailableError(
            "This deployment deals with no files here. Put them into its bucket, and read them there."
        )
    return deps.files


async def _find(name: str, deps: ChatDependencies, asker: Principal) -> Document:
    """The document of that name or key. Raises InvalidInputError for what can't be one, HTTPException for a stranger."""
    key = key_of(name, asker) if not name.startswith(DOCUMENTS_PREFIX) else DocumentKey(name)
    found = await deps.answering.registry.get(key) if key.tenant == asker.tenant else None
    if found is None or not asker.may_see(found.groups):
        raise HTTPException(404, "There is no such document. GET /documents lists those that there are.")
    return found


def _wants_events(request: Request) -> bool:
    return "text/event-stream" in request.headers.get("accept", "")


def _watched(shown: Shown, after: str, limit: int, deadline_seconds: float) -> EventResponse:
    stream = sse.EventStream(
        changes_of(shown, after, limit, deadline_seconds),
        write=lambda change: sse.encode(change[1], event=change[0]),
        write_error=write_fault,
        deadline_seconds=deadline_seconds,
    )
    return EventResponse(stream, {})
