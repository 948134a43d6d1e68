"""Each Lua script by itself, on a real server: what it writes, what it returns, and when it refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from headrace.redis_state.layout import (
    CHECKSUM_CHARACTERS,
    accounts,
    counters_key,
    current_value,
    entry_key,
    index_keys,
    partition_key,
    registry_key,
    rejected_key,
    scores_key,
    warm_key,
)
from headrace.redis_state.scripts import FOLDER, script, source

PARTITION = "a" * 16
ENTRY, OTHER = "1" * 24, "2" * 24
DOCUMENT = "documents/acme/a.txt"
MODEL = "all-MiniLM-L6-v2"
TTL_MS = 60_000


class State:
    """One tenant's keys, and the scripts on them."""

    def __init__(self, client: Redis, tenant: str) -> None:
        self.client = cast("Any", client)
        self.tenant = tenant
        self.registry = registry_key(tenant)
        self.accounts = list(accounts(tenant))
        self.index = index_keys(tenant)
        self.partition = partition_key(tenant, PARTITION)

    def entry(self, name: str = ENTRY) -> str:
        return entry_key(self.tenant, PARTITION, name)

    async def run(self, name: str, keys: list[str], *args: str | float) -> Any:
        return await script(self.client, name)(keys=keys, args=list(args))

    async def field(self, key: str, name: str) -> str | None:
        value = await self.client.hget(key, name)
        return None if value is None else value.decode()

    async def counters(self) -> dict[str, int | float]:
        held = await self.client.hgetall(counters_key(self.tenant))
        return {name.decode(): float(value) for name, value in held.items() if float(value)}

    async def open(self, **documents: int) -> None:
        """A registry in which these documents are current, at revision 7."""
        shown = {f"c:{name}": current_value(generation, ()) for name, generation in documents.items()}
        await self.client.hset(self.registry, mapping={"epoch": "e", "revision": 7, "model": MODEL, **shown})

    async def remember(
        self, name: str = ENTRY, *, revision: int = 7, kind: str = "local", documents: Mapping[str, int] | None = None
    ) -> Any:
        named = [part for key, n in (documents or {}).items() for part in (key, current_value(n, ()))]
        fields: dict[str, str | float] = {
            "version": name[:12], "created": 1.0, "documents": json.dumps(named), "admission_score": 0.5,
            "question": f"question {name[0]}", "body": "body",
        }  # fmt: skip
        keys = [self.registry, *self.accounts[:2], self.entry(name), self.partition]
        member = f"{PARTITION}:{name}:100"
        args: list[str | float] = [
            revision,
            name,
            member,
            "life",
            '{"groups":[]}',
            kind,
            PARTITION,
            "row" if kind == "local" else "",
        ]
        args += [TTL_MS, TTL_MS, 30, 1000]
        return await self.run("remember", keys, *args, *(part for pair in fields.items() for part in pair))

    async def find(self, name: str = ENTRY, *, kind: str = "exact", known: str = "", alias: str = "", asked: str = "",
                   position: tuple[str, int, str] = ("", 0, "")) -> Any:  # fmt: skip
        keys = [self.registry, *self.accounts, rejected_key(self.tenant), self.partition, self.entry(name)]
        return await self.run("find", keys, 1, *position, f"1:{kind}:{known}:{alias}:{asked} ")

    async def accept(self, asked: str, *, version: str = ENTRY[:12], most: int = 16) -> Any:
        keys = [self.registry, *self.accounts[:2], self.entry(), self.partition]
        return await self.run("accept", keys, version, ENTRY, asked, "0.91", 12, most)


@pytest.fixture
def state(redis: Redis, tenant: str) -> State:
    return State(redis, tenant)


async def test_begin_attempt(state: State) -> None:
    first = await state.run("begin_attempt", [state.registry], DOCUMENT, MODEL)
    second = await state.run("begin_attempt", [state.registry], DOCUMENT, MODEL)
    assert second > first > 1_700_000_000 * 1_000_000, "microseconds since the epoch, and rising"
    assert await state.field(state.registry, f"a:{DOCUMENT}") == str(second)
    assert await state.run("begin_attempt", [state.registry], DOCUMENT, "another") == MODEL.encode()
    await state.client.hset(state.registry, "attempt", second + 10**12)
    third = await state.run("begin_attempt", [state.registry], DOCUMENT, MODEL)
    assert third == second + 10**12 + 1, "a clock that stands behind takes nothing back"


