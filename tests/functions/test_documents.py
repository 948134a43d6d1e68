"""The routes about documents, over HTTP: states and history, progress as events, forms that S3 takes."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import boto3
import pytest
from redis.asyncio import Redis
from yarl import URL

from headrace.buckets.files import S3Files
from headrace.redis_state.registry import RedisRegistry
from headrace.types import Document, DocumentKey, DocumentState, Principal, Role, Step
from infra.local.bucket import CREDENTIALS
from tests.support.http import served, sse_events

EVENTS = {"accept": "text/event-stream"}


@pytest.fixture
def bucket_name(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": aws_url}.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    bucket = boto3.client("s3")
    bucket.create_bucket(Bucket=name)
    bucket.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


@pytest.fixture
async def url(chat_app: Callable[..., Any], bucket_name: str, stack: AsyncExitStack) -> str:
    return await stack.enter_async_context(served(chat_app(files=S3Files(bucket_name), max_document_bytes=1000)))


async def put_record(registry: RedisRegistry, document: Document) -> None:
    attempt = await registry.begin(DocumentKey(document.key), embedding_model="m")
    await registry.save(document, attempt)


async def get(url: str, accept: str = "application/json") -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(url, headers={"accept": accept}) as response:
        return response.status, await response.json()


async def post(url: str, **body: Any) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/documents", json=body) as response:
        return response.status, await response.json()


async def send(form: dict[str, Any], content: bytes, **changed: str) -> int:
    data = aiohttp.FormData({**form["fields"], **changed})
    data.add_field("file", content, filename="file")
    async with aiohttp.ClientSession() as session, session.post(form["url"], data=data) as response:
        return response.status


async def test_a_form_puts_a_file_into_the_bucket_with_its_labels(url: str, bucket_name: str, tenant: str) -> None:
    status, form = await post(url, name="guides/pump.txt", content_type="text/plain", tags=["policy", "2026"])
    assert status == 201
    assert (form["key"], form["max_bytes"]) == (f"documents/{tenant}/guides/pump.txt", 1000)
    assert await send(form, b"The pump.") in {200, 201, 204}
    found = await asyncio.to_thread(boto3.client("s3").get_object, Bucket=bucket_name, Key=form["key"])
    assert (found["Metadata"].pop("create-only")[16], found["ContentType"]) == ("-", "text/plain")
    assert found["Metadata"] == {"tags": "policy, 2026"}
    assert await asyncio.to_thread(found["Body"].read) == b"The pump."


async def test_a_form_says_what_s3_will_hold_it_to(url: str) -> None:
    """The emulator does not check a policy; S3 does. So the policy itself is read."""
    import base64
    import json

    _, form = await post(url, name="a.txt", tags=["x"])
    policy = json.loads(base64.b64decode(form["fields"]["policy"]))
    assert ["content-length-range", 1, 1000] in policy["conditions"]
    assert {"x-amz-meta-tags": "x"} in policy["conditions"]
    assert {"key": form["key"]} in policy["conditions"]
    assert {"x-amz-signature", "x-amz-credential", "x-amz-date"} <= form["fields"].keys()


@pytest.mark.parametrize(
    "name",
    ["../x", "a//b", "/a", "a/", ".", "a/../b", "a\u0000b", "a\u202eb", "groups=hr/a", "a.metadata.json", "${filename}", "x/${filename}", "é" * 600, "x" * 1001, ""],
)  # fmt: skip
async def test_a_name_that_could_lead_elsewhere_is_refused(url: str, name: str) -> None:
    status, body = await post(url, name=name)
    assert (status, body["error"]["param"]) == (400, "name")


@pytest.mark.parametrize("labels", [{"groups": ["hr"]}, {"tags": ["a,b"]}, {"tags": ["ü"]}, {"tags": [" "]}])
async def test_labels_that_are_not_the_askers_or_no_names_are_refused(url: str, labels: dict[str, Any]) -> None:
    status, body = await post(url, name="a.txt", **labels)
    assert (status, body["error"]["param"]) == (400, next(iter(labels)))


async def test_a_name_that_is_hidden_is_not_told_apart_from_a_free_one(
    url: str, registry: RedisRegistry, tenant: str
) -> None:
    await put_record(registry, Document(f"documents/{tenant}/plan.txt", DocumentState.READY, groups=("hr",)))
    answers = [
        await post(url, name=name, replace=replace) for name in ("plan.txt", "free.txt") for replace in (False, True)
    ]
    assert [status for status, _ in answers] == [201] * 4
    shapes = {(form["url"], form["max_bytes"], *sorted(form["fields"])) for _, form in answers}
    assert len(shapes) == 1
    # All four may replace nothing: ingest holds them to it (test_ingest.py).
    assert all("x-amz-meta-create-only" in form["fields"] for _, form in answers)


async def test_a_form_overwrites_nothing_unless_it_says_so(url: str, registry: RedisRegistry, tenant: str) -> None:
    await put_record(registry, Document(f"documents/{tenant}/plan.txt", DocumentState.READY))
    status, body = await post(url, name="plan.txt")
    assert (status, body["error"]["code"], body["error"]["param"]) == (409, "conflict", "name")
    assert "replace: true" in body["error"]["message"]
    status, form = await post(url, name="plan.txt", replace=True)
    assert status == 201
    assert "x-amz-meta-create-only" not in form["fields"]


async def test_the_default_tenants_folders_are_not_other_tenants(
    chat_app: Callable[..., Any], bucket_name: str
) -> None:
    app = chat_app(files=S3Files(bucket_name), max_document_bytes=10, principal=Principal(role=Role.WRITER))
    async with served(app) as url:
        keys = [(await post(url, name=name))[1]["key"] for name in ("a.txt", "acme/a.txt")]
    assert keys == ["documents/a.txt", "documents/default/acme/a.txt"]
    assert {DocumentKey(key).tenant for key in keys} == {"default"}


async def uploaded(bucket_name: str, key: str, content: str, **more: Any) -> str:
    """The version of the object that is put there."""
    put = partial(boto3.client("s3").put_object, Bucket=bucket_name, Key=key, Body=content.encode(), **more)
    return str((await asyncio.to_thread(put))["VersionId"])


async def read(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(URL(url, encoded=True)) as response:
        return response.status, (await response.read()).decode()


async def test_a_link_reads_the_file_and_shows_nothing_that_could_run(
    url: str, bucket_name: str, registry: RedisRegistry, tenant: str
) -> None:
    kinds = {
        "plän 1.pdf": ("application/pdf", "inline"), "ä.txt": ("text/plain; charset=utf-8", "inline"),
        "page.html": ("application/octet-stream", "attachment"),
    }  # fmt: skip
    for name, (kind, shown) in kinds.items():
        key = f"documents/{tenant}/{name}"
        version = await uploaded(bucket_name, key, name, ContentType="text/html")
        await put_record(registry, Document(key, DocumentState.READY, generation=1, version_id=version))
        status, link = await get(f"{url}/files/{quote(name)}")
        assert (status, link["key"]) == (200, key)
        assert 200 < link["expires_at"] - time.time() <= 300
        assert await read(link["url"]) == (200, name)
        # The emulator forgets these where a version is asked for; S3 honours them, as signed.
        asked = dict(URL(link["url"], encoded=True).query)
        assert (asked["versionId"], asked["response-content-type"]) == (version, kind)
        assert asked["response-content-disposition"].startswith(shown)
        status, _ = await read(link["url"].replace(quote(name), "other.pdf"))
        assert status == 403, "it reads this file alone"


async def test_a_link_reads_the_version_whose_readers_are_known(
    url: str, bucket_name: str, registry: RedisRegistry, tenant: str
) -> None:
    """What a stranger, or somebody for fewer, has put in its place meanwhile is not what the record speaks of."""
    key = f"documents/{tenant}/plan.txt"
    version = await uploaded(bucket_name, key, "The plan.")
    await put_record(registry, Document(key, DocumentState.READY, generation=1, version_id=version))
    await uploaded(bucket_name, key, "For the board alone.", Metadata={"groups": "board"})
    _, link = await get(f"{url}/files/plan.txt")
    assert (await read(link["url"]))[1] == "The plan."
    for state, of in (
        (DocumentState.FAILED, version),
        (DocumentState.QUEUED, version),
        (DocumentState.READY, "null"),
        (DocumentState.READY, None),
    ):
        await put_record(registry, Document(key, state, generation=1, version_id=of))
        status, body = await get(f"{url}/files/plan.txt")
        assert (status, body["error"]["code"]) == (409, "conflict")


async def test_what_is_deleted_goes_from_the_bucket_with_its_labels(
    url: str, bucket_name: str, registry: RedisRegistry, tenant: str
) -> None:
    bucket = boto3.client("s3")
    for name in ("a.txt", "a.txt.metadata.json", "b.txt"):
        await uploaded(bucket_name, f"documents/{tenant}/{name}", "{}")
    await put_record(registry, Document(f"documents/{tenant}/a.txt", DocumentState.READY, sidecar="etag"))
    async with aiohttp.ClientSession() as session:
        async with session.delete(f"{url}/documents/a.txt") as response:
            assert response.status == 202
            assert (await response.json())["name"] == "a.txt"
        async with session.delete(f"{url}/documents/never.txt") as response:
            assert response.status == 404
    left = await asyncio.to_thread(bucket.list_objects_v2, Bucket=bucket_name)
    assert [each["Key"] for each in left["Contents"]] == [f"documents/{tenant}/b.txt"]


async def test_readers_delete_nothing_and_who_may_not_see_a_document_neither_reads_nor_deletes_it(
    chat_app: Callable[..., Any], bucket_name: str, registry: RedisRegistry, tenant: str
) -> None:
    await put_record(registry, Document(f"documents/{tenant}/plan.txt", DocumentState.READY, groups=("hr",)))
    await put_record(registry, Document(f"documents/{tenant}/open.txt", DocumentState.READY))
    for role, statuses in ((Role.READER, [403, 403]), (Role.WRITER, [404, 202])):
        app = chat_app(files=S3Files(bucket_name), principal=Principal(tenant, role=role))
        async with served(app) as url, aiohttp.ClientSession() as session:
            for name, status in zip(("plan.txt", "open.txt"), statuses, strict=True):
                async with session.delete(f"{url}/documents/{name}") as response:
                    assert response.status == status
            async with session.get(f"{url}/files/plan.txt") as response:
                assert response.status == 404


async def test_who_is_in_some_of_the_groups_of_a_document_that_nobody_may_read_does_not_delete_it(
    chat_app: Callable[..., Any], bucket_name: str, registry: RedisRegistry, tenant: str
) -> None:
    """A folder for hr and metadata for the board: nobody may read it, and both know of it."""
    await put_record(registry, Document(f"documents/{tenant}/a.txt", DocumentState.FAILED, groups=("board", "hr")))
    for groups, status in (({"hr"}, 403), ({"hr", "board"}, 202)):
        asker = Principal(tenant, frozenset(groups), "ann", Role.WRITER)
        async with served(chat_app(files=S3Files(bucket_name), principal=asker)) as url:
            async with aiohttp.ClientSession() as session, session.delete(f"{url}/documents/a.txt") as response:
                assert response.status == status


async def test_without_a_bucket_to_sign_for_it_says_where_files_go(chat_app: Callable[..., Any]) -> None:
    async with served(chat_app()) as url:
        status, body = await post(url, name="a.txt")
    assert status == 503
    assert "bucket" in body["error"]["message"]


async def test_a_document_tells_its_history(url: str, registry: RedisRegistry, tenant: str) -> None:
    steps = (Step(1.0, DocumentState.QUEUED), Step(2.0, DocumentState.FAILED, "It is empty."))
    key = f"documents/{tenant}/sub/a b+é.txt"
    await put_record(registry, Document(key, DocumentState.FAILED, reason="It is empty.", history=steps, tags=("x",)))
    for name in ("sub/a b+é.txt", key):
        status, body = await get(f"{url}/documents/{name}")
        assert (status, body["state"], body["tags"]) == (200, "failed", ["x"])
    assert [(step["state"], step["reason"]) for step in body["history"]] == [("queued", ""), ("failed", "It is empty.")]


async def test_what_is_not_the_askers_is_not_there(url: str, registry: RedisRegistry, tenant: str) -> None:
    other = f"{tenant}-other"
    await put_record(registry, Document(f"documents/{other}/a.txt", DocumentState.READY))
    await put_record(registry, Document(f"documents/{tenant}/hr.txt", DocumentState.READY, groups=("hr",)))
    answers = [await get(f"{url}/documents/{name}") for name in ("none.txt", f"documents/{other}/a.txt", "hr.txt")]
    assert {status for status, _ in answers} == {404}
    assert len({str(body) for _, body in answers}) == 1


async def test_progress_comes_as_events_until_the_document_is_settled(
    url: str, registry: RedisRegistry, tenant: str
) -> None:
    document = Document(f"documents/{tenant}/a.txt", DocumentState.EMBEDDING, progress=0.25)
    await put_record(registry, document)
    seen: list[tuple[str, Any]] = []
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/documents/a.txt", headers={"accept": "text/event-stream"}) as response,
    ):
        async for event in sse_events(response):
            seen.append((event.name, event.data.get("progress")))
            if len(seen) == 1:
                await put_record(registry, Document(document.key, DocumentState.EMBEDDING, progress=0.75))
            if len(seen) == 2:
                await put_record(registry, Document(document.key, DocumentState.READY, chunks=4, generation=1))
    assert seen == [("document", 0.25), ("document", 0.75), ("document", None), ("end", None)]


async def test_all_documents_can_be_watched(url: str, registry: RedisRegistry, tenant: str) -> None:
    key = f"documents/{tenant}/a.txt"
    await put_record(registry, Document(key, DocumentState.QUEUED))
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/documents", headers={"accept": "text/event-stream"}) as response,
    ):
        events = sse_events(response)
        assert (await anext(events)).data["state"] == "queued"
        assert (await anext(events)).data["queued"] == 1
        await registry.remove(await registry.begin(DocumentKey(key), embedding_model="m"))
        gone, counts, end = [await anext(events) for _ in range(3)]
    assert (gone.name, gone.data) == ("gone", {"key": key})
    assert (counts.name, counts.data["queued"], end.name) == ("counts", 0, "end")


async def test_documents_come_in_pages_of_those_that_the_asker_may_see(
    url: str, registry: RedisRegistry, tenant: str
) -> None:
    names = [f"{folder}/{number:03}.txt" for folder in ("a", "b") for number in range(150)]
    for number, name in enumerate(names):
        state = DocumentState.FAILED if number % 10 == 0 else DocumentState.READY
        groups = ("hr",) if number % 3 == 0 else ()
        await put_record(registry, Document(f"documents/{tenant}/{name}", state, groups=groups))
    visible = [name for number, name in enumerate(names) if number % 3]

    async def all_pages(**asked: str) -> tuple[list[str], dict[str, int]]:
        found: list[str] = []
        after: str | None = ""
        while after is not None:
            query = urlencode({**asked, "after": after})
            status, body = await get(f"{url}/documents?{query}")
            assert status == 200
            assert len(body["documents"]) <= int(asked.get("limit", 100))
            found += [each["key"].removeprefix(f"documents/{tenant}/") for each in body["documents"]]
            after = body["next"]
        counts: dict[str, int] = body["counts"]
        return found, counts

    failed = [name for number, name in enumerate(names) if number % 3 and number % 10 == 0]
    for limit in ("1000", "100", "37"):
        found, counts = await all_pages(limit=limit)
        assert found == visible
        assert (counts["failed"], counts["ready"]) == (len(failed), len(visible) - len(failed))
    assert (await all_pages(state="failed"))[0] == failed
    assert (await all_pages(prefix=f"documents/{tenant}/b/"))[0] == [name for name in visible if name[0] == "b"]
    assert (await all_pages(prefix=f"documents/{tenant}/b/", state="failed", limit="3"))[0] == [
        name for name in failed if name[0] == "b"
    ]
    assert (await all_pages(prefix="documents/another/"))[0] == []
    for wrong in ("limit=-1", "limit=1001", "limit=x", "state=lost", f"after={'x' * 2000}"):
        status, body = await get(f"{url}/documents?{wrong}")
        assert (status, body["error"]["param"]) == (400, f"query.{wrong.split(chr(61))[0]}")


async def test_who_watches_asks_nothing_while_nothing_changes(
    url: str, registry: RedisRegistry, redis: Redis, tenant: str
) -> None:
    await put_record(registry, Document(f"documents/{tenant}/a.txt", DocumentState.QUEUED))
    async with aiohttp.ClientSession() as session, AsyncExitStack() as stack:
        watching = [
            sse_events(await stack.enter_async_context(session.get(f"{url}/documents", headers=EVENTS)))
            for _ in range(10)
        ]
        for events in watching:
            assert [(await anext(events)).name for _ in range(2)] == ["document", "counts"]
        await asyncio.sleep(0.3)
        before = (await redis.info("stats"))["total_commands_processed"]
        await asyncio.sleep(1.0)
        assert (await redis.info("stats"))["total_commands_processed"] - before < 10
        await put_record(registry, Document(f"documents/{tenant}/b.txt", DocumentState.QUEUED))
        for events in watching:
            changed = await anext(events)
            assert (changed.name, changed.data["name"]) == ("document", "b.txt")
