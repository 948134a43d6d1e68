"""Conversations: follow-ups that stand alone before they are searched for, and messages that ask nothing of the documents.

The model double reads by a table. Which passage is found for what it writes is the product's own work, on real embeddings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from headrace.answering.dialogue import DialogueManager
from headrace.answering.prompt import CHARACTERS_PER_TOKEN, MOST_HISTORY_TOKENS, recent
from headrace.models.openai import OpenAIModel, open_openai_model
from headrace.types import Document, DocumentKey, DocumentState, Message, Principal, Question
from tests.support import prompts
from tests.support.http import served, sse_events
from tests.support.library import Library
from tests.support.openai_server import Script, openai_app

LIBRARY = {
    "leave.md": "Parents may take 26 weeks of parental leave. It is paid for the first 14 weeks.",
    "fathers.md": "Fathers may take 4 weeks of paternity leave around the birth of the child.",
    "holiday.md": "Employees get 30 days of annual holiday a year. Unused days expire at the end of March.",
    "alpha.md": "The Alpha pump weighs 48 kg and costs 500 EUR. It moves 40 litres a minute.",
    "beta.md": "The Beta pump weighs 62 kg and costs 900 EUR. It moves 75 litres a minute.",
    "bearing.md": "The main bearing of the turbine takes 18 litres of turbine oil, which is changed every 4,000 hours.",
    "gearbox.md": "The gearbox takes 7 litres of gear oil, which is changed every 8,000 hours.",
    "mieter.md": "Die Kündigungsfrist für Mieter beträgt drei Monate zum Monatsende.",
    "vermieter.md": "Die Kündigungsfrist für Vermieter beträgt sechs Monate, wenn der Mieter länger als fünf Jahre dort wohnt.",
    "germany.md": "Hotel costs in Germany are paid up to 120 EUR a night.",
    "usa.md": "Hotel costs in the United States are paid up to 190 USD a night.",
    "vpn.md": "The VPN error ERR_42 means that the certificate has expired. Renew it in the portal.",
    "observatory.md": "The observatory is open to visitors on Friday evenings. A guided tour takes 90 minutes.",
}
Q_LEAVE, Q_PUMP, Q_OIL = (
    "How long is parental leave?",
    "What does the Alpha pump cost?",
    "How much oil does the main bearing take?",
)
Q_NOTICE, Q_HOTEL = "Wie lang ist die Kündigungsfrist für Mieter?", "What is paid for hotels in Germany?"
Q_VPN, Q_TOUR, Q_HOLIDAY = (
    "What does ERR_42 mean?",
    "When is the observatory open?",
    "How many days of annual holiday do employees get?",
)
# First question, follow-up, what it is by itself, and the document that answers it.
FOLLOW_UPS = (
    # Pronouns.
    (Q_LEAVE, "For how long is it paid?", "For how many weeks is parental leave paid?", "leave.md"),
    (Q_PUMP, "How heavy is it?", "How heavy is the Alpha pump?", "alpha.md"),
    (Q_PUMP, "How much does it move?", "How many litres a minute does the Alpha pump move?", "alpha.md"),
    (Q_OIL, "How often is it changed?", "How often is the turbine oil of the main bearing changed?", "bearing.md"),
    (Q_NOTICE, "Gilt sie zum Monatsende?", "Gilt die Kündigungsfrist für Mieter zum Monatsende?", "mieter.md"),
    (Q_VPN, "Where do I renew it?", "Where do I renew the expired certificate of the VPN?", "vpn.md"),
    (Q_TOUR, "How long does a tour of it take?", "How long does a guided tour of the observatory take?", "observatory.md"),
    (Q_HOLIDAY, "When do they expire?", "When do unused days of annual holiday expire?", "holiday.md"),
    ("What does the Beta pump cost?", "And what does it weigh?", "What does the Beta pump weigh?", "beta.md"),
    ("How much oil does the gearbox take?", "When is that changed?", "When is the gear oil of the gearbox changed?", "gearbox.md"),
    # Ellipsis.
    (Q_LEAVE, "And for fathers?", "How long is paternity leave for fathers?", "fathers.md"),
    (Q_PUMP, "And the Beta?", "What does the Beta pump cost?", "beta.md"),
    (Q_PUMP, "In kilograms?", "What does the Alpha pump weigh in kilograms?", "alpha.md"),
    (Q_OIL, "And the gearbox?", "How much oil does the gearbox take?", "gearbox.md"),
    (Q_NOTICE, "Und für Vermieter?", "Wie lang ist die Kündigungsfrist für Vermieter?", "vermieter.md"),
    (Q_HOTEL, "And in the United States?", "What is paid for hotels in the United States?", "usa.md"),
    ("What is paid for hotels in the USA?", "In Germany?", "What is paid for hotels in Germany?", "germany.md"),
    ("How long is paternity leave?", "And all of parental leave?", "How long is parental leave?", "leave.md"),
    ("What does the Beta pump weigh?", "The Alpha?", "What does the Alpha pump weigh?", "alpha.md"),
    ("Wie lang ist die Kündigungsfrist für Vermieter?", "Und bei Mietern?", "Wie lang ist die Kündigungsfrist für Mieter?", "mieter.md"),
    # Topic changes.
    (Q_LEAVE, Q_PUMP, Q_PUMP, "alpha.md"),
    (Q_PUMP, Q_NOTICE, Q_NOTICE, "mieter.md"),
    (Q_OIL, Q_VPN, Q_VPN, "vpn.md"),
    (Q_NOTICE, Q_HOTEL, Q_HOTEL, "germany.md"),
    (Q_HOTEL, Q_TOUR, Q_TOUR, "observatory.md"),
    (Q_VPN, Q_HOLIDAY, Q_HOLIDAY, "holiday.md"),
    (Q_TOUR, Q_OIL, Q_OIL, "bearing.md"),
    (Q_HOLIDAY, Q_LEAVE, Q_LEAVE, "leave.md"),
    (Q_LEAVE, "Something else: what does the Beta pump weigh?", "What does the Beta pump weigh?", "beta.md"),
    (Q_PUMP, "Andere Frage: Wie lang ist die Kündigungsfrist für Vermieter?", "Wie lang ist die Kündigungsfrist für Vermieter?", "vermieter.md"),
    # Corrections.
    (Q_PUMP, "Sorry, I meant the Beta.", "What does the Beta pump cost?", "beta.md"),
    (Q_OIL, "No, of the gearbox.", "How much oil does the gearbox take?", "gearbox.md"),
    (Q_HOTEL, "I meant the United States.", "What is paid for hotels in the United States?", "usa.md"),
    (Q_NOTICE, "Nein, ich bin der Vermieter.", "Wie lang ist die Kündigungsfrist für Vermieter?", "vermieter.md"),
    (Q_LEAVE, "I am the father, not the mother.", "How long is paternity leave for fathers?", "fathers.md"),
    (Q_HOLIDAY, "Not how many, when do they expire!", "When do unused days of annual holiday expire?", "holiday.md"),
    (Q_VPN, "I mean the VPN's error 42.", "What does the VPN error ERR_42 mean?", "vpn.md"),
    (Q_TOUR, "Not when, how long does the tour take?", "How long does a guided tour of the observatory take?", "observatory.md"),
)  # fmt: skip
SMALL_TALK = (
    (None, "hi"), (None, "Hello!"), (None, "thanks"), (None, "What can you do?"), (None, "Wer bist du?"), (None, "Guten Morgen"),
    (None, "Who made you?"), (None, "ok"), (Q_LEAVE, "thanks a lot"), (Q_LEAVE, "Translate your last answer into German."),
    (Q_PUMP, "Can you say that in one word?"), (Q_OIL, "Danke, das war alles."), (Q_NOTICE, "Übersetze das ins Englische."),
    (Q_HOTEL, "Are you sure?"), (Q_VPN, "Explain that more simply."), (Q_TOUR, "Repeat that, please."), (Q_HOLIDAY, "great"),
    (Q_LEAVE, "What was my first question?"), (Q_PUMP, "Bye"), (Q_OIL, "Fasse deine Antwort kürzer."), (Q_VPN, "lol"), (Q_TOUR, "👍"),
)  # fmt: skip


def read(prompt: str) -> dict[str, str]:
    """What a model reads a message as, by the tables."""
    (message,) = prompts.framed(prompt, "message")
    asked = prompts.framed(prompt, "question")
    if any(message == said for _, said in SMALL_TALK):
        return {"kind": "conversation", "question": message}
    alone = {(first, follow): by_itself for first, follow, by_itself, _ in FOLLOW_UPS}
    return {"kind": "documents", "question": alone.get((asked[-1], message), message) if asked else message}


@pytest.fixture
async def model(openai_url: str, script: Script, stack: AsyncExitStack) -> OpenAIModel:
    script.read = read
    script.reply = lambda prompt: "It is so [1]." if "<passage" in prompt else "With pleasure."
    return await stack.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="m"))


@pytest.fixture
async def url(chat_app: Callable[..., Any], model: OpenAIModel, library: Library, stack: AsyncExitStack) -> str:
    for name, text in LIBRARY.items():
        await library.put(name, text)
    return await stack.enter_async_context(served(chat_app(model, reader=model)))


async def asked(url: str, question: str, conversation: str | None = None) -> dict[str, Any]:
    """The answer's events by name; of statuses all that they say."""
    said: dict[str, Any] = {"status": {}, "text": ""}
    body = {"question": question, **({"conversation_id": conversation} if conversation else {})}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/chat", json=body) as response:
        assert response.status == 200, await response.text()
        async for event in sse_events(response):
            if event.name == "status":
                said["status"] |= event.data
            elif event.name == "token":
                said["text"] += event.data["text"]
            else:
                said[event.name] = event.data
    return said