async def test_save_document(state: State) -> None:
    attempt = await state.run("begin_attempt", [state.registry], DOCUMENT, MODEL)
    await state.client.hset(state.registry, "epoch", "e")

    async def save(record: str, shown: str, *, number: int = attempt, answers: str = "", model: str = MODEL) -> Any:
        keys = [state.registry, *state.accounts, *state.index]
        label = record and "ready\x1fhr"
        return await state.run("save_document", keys, DOCUMENT, number, record, label, shown, 5, model, answers)

    assert await save("reading", "") == 1
    assert await state.field(state.registry, "revision") is None, "what searches see has not changed"
    assert await save("ready", current_value(1, ())) == 1
    revision = await state.field(state.registry, "revision")
    assert revision is not None
    assert await state.field(state.registry, "fresh_from") == revision, "without a plan every answer is in doubt"
    assert await state.field(state.registry, "watermark") == "5"
    assert await save("other", "", number=attempt - 1) == 0, "an older attempt writes nothing"
    assert await save("ready", "", number=attempt - 1) == 1, "unless what it wrote stands already"
    assert await save("ready", current_value(2, ()), model="another") == MODEL.encode()
    await state.client.hset(state.registry, "answers", 1)
    assert await save("ready", current_value(2, ()), answers="0") == 2, "an answer came that the plan does not know"
    assert await state.field(state.registry, "revision") == revision
    assert await save("ready", current_value(2, ()), answers="1") == 1
    assert await state.field(state.registry, "fresh_from") == revision, "the plan says which answers leave"
    assert await save("", "") == 1
    assert await state.client.hget(state.registry, f"a:{DOCUMENT}") is None
    assert await state.client.hget(state.registry, f"c:{DOCUMENT}") is None


async def test_page_documents(state: State) -> None:
    names, counts, changes, *states = state.index
    ready, failed = states[3], states[4]

    async def page(shown: str = names, prefix: str = "", after: str = "", limit: int = 10) -> Any:
        return await state.run("page_documents", [state.registry, names, shown, counts], prefix, after, limit)

    async def save(document: str, label: str) -> None:
        attempt = await state.run("begin_attempt", [state.registry], document, MODEL)
        keys = [state.registry, *state.accounts, *state.index]
        record = label and json.dumps({"state": label.split("\x1f", maxsplit=1)[0], "groups": label.split("\x1f")[1:]})
        assert await state.run("save_document", keys, document, attempt, record, label, "", 0, MODEL, "") == 1

    assert await page() == 0, "there is no index yet"
    await save("d/a", "ready")
    await save("d/c", "failed\x1fhr\x1fops")
    assert await page() == 0, "it begins when somebody asks"
    assert await state.run("index_documents", [state.registry, *state.index]) == 2
    await save("d/b", "ready")
    await save("e/a", "ready\x1fhr")
    await save("d/c", "ready")
    keys, records, counted, size = await page()
    assert keys == [b"d/a", b"d/b", b"d/c", b"e/a"]
    assert [json.loads(record)["state"] for record in records] == ["ready"] * 4
    assert dict(zip(counted[::2], counted[1::2], strict=True)) == {b"ready": b"3", b"ready\x1fhr": b"1"}
    assert size == 4
    assert (await page(limit=2))[0] == [b"d/a", b"d/b"]
    assert (await page(after="d/b"))[0] == [b"d/c", b"e/a"]
    assert (await page(prefix="d/", after="d/a"))[0] == [b"d/b", b"d/c"]
    assert (await page(prefix="e", after="d/a"))[0] == [b"e/a"]
    assert (await page(shown=failed))[:2] == [[], []]
    await save("d/a", "")
    await save("d/b", "failed")
    assert (await page(shown=failed))[0] == [b"d/b"]
    assert (await page(shown=ready))[0] == [b"d/c", b"e/a"]
    written = [fields[b"k"] for _, fields in await state.client.xrange(changes)]
    assert written == [b"d/a", b"d/c", b"d/b", b"e/a", b"d/c", b"d/a", b"d/b"]
    await state.client.zrem(names, "d/c")
    assert await page() == 0, "a part was lost"


