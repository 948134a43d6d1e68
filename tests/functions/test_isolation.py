"""Whoever asks whatever, by whichever route, sees what is theirs alone: any route, principal, document, filter, conversation.

Every document holds a word of its own, and many a question one of its asker's. A model that repeats all the words it was
shown answers; neither what it was shown nor what comes back may hold a word that is not for who asks.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from functions.chat.wire import paths
from headrace.auth.api_keys import ApiKeyAuthenticator, new_key
from headrace.buckets.files import S3Files
from headrace.models.openai import OpenAIModel, open_openai_model
from headrace.rate_limits import RateLimits
from headrace.redis_state.api_keys import RedisApiKeys
from headrace.redis_state.limits import RedisRateLimiter
from headrace.types import Principal, Role
from tests.support.http import served
from tests.support.library import Library
from tests.support.openai_server import Script
from tests.support.scale import tries

REQUESTS = tries(1_500, 100_000)
TOPICS = ("kestrel", "osprey", "falcon")
NAMES = tuple(f"plan-{n}.txt" for n in range(6))
GROUPS: tuple[tuple[str, ...], ...] = ((), ("hr",), ("ops",), ("hr", "ops"))
CONVERSATIONS = (None, None, "1", "2")
WORD = re.compile(r"zq[0-9a-f]{12}")


@dataclass
class World:
    """Who there is, what there is, and who may see it by now, and ever could."""

    random: random.Random
    library: Library
    tenants: tuple[str, str]
    principals: list[Principal] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    documents: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    ever: dict[str, set[str]] = field(default_factory=dict)
    own: dict[str, set[str]] = field(default_factory=dict)

    def word(self) -> str:
        return f"zq{self.random.getrandbits(48):012x}"

    async def change(self) -> None:
        """Put, replace, open or close, or remove a document."""
        tenant, name = self.random.choice(self.tenants), self.random.choice(NAMES)
        if (tenant, name) in self.documents and self.random.random() < 0.3:
            del self.documents[tenant, name]
            self.library.tenant = tenant
            await self.library.remove(name)
            return
        word, groups, topic = self.word(), self.random.choice(GROUPS), self.random.choice(TOPICS)
        text = f"The budget of project {topic} is {word} euros, as the board of {topic} has decided."
        await self.library.put(name, text, tenant=tenant, groups=groups)
        self.documents[tenant, name] = (word, groups)
        for asker in self.principals:
            self.ever[asker.id] |= self.readable(asker)

    def visible(self, asker: Principal) -> dict[str, str]:
        """The names of the documents that the asker may see, with their words."""
        return {
            name: word
            for (tenant, name), (word, groups) in self.documents.items()
            if tenant == asker.tenant and asker.may_see(groups)
        }

    def readable(self, asker: Principal) -> set[str]:
        return {*self.visible(asker).values()}


Sent = tuple[str, str, Any]


def anything(world: World, asker: Principal) -> Sent:
    """A request of any kind, sensible or bold."""
    pick = world.random.choice
    name = pick(NAMES)
    other = pick([name, f"documents/{world.tenants[0]}/{name}", f"documents/{world.tenants[1]}/{name}", f"../{name}"])
    mine = world.word() if world.random.random() < 0.5 else ""
    world.own[asker.id].add(mine)
    question = f"What is the budget of project {pick(TOPICS)}? {mine}".strip()
    narrowed: Any = pick(
        [{}, {}, {"name": name}, {"document": f"documents/{pick(world.tenants)}/{name}"}, {"$or": [{"name": n} for n in NAMES]},
         {"name": {"$ne": name}}, {"tenant": pick(world.tenants)}, {"groups": "hr"}, {"labels": "=hr"}]
    )  # fmt: skip
    chat = {"question": question, "filter": narrowed, "conversation_id": pick(CONVERSATIONS)}
    turns = [{"role": "user", "content": f"I ask. {mine}"}, {"role": "assistant", "content": "So."}] * pick([0, 1])
    completion = {"model": "headrace", "messages": [*turns, {"role": "user", "content": question}], "filter": narrowed}
    upload = {"name": name, "groups": list(pick(GROUPS)), "replace": pick([True, False])}
    return pick([
        ("GET", "/documents", None), ("GET", f"/documents/{other}", None), ("GET", f"/files/{other}", None), ("POST", "/chat", chat), ("POST", "/chat", chat),
        ("POST", "/v1/chat/completions", completion | {"stream": pick([True, False])}), ("GET", "/cache/stats", None),
        ("POST", "/documents", upload), ("GET", "/v1/models", None), ("GET", "/readyz", None),
        ("POST", "/feedback", {"answer_id": "0" * 24 + "-" + "0" * 24, "verdict": "wrong"}),
    ])  # fmt: skip


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forms are signed with some key; nobody checks it here."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
async def model(openai_url: str, stack: AsyncExitStack) -> OpenAIModel:
    return await stack.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="m"))


@pytest.fixture
async def world(library: Library, redis: Redis, tenant: str) -> World:
    world = World(random.Random(14), library, (tenant, f"{tenant}-b"))
    for name in world.tenants:
        for n, (role, groups) in enumerate((r, g) for r in Role for g in GROUPS):
            principal = Principal(name, frozenset(groups), f"p{n}-of-{name}", role)
            key, record = new_key(principal)
            await RedisApiKeys(redis).save(record)
            world.principals.append(principal)
            world.keys[principal.id], world.ever[principal.id], world.own[principal.id] = key, set(), {""}
    return world


async def test_nobody_sees_what_is_not_theirs(
    chat_app: Callable[..., Any], redis: Redis, model: OpenAIModel, script: Script, world: World
) -> None:
    script.reply = lambda prompt: f"It is {' and '.join(WORD.findall(prompt))} [1]."
    parts = {
        "authenticator": ApiKeyAuthenticator(RedisApiKeys(redis)),
        "limiter": RedisRateLimiter(redis, RateLimits(10**7, 1000)),
        "files": S3Files("bucket"),
    }
    answered = 0
    async with served(chat_app(model, **parts)) as url, aiohttp.ClientSession() as session:
        for number in range(REQUESTS):
            if number % 10 == 0:
                await world.change()
            asker = world.random.choice(world.principals)
            method, path, body = anything(world, asker)
            script.requests.clear()
            key = {"authorization": f"Bearer {world.keys[asker.id]}"}
            accept = world.random.choice(["application/json", "text/event-stream, */*"]) if path == "/chat" else "*/*"
            async with session.request(method, url + path, json=body, headers={**key, "accept": accept}) as response:
                said = await response.text()
            assert response.status < 500, (method, path, body, said)
            found = set(WORD.findall(said)) - world.own[asker.id]
            assert found <= world.readable(asker), (asker, method, path, body, said)
            answered += bool(found)
            shown = {*WORD.findall(str(script.requests))} - world.own[asker.id]
            assert shown <= world.ever[asker.id], (asker, method, path, body, script.requests)
            if (method, path) == ("GET", "/documents"):
                names = {each["name"].rpartition("/")[2] for each in (await response.json())["documents"]}
                assert names == set(world.visible(asker))
    assert answered > REQUESTS / 20, "few answers held a word at all: the test would see nothing"


async def test_a_hidden_name_is_told_apart_from_a_free_one_by_no_route(
    chat_app: Callable[..., Any], redis: Redis, world: World
) -> None:
    """The same request, word for word, before and after somebody else has a document of that name."""
    parts = {"authenticator": ApiKeyAuthenticator(RedisApiKeys(redis)), "files": S3Files("bucket")}
    asker = next(p for p in world.principals if p.role is Role.WRITER and p.groups == {"ops"})
    requests: list[Sent] = [
        ("GET", "/documents", None), ("GET", "/documents/plan-0.txt", None), ("POST", "/documents", {"name": "plan-0.txt"}),
        ("POST", "/documents", {"name": "plan-0.txt", "replace": True}), ("GET", "/files/plan-0.txt", None), ("DELETE", "/documents/plan-0.txt", None),
        ("POST", "/chat", {"question": "What is the budget of kestrel?", "filter": {"name": "plan-0.txt"}}),
    ]  # fmt: skip
    headers = {"authorization": f"Bearer {world.keys[asker.id]}", "accept": "application/json"}

    async def all_said() -> list[Any]:
        said = []
        async with served(chat_app(**parts)) as url, aiohttp.ClientSession(headers=headers) as session:
            for method, path, body in requests:
                async with session.request(method, url + path, json=body) as response:
                    said.append((response.status, shape(await response.json())))
        return said

    free = await all_said()
    await world.library.put(
        "plan-0.txt", "The budget of project kestrel is 7 euros.", tenant=asker.tenant, groups=("hr",)
    )
    assert await all_said() == free


def shape(value: Any) -> Any:
    """A response without what is new each time: signatures, dates, ids."""
    fresh = {"policy", "x-amz-signature", "x-amz-date", "expires_at", "x-amz-credential", "x-amz-meta-create-only"}
    fresh |= {"conversation_id", "answer_id", "took_seconds"}
    if isinstance(value, dict):
        return {name: type(each).__name__ if name in fresh else shape(each) for name, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else value


async def test_strangers_get_401_everywhere_but_where_the_door_is_open(
    chat_app: Callable[..., Any], redis: Redis, world: World
) -> None:
    keys = RedisApiKeys(redis)
    app = chat_app(authenticator=ApiKeyAuthenticator(keys), files=S3Files("bucket"))
    revoked, gone = new_key(world.principals[-1])
    expired, late = new_key(world.principals[-1], expires_at=1.0)
    await keys.save(late)
    await keys.save(gone)
    await keys.revoke(gone.id)
    held = next(iter(world.keys.values()))
    strangers = [
        {}, {"authorization": f"Bearer {revoked}"}, {"authorization": f"Bearer {expired}"}, {"authorization": f"Bearer {held[:-1]}{'1' if held[-1] == '0' else '0'}"},
        {"authorization": f"Basic {held}"}, {"authorization": held}, {"x-api-key": held[:40]}, {"authorization": "Bearer " + "a.b.c"},
        {"cookie": f"key={held}"}, {"authorization": f"Bearer headrace_{'0' * 16}_{'0' * 64}"},
    ]  # fmt: skip
    async with served(app) as url, aiohttp.ClientSession() as session:
        for _ in range(300):
            method, path, body = anything(world, world.principals[-1])
            headers = world.random.choice(strangers)
            async with session.request(method, url + path, json=body, headers=headers) as response:
                assert response.status == 401, (method, path, headers)
                assert not WORD.search(await response.text())
        for path in paths.OPEN_PATHS:
            async with session.get(url + path) as response:
                assert response.status == 200