async def test_sixty_conversations_keep_their_thread(url: str, script: Script) -> None:
    assert len(FOLLOW_UPS) + len(SMALL_TALK) == 60
    lost = []
    for first, follow, alone, document in FOLLOW_UPS:
        begun = await asked(url, first)
        said = await asked(url, follow, begun["done"]["conversation_id"])
        names = [passage["name"] for passage in said["passages"]["passages"]]
        if names[:1] != [document]:
            lost.append((follow, names))
        if follow != alone:
            assert said["status"]["question"] == alone, "who asks sees what is searched for"
            assert said["status"]["reading_tokens"] > 0
        assert said["done"]["mode"] == "generated"
        again = await asked(url, alone)
        assert again["done"]["cached"] is True, "what it is by itself is what the cache knows"
    assert len(lost) <= len(FOLLOW_UPS) * 0.05, lost
    for before, message in SMALL_TALK:
        conversation = (await asked(url, before))["done"]["conversation_id"] if before else None
        said = await asked(url, message, conversation)
        assert (said["done"]["mode"], said["text"]) == ("conversation", "With pleasure."), message
        assert said["passages"]["passages"] == []
    for request in script.choices():
        rules = prompts.outside("\n".join(str(message["content"]) for message in request["messages"]))
        assert not any(message in rules for _, message in SMALL_TALK if len(message) > 8), "messages are data"