async def test_index_documents(state: State) -> None:
    names, counts, _, *states = state.index
    records = {"r:a": {"state": "ready", "groups": []}, "r:b": {"state": "failed", "groups": ["hr", "ops"]}}
    await state.client.hset(state.registry, mapping={name: json.dumps(record) for name, record in records.items()})
    await state.client.zadd(names, {"left over": 0})
    for _ in range(2):
        assert await state.run("index_documents", [state.registry, *state.index]) == 2
        assert await state.client.zrange(names, 0, -1) == [b"a", b"b"]
        assert await state.client.hgetall(counts) == {b"ready": b"1", b"failed\x1fhr\x1fops": b"1"}
        assert [await state.client.zrange(key, 0, -1) for key in states] == [[], [], [], [b"a"], [b"b"]]
        assert await state.field(state.registry, "l:b") == "failed\x1fhr\x1fops"


async def test_switch_model(state: State) -> None:
    await state.open()
    assert await state.run("switch_model", [state.registry], "new", 6, 99) == 0, "something changed since"
    assert await state.run("switch_model", [state.registry], "new", 7, 99) == 1
    model, watermark, revision, fresh_from = await state.client.hmget(
        state.registry, "model", "watermark", "revision", "fresh_from"
    )
    assert (model, watermark) == (b"new", b"99")
    assert revision == fresh_from
    assert int(revision) > 7


async def test_distrust(state: State) -> None:
    await state.open()
    await state.remember()
    assert await state.run("distrust", [state.registry]) == 1
    assert await state.field(state.registry, "epoch") is None
    _, found, _ = await state.find()
    assert found == [[b"miss"]]


async def test_remember(state: State) -> None:
    assert await state.remember() == b"lost", "without a registry nothing says what is current"
    await state.open()
    assert await state.remember(revision=6) == b"changed"
    assert await state.counters() == {}
    assert await state.remember() == [b"100", b"1"]
    assert await state.remember() == [b"100", b"1"], "another answer to the question takes the place"
    await state.accept(OTHER)
    await state.client.delete(state.entry())
    assert await state.remember() == [b"100", b"1"], "it expired"
    _, found, _ = await state.find(OTHER, kind="")
    assert found == [[b"miss"]], "what a judge said of the answer before, it did not say of this one"
    assert await state.remember(OTHER) == [b"200", b"2"]
    counters = await state.counters()
    assert (counters["bytes"], counters["entries"], counters["remembered"]) == (200, 2, 4)
    assert await state.field(state.registry, "answers") == "4"
    assert await state.field(state.registry, "partitions") == f"{PARTITION}/local "
    assert 0 < await state.client.pttl(state.entry()) <= TTL_MS
    assert await state.field(state.entry(), "incarnation") == "life"
    await state.client.hset(state.registry, "partitions", "x" * 1001)
    await state.client.delete(state.partition)
    assert await state.remember() == b"full"
    assert await state.field(state.partition, "seq") is None


async def test_find(state: State) -> None:
    await state.open(**{DOCUMENT: 1})
    await state.remember(documents={DOCUMENT: 1})
    revision, [[verdict, version, made_at, body, *_]], [log] = await state.find()
    assert (revision, verdict, version, made_at, body) == (b"7", b"fresh", ENTRY[:12].encode(), b"7", b"body")
    assert log[:2] == [b"life", 1], "its log has one change"
    _, [known], _ = await state.find(known=ENTRY[:12])
    assert len(known) == 3, "a version that the caller has is not sent again"
    assert (await state.counters())["lookups"] == (await state.counters())["exact"] == 2
    _, [candidate], _ = await state.find(kind="", asked=OTHER)
    assert candidate[0] == b"fresh"
    assert (await state.counters())["lookups"] == 2, "a candidate is no lookup"
    rejected = f"{PARTITION}:{OTHER}:{ENTRY}:{ENTRY[:12]}"
    await state.client.zadd(rejected_key(state.tenant), {rejected: 1})
    _, found, _ = await state.find(kind="", asked=OTHER)
    assert found == [[b"rejected"]]
    await state.client.hset(state.registry, "fresh_from", 8)
    _, [stale], _ = await state.find()
    assert stale[0] == b"stale"
    assert (await state.counters())["exact"] == 2, "a stale entry is no hit yet"
    await state.client.hset(state.registry, f"c:{DOCUMENT}", current_value(2, ()))
    _, found, _ = await state.find()
    assert found == [[b"miss"]]
    assert not await state.client.exists(state.entry()), "it was made from a version that is not current"
    assert (await state.counters())["invalidated:changed"] == 1
    assert await state.client.zcard(warm_key(state.tenant)) == 1, "it had hits"
    await state.remember(documents={DOCUMENT: 2})
    await state.client.hset(state.partition, "incarnation", "another life")
    _, found, _ = await state.find()
    assert found == [[b"miss"]]
    assert (await state.counters())["invalidated:orphaned"] == 1


async def test_accept(state: State) -> None:
    await state.open(**{DOCUMENT: 1})
    await state.remember(documents={DOCUMENT: 1})
    assert await state.accept(OTHER, version="another") == 0
    assert await state.accept(OTHER) == 1
    counters = await state.counters()
    assert (counters["judged"], counters["judge_tokens"], counters["semantic"]) == (2, 24, 1)
    _, found, _ = await state.find(OTHER)
    assert found == [[b"alias", ENTRY.encode(), b"0.91"]]
    _, [entry], _ = await state.find(ENTRY, alias=OTHER)
    assert entry[0] == b"fresh"
    for number in range(3, 6):
        assert await state.accept(str(number) * 24, most=2) == 1
    _, found, _ = await state.find(OTHER)
    assert found == [[b"miss"]], "the oldest one made room"
    _, found, _ = await state.find("5" * 24)
    assert found[0][0] == b"alias"
    await state.client.hset(state.registry, f"c:{DOCUMENT}", current_value(2, ()))
    assert await state.accept(OTHER) == 0, "documents changed while the judge read"
    _, found, _ = await state.find(ENTRY, alias="5" * 24)
    assert found == [[b"miss"]]
    _, found, _ = await state.find("5" * 24)
    assert found == [[b"miss"]], "what a judge said of an answer leaves with it"


async def test_reject(state: State) -> None:
    keys = [rejected_key(state.tenant), counters_key(state.tenant)]
    assert await state.run("reject", keys, 1.0, 60, 2, 12, "a", "b") == 1
    assert await state.run("reject", keys, 2.0, 60, 2, 12, "c") == 1
    assert await state.client.zrange(keys[0], 0, -1) == [b"b", b"c"], "the oldest one made room"
    assert 0 < await state.client.ttl(keys[0]) <= 60
    assert await state.counters() == {"judged": 2, "judge_tokens": 24}


async def test_revalidate(state: State) -> None:
    await state.open(**{DOCUMENT: 1})
    await state.remember(documents={DOCUMENT: 1})
    keys = [state.registry, state.entry(), *state.accounts[:2]]
    assert await state.run("revalidate", keys, "another", 9) == 0
    assert await state.run("revalidate", keys, ENTRY[:12], 9) == 1
    assert await state.field(state.entry(), "revision") == "9"
    assert await state.run("revalidate", keys, ENTRY[:12], 8) == 1
    assert await state.field(state.entry(), "revision") == "9", "it never goes back"
    await state.client.hset(state.registry, f"c:{DOCUMENT}", current_value(2, ()))
    assert await state.run("revalidate", keys, ENTRY[:12], 10) == 0, "a document changed since the search"
    assert (await state.counters())["exact"] == 2


async def test_invalidate(state: State) -> None:
    await state.open()
    await state.remember()
    await state.find()
    keys = [*state.accounts, state.entry(), state.partition, state.entry(OTHER), state.partition]
    assert await state.run("invalidate", keys, "wrong", "1", ENTRY, OTHER) == 1, "only one of them was there"
    counters = await state.counters()
    assert counters["invalidated:wrong"] == 1
    assert "bytes" not in counters
    [warm] = await state.client.zrange(warm_key(state.tenant), 0, -1)
    assert warm == b'{"groups":[]}\nquestion 1'