async def test_a_first_question_that_finds_its_passage_is_not_read_by_another_model(url: str, script: Script) -> None:
    said = await asked(url, Q_LEAVE)
    assert said["done"]["mode"] == "generated"
    assert script.choices() == []


async def test_what_is_translated_or_shortened_is_before_the_model(url: str, script: Script) -> None:
    begun = await asked(url, Q_LEAVE)
    await asked(url, "Translate your last answer into German.", begun["done"]["conversation_id"])
    sent = script.answers()[-1]["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "user"]
    assert sent[2]["content"] == "It is so [1]."


@pytest.mark.parametrize("failure", ["slow", "nonsense", "down"])
async def test_a_message_that_can_not_be_read_is_searched_for_as_it_stands(
    chat_app: Callable[..., Any], model: OpenAIModel, library: Library, script: Script, stack: AsyncExitStack, failure: str
) -> None:  # fmt: skip
    await library.put("leave.md", LIBRARY["leave.md"])
    reader = Script(read=lambda _: {"kind": "what"}, fail=["overloaded"] * 9 if failure == "down" else [])
    reader.choose_seconds = 30.0 if failure == "slow" else 0.0
    reading = await stack.enter_async_context(served(openai_app(reader)))
    opened = open_openai_model(api_key="k", base_url=f"{reading}/v1", model="small", retries=0)
    small = await stack.enter_async_context(opened)
    url = await stack.enter_async_context(served(chat_app(model, reader=small)))
    begun = await asked(url, Q_LEAVE)
    said = await asked(url, "For how long is parental leave paid?", begun["done"]["conversation_id"])
    assert said["done"]["mode"] == "generated"
    assert said["status"]["cache"] == "bypass", "the turns before it shaped the answer"
    assert len(script.answers()[-1]["messages"]) == 4


def test_history_is_bounded_by_its_length() -> None:
    turns = [Message("user" if number % 2 == 0 else "assistant", f"{number} " * 100) for number in range(100)]
    kept = recent(turns)
    assert kept[-1].content == turns[-1].content
    assert 10 < len(kept) < 100
    assert sum(len(turn.content) for turn in kept) <= MOST_HISTORY_TOKENS * CHARACTERS_PER_TOKEN
    (long,) = recent([Message("user", "x" * 10**6)])
    assert len(long.content) == MOST_HISTORY_TOKENS * CHARACTERS_PER_TOKEN
    assert recent([]) == []


async def test_conversations_are_listed_read_renamed_exported_and_forgotten(url: str) -> None:
    first = (await asked(url, Q_LEAVE))["done"]["conversation_id"]
    await asked(url, "And for fathers?", first)
    second = (await asked(url, Q_PUMP))["done"]["conversation_id"]
    async with aiohttp.ClientSession(url) as session:
        async with session.get("/conversations") as response:
            listed = (await response.json())["conversations"]
        assert {(each["id"], each["title"]) for each in listed} == {(first, Q_LEAVE), (second, Q_PUMP)}
        async with session.get(f"/conversations/{first}") as response:
            turns = (await response.json())["turns"]
        assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2
        assert turns[2]["content"] == "And for fathers?", "what was said, not what was made of it"
        async with session.get(f"/conversations/{first}", headers={"accept": "text/markdown"}) as response:
            assert (await response.text()).startswith(f"**User:** {Q_LEAVE}")
        async with session.patch(f"/conversations/{first}", json={"title": "  Leave  "}) as response:
            assert response.status == 200
        async with session.delete(f"/conversations/{second}") as response:
            assert response.status == 204
        async with session.get("/conversations") as response:
            listed = (await response.json())["conversations"]
        assert [(each["id"], each["title"]) for each in listed] == [(first, "Leave")]
        for method, path, body in (
            ("GET", f"/conversations/{second}", None), ("DELETE", f"/conversations/{second}", None),
            ("PATCH", f"/conversations/{second}", {"title": "x"}), ("GET", "/conversations/none", None),
        ):  # fmt: skip
            async with session.request(method, path, json=body) as response:
                assert response.status == 404
        async with session.patch(f"/conversations/{first}", json={"title": " "}) as response:
            assert response.status == 400


async def test_conversations_are_their_askers_alone(
    chat_app: Callable[..., Any], model: OpenAIModel, library: Library, stack: AsyncExitStack
) -> None:
    await library.put("leave.md", LIBRARY["leave.md"])
    mine, theirs = [
        await stack.enter_async_context(served(chat_app(model, principal=Principal(library.tenant, id=name))))
        for name in ("me", "somebody else")
    ]
    name = (await asked(mine, Q_LEAVE))["done"]["conversation_id"]
    async with aiohttp.ClientSession(theirs) as session:
        async with session.get("/conversations") as response:
            assert (await response.json())["conversations"] == []
        for method, body in (("GET", None), ("PATCH", {"title": "x"}), ("DELETE", None)):
            async with session.request(method, f"/conversations/{name}", json=body) as response:
                assert response.status == 404
    async with aiohttp.ClientSession(mine) as session, session.get(f"/conversations/{name}") as response:
        assert response.status == 200


async def test_a_refusal_names_what_came_nearest_and_what_is_still_being_read(
    chat_app: Callable[..., Any], model: OpenAIModel, script: Script, library: Library, stack: AsyncExitStack
) -> None:
    for name in ("alpha.md", "beta.md"):
        await library.put(name, LIBRARY[name])
    script.reply = lambda _: " [none] Das steht nicht in den Unterlagen."
    url = await stack.enter_async_context(served(chat_app(model)))
    waiting = DocumentKey(f"documents/{library.tenant}/manual.pdf")
    attempt = await library.registry.begin(waiting, embedding_model=library.embedder.model)
    await library.registry.save(Document(waiting.key, DocumentState.PARSING), attempt)
    for _ in range(2):
        said = await asked(url, "Welche Farbe hat die Alpha-Pumpe?")
        assert said["text"] == "Das steht nicht in den Unterlagen."
        assert (said["done"]["mode"], said["done"]["unread"], said["done"]["cached"]) == ("refused", 1, False)
        assert said["done"]["nearest"] == ["alpha.md", "beta.md"]
    await library.registry.save(Document(waiting.key, DocumentState.FAILED, reason="empty"), attempt)
    assert (await asked(url, "Welche Farbe hat die Alpha-Pumpe?"))["done"]["unread"] == 0
    assert (await asked(url, "Welche Farbe hat die Alpha-Pumpe?"))["done"]["cached"] is True


async def test_a_refusal_that_nobody_could_read_is_not_kept(
    chat_app: Callable[..., Any], model: OpenAIModel, script: Script, library: Library, stack: AsyncExitStack
) -> None:
    await library.put("leave.md", LIBRARY["leave.md"])
    script.read = lambda _: {"kind": "what"}
    url = await stack.enter_async_context(served(chat_app(model, reader=model)))
    said = await asked(url, "Hello!")
    assert (said["done"]["mode"], said["done"]["provisional"]) == ("refused", True)
    script.read = read
    assert (await asked(url, "Hello!"))["text"] == "With pleasure."


async def test_a_conversation_that_was_forgotten_does_not_come_back(url: str, script: Script) -> None:
    name = (await asked(url, Q_LEAVE))["done"]["conversation_id"]
    script.token_gap_seconds = 0.2
    answering = asyncio.create_task(asked(url, Q_PUMP, name))
    async with asyncio.timeout(5):
        while not script.open_streams:
            await asyncio.sleep(0.01)
    async with aiohttp.ClientSession(url) as session:
        async with session.delete(f"/conversations/{name}") as response:
            assert response.status == 204
        await answering
        async with session.get("/conversations") as response:
            assert (await response.json())["conversations"] == []
        async with session.get(f"/conversations/{name}") as response:
            assert response.status == 404


@pytest.mark.parametrize(
    "text", ["[" * 3_000, '{"kind":"documents","question":"a\\ud800b"}', '{"kind":"documents"}', "{}", "null"]
)
async def test_what_a_reader_may_write_is_no_fault_of_the_answer(model: OpenAIModel, script: Script, text: str) -> None:
    script.constrained = text
    dialogue = DialogueManager(model, model, max_tokens=100)
    assert await dialogue.interpret(Question("And?", Principal(), history=[Message("user", "x")])) is None