async def test_audit(state: State) -> None:
    await state.open(**{DOCUMENT: 1})
    await state.remember(documents={DOCUMENT: 1})
    await state.remember(OTHER)
    expired, replaced = f"{PARTITION}:{'3' * 24}:100", f"{PARTITION}:{OTHER}:99"
    await state.client.zadd(scores_key(state.tenant), {expired: 1, replaced: 1})
    await state.client.hset(state.registry, f"c:{DOCUMENT}", current_value(2, ()))
    listed = [(f"{PARTITION}:{ENTRY}:100", ENTRY), (f"{PARTITION}:{OTHER}:100", OTHER), (expired, "3" * 24)]
    listed += [(replaced, OTHER)]
    keys = [state.registry, *state.accounts]
    keys += [key for _, name in listed for key in (state.entry(name), state.partition)]
    args = [part for pair in listed for part in pair]
    verdicts = [b"changed", b"fresh", b"expired", b"replaced"]
    assert await state.run("audit", keys, "1", *args) == verdicts
    assert await state.client.zcard(scores_key(state.tenant)) == 4, "a dry run only looks"
    assert await state.run("audit", keys, "0", *args) == verdicts
    assert await state.client.zrange(scores_key(state.tenant), 0, -1) == [f"{PARTITION}:{OTHER}:100".encode()]
    await state.client.hset(state.registry, "fresh_from", 8)
    assert await state.run("audit", [*keys[:4], *keys[6:8]], "0", *args[2:4]) == [b"stale"]
    await state.client.hset(state.partition, "incarnation", "another life")
    assert await state.run("audit", [*keys[:4], *keys[6:8]], "0", *args[2:4]) == [b"orphaned"]
    assert not await state.client.exists(state.entry(OTHER))


async def test_evict(state: State) -> None:
    await state.open()
    await state.remember()
    member = f"{PARTITION}:{ENTRY}:100"
    score = await state.client.zscore(scores_key(state.tenant), member)
    keys = [*state.accounts[:2], state.entry(), state.partition]
    assert await state.run("evict", keys, member, ENTRY) == 1
    assert await state.run("evict", keys, member, ENTRY) == 0
    assert not await state.client.exists(state.entry())
    assert (await state.counters())["clock"] == pytest.approx(score), "what comes later begins from here"


async def test_recount(state: State) -> None:
    await state.open()
    await state.remember()
    keys = state.accounts[:2]
    assert await state.run("recount", keys) == 0
    await state.client.zadd(scores_key(state.tenant), {f"{PARTITION}:{OTHER}:50": 1})
    assert await state.run("recount", keys) == 1
    counters = await state.counters()
    assert (counters["entries"], counters["bytes"]) == (2, 150)


async def test_log_since(state: State) -> None:
    async def since(incarnation: str, number: int, checksum: str) -> Any:
        return await state.run("log_since", [state.partition], incarnation, number, checksum)

    assert await since("", 0, "") == [b"", 0, b""], "there is no such partition"
    await state.open()
    await state.remember()
    _, _, checksum = await since("", 0, "")
    await state.remember(OTHER)
    _, number, _, [change] = await since("life", 1, checksum)
    assert number == 2
    assert change[CHECKSUM_CHARACTERS:] == b"+row"
    assert len(await since("life", 1, "0" * 12)) == 3, "a failover rewrote the log"
    assert len(await since("life", 3, checksum)) == 3, "it is shorter than what the caller knows"
    assert len(await since("another", 1, checksum)) == 3


async def test_compact(state: State) -> None:
    await state.open()
    await state.remember()
    await state.remember(OTHER)
    _, _, checksum = await state.run("log_since", [state.partition], "", 0, "")
    assert await state.run("compact", [state.partition], "life", 1, 2, checksum, 0, "block") == 0, "packed meanwhile"
    assert await state.run("compact", [state.partition], "life", 0, 2, "0" * 12, 0, "block") == 0, "another log"
    assert await state.run("compact", [state.partition], "life", 0, 2, checksum, 0, "block") == 1
    fields = {name.decode() for name in await state.client.hkeys(state.partition)}
    assert {name for name in fields if name[1] == ":"} == {"b:0"}
    await state.remember("3" * 24)
    assert len((await state.run("log_since", [state.partition], "life", 2, checksum))[3]) == 1


async def test_forget_partitions(state: State) -> None:
    await state.open()
    await state.remember()
    gone = partition_key(state.tenant, "b" * 16)
    await state.client.hset(state.registry, "partitions", f"{PARTITION}/local {'b' * 16}/local ")
    names = [f"{PARTITION}/local", f"{'b' * 16}/local"]
    left = await state.run("forget_partitions", [state.registry, state.partition, gone], *names)
    assert left == f"{PARTITION}/local ".encode()


async def test_append_turns(state: State) -> None:
    keys = [f"{{{state.tenant}}}:{name}" for name in ("conversation", "conversations", "titles", "gone")]
    key, names, titles, _ = keys
    assert await state.run("append_turns", keys, 3, 60, 2, "one", "First?", 1000, "a", "b") == 0
    assert await state.run("append_turns", keys, 3, 60, 2, "one", "Second?", 1010, "c", "d") == 0
    assert await state.client.lrange(key, 0, -1) == [b"b", b"c", b"d"]
    assert 0 < await state.client.ttl(key) <= 60
    assert await state.client.zrange(names, 0, -1, withscores=True) == [[b"one", 1010.0]]
    assert await state.client.hgetall(titles) == {b"one": b"First?"}
    for number, name in enumerate(("two", "three")):
        gone = await state.run("append_turns", keys, 3, 60, 2, name, "?", 1020 + number, "a")
    assert gone == 1
    assert await state.client.zrange(names, 0, -1) == [b"two", b"three"], "the oldest of too many is listed no longer"
    assert await state.run("append_turns", keys, 3, 60, 2, "late", "?", 2000, "a") == 2
    assert await state.client.hgetall(titles) == {b"late": b"?"}, "nor is what has expired"
    assert await state.run("append_turns", keys, 3, 60, 2, "", "?", 2001, "a") == 0
    assert await state.client.zrange(names, 0, -1) == [b"late"], "one without a name is not listed"
    assert 0 < await state.client.ttl(names) <= 60
    assert 0 < await state.client.ttl(titles) <= 60


async def test_delete_conversation(state: State) -> None:
    keys = [f"{{{state.tenant}}}:{name}" for name in ("conversation", "conversations", "titles", "gone")]
    assert await state.run("delete_conversation", keys, "one", 60) == 0
    assert not await state.client.exists(keys[3])
    await state.run("append_turns", keys, 3, 60, 2, "one", "?", 1000, "a", "b")
    assert await state.run("delete_conversation", keys, "one", 60) == 1
    assert [await state.client.exists(key) for key in keys] == [0, 0, 0, 1]
    assert await state.run("append_turns", keys, 3, 60, 2, "one", "?", 1001, "c") == -1, "it does not come back"
    assert not await state.client.exists(keys[0])
    assert 0 < await state.client.ttl(keys[3]) <= 60


async def test_admit(state: State) -> None:
    use, places = f"{{{state.tenant}}}:use", f"{{{state.tenant}}}:open"

    async def admit(name: str, *, rate: int = 2, most_open: int = 5, tokens: int = 0, day: int = 7) -> Any:
        return await state.run("admit", [use, places], rate, most_open, tokens, day, name, 5000)

    assert (await admit("a"))[:2] == [b"ok", 1]
    assert (await admit("b"))[:2] == [b"ok", 0]
    verdict, wait_ms = await admit("c")
    assert verdict == b"requests"
    assert 29_000 < wait_ms <= 30_000
    assert await admit("c", most_open=2) == [b"streams"], "what is refused takes no place"
    await state.client.hset(use, mapping={"day": 7, "tokens": 100})
    assert await admit("c", tokens=100) == [b"tokens"]
    assert (await admit("c", tokens=100, day=8))[0] == b"requests", "another day"
    assert (await admit("c", rate=0))[0] == b"requests"
    # Places of processes that died run out.
    await state.client.zadd(places, {"a": 1, "b": 1})
    await state.client.hdel(use, "due")
    assert (await admit("c", rate=100, most_open=1))[0] == b"ok"
    assert await state.client.zrange(places, 0, -1) == [b"c"]
    assert 0 < await state.client.pttl(places) <= 5000


async def test_release(state: State) -> None:
    use, places = f"{{{state.tenant}}}:use", f"{{{state.tenant}}}:open"
    await state.client.zadd(places, {"a": 10**15, "b": 10**15})
    await state.run("release", [use, places], "a", 0, 7)
    assert await state.client.zrange(places, 0, -1) == [b"b"]
    assert not await state.client.exists(use)
    for tokens in (30, 12):
        await state.run("release", [use, places], "b", tokens, 7)
    assert await state.client.hmget(use, "day", "tokens") == [b"7", b"42"]
    await state.run("release", [use, places], "b", 5, 8)
    assert await state.client.hmget(use, "day", "tokens") == [b"8", b"5"], "a new day begins at nothing"


async def test_lead_flight(state: State) -> None:
    lease, messages = f"{{{state.tenant}}}:flight:lease", f"{{{state.tenant}}}:flight"
    await state.client.xadd(messages, {"m": "of an earlier flight"})
    assert await state.run("lead_flight", [lease, messages], "me", 5000) == 1
    assert not await state.client.exists(messages)
    await state.client.xadd(messages, {"m": "mine"})
    assert await state.run("lead_flight", [lease, messages], "me", 5000) == 1, "sent twice"
    assert await state.client.exists(messages)
    assert await state.run("lead_flight", [lease, messages], "you", 5000) == 0
    assert await state.client.get(lease) == b"me+"
    assert await state.run("lead_flight", [lease, messages], "me", 5000) == 1, "sent once more"
    assert 0 < await state.client.pttl(lease) <= 5000


async def test_follow_flight(state: State) -> None:
    lease, messages = f"{{{state.tenant}}}:flight:lease", f"{{{state.tenant}}}:flight"
    assert await state.run("follow_flight", [lease]) == 0, "nobody leads"
    await state.run("lead_flight", [lease, messages], "me", 5000)
    for _ in range(2):
        assert await state.run("follow_flight", [lease]) == 1
        assert await state.client.get(lease) == b"me+"
    assert 0 < await state.client.pttl(lease) <= 5000


async def test_send_flight(state: State) -> None:
    lease, messages = f"{{{state.tenant}}}:run:lease", f"{{{state.tenant}}}:run"

    async def send(token: str, end: str, before: int, *sent: str) -> Any:
        return await state.run("send_flight", [lease, messages], token, 5000, 60, end, before, *sent)

    assert await send("me", "", 0, "a") == 0, "nobody leads"
    await state.run("lead_flight", [lease, messages], "me", 5000)
    assert await send("you", "", 0, "a") == 0
    assert await send("me", "", 0) == 1, "nobody follows"
    await state.run("follow_flight", [lease])
    assert await send("me", "", 0, "a", "b") == 2
    assert await send("me", "", 0, "a", "b", "c") == 2, "its reply was lost: what is missing is added"
    assert await send("me", "", 4, "e") == 0, "followers lack what came before"
    assert await send("me", "?", 0) == 2, "followers wait for the rest"
    assert await send("me", "1", 3, "d") == 2
    assert [fields[b"m"] for _, fields in await state.client.xrange(messages)] == [b"a", b"b", b"c", b"d"]
    assert not await state.client.exists(lease), "the flight is at its end"
    await state.run("lead_flight", [lease, messages], "me", 5000)
    assert await send("me", "?", 0) == 1
    assert not await state.client.exists(lease)


async def test_append_run(state: State) -> None:
    lease, messages = f"{{{state.tenant}}}:run:lease", f"{{{state.tenant}}}:run"

    async def append(after: int, end: str, *sent: str) -> Any:
        return await state.run("append_run", [lease, messages], after, 5000, 60, end, *sent)

    assert await append(0, "", "a", "b") == 0
    assert 0 < await state.client.pttl(lease) <= 5000
    assert await append(0, "", "a", "b", "c") == 0, "its reply was lost: what is missing is added"
    assert await append(4, "", "e") == -1, "readers lack what came before"
    assert await append(3, "") == 0, "it only goes on"
    assert await state.client.set(lease, "stop", xx=True, keepttl=True)
    assert await append(3, "", "d") == 1
    assert await append(4, "", "e") == 1, "until it has stopped"
    assert await append(5, "1", "f") == 0
    found = await state.client.xrange(messages)
    assert [(id_, fields[b"m"]) for id_, fields in found] == [
        (b"%d-0" % number, b"abcdef"[number - 1 : number]) for number in range(1, 7)
    ]
    assert not await state.client.exists(lease), "the run is at its end"


def test_a_script_says_what_it_does_and_brings_the_functions_that_it_requires() -> None:
    for path in sorted(FOLDER.rglob("*.lua")):
        head = [line for line in path.read_text().splitlines()[:4] if line.startswith("-- ")]
        assert [line for line in head if not line.startswith("-- requires:")], f"{path.name} does not say what it does"
    whole = source("find")
    defined = [line.split("function ")[1].split("(")[0] for line in whole.splitlines() if "local function " in line]
    assert len(defined) == len(set(defined)), "each once"
    assert {"log_change", "delete_entry", "count_hit", "is_current", "log_since"} <= set(defined)
    assert f"1, {CHECKSUM_CHARACTERS})" in (FOLDER / "shared" / "log.lua").read_text()


def test_every_script_has_a_test_here() -> None:
    assert {f"test_{path.stem}" for path in FOLDER.glob("*.lua")} <= set(globals())
