"""Random forms of every kind against servers that enforce, servers that don't, and a real one: what comes out is of the form.

And programs of guidance, from what they compile to through the API to their captures.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from headrace.clients.dialects import DIALECTS
from headrace.constrained.checking import check_text
from headrace.errors import ModelProtocolError, ModelUnavailableError
from headrace.models.constraints import form_of
from headrace.models.openai import OpenAIModel, open_openai_model
from headrace.types import Constraint, Grammar, JsonSchema, Message, ModelOptions
from tests.support.forms import random_form
from tests.support.http import served
from tests.support.library import Library
from tests.support.openai_server import Script
from tests.support.processes import llama_server
from tests.support.scale import tries

MESSAGES = [Message("user", "Write something.")]
PROGRAMS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "support" / "programs.json").read_text())
STALL_SECONDS = 0.05


@pytest.fixture(scope="module")
def llama_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with llama_server(tmp_path_factory.mktemp("llama")) as url:
        yield url


@asynccontextmanager
async def without_stalls() -> AsyncIterator[None]:
    """Fails where a step of the loop takes more than 50 ms of its thread's CPU. What is loaded once is loaded before."""
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, before = max(longest, now - before), now
            await asyncio.sleep(0.001)
            before = time.thread_time()

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
    assert longest < STALL_SECONDS, f"a step of the loop took {longest:.3f} s of CPU"


async def written(model: OpenAIModel, constraint: Constraint, seed: int) -> tuple[str, str]:
    """How it ended, and the text."""
    text, reason = "", ""
    asked = model.stream(MESSAGES, max_tokens=300, constraint=constraint, options=ModelOptions(seed=seed))
    try:
        async with aclosing(asked) as chunks:
            async for chunk in chunks:
                text += chunk.text
                reason = str(chunk.finish_reason or reason)
    except (ModelProtocolError, ModelUnavailableError):
        return "fault", text
    return reason, text


def within(constraint: Constraint, text: str, provider: str) -> str:
    """What a server of this kind writes that enforces what it is asked for."""
    form = form_of(constraint, DIALECTS[provider])
    if "response_format" not in form.fields or isinstance(constraint, JsonSchema):
        return text
    (name,) = form.fields["response_format"]["json_schema"]["schema"]["properties"]
    return json.dumps({name: text}, ensure_ascii=False)


def spoiled(text: str, source: random.Random) -> str:
    """What a server writes that enforces nothing: something else, something around it, a part of it."""
    return source.choice(
        ["I'd say that it depends.", f"```json\n{text}\n```", f"Sure! {text}", text[: len(text) // 2], text + text, "{}", text]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("provider", "enforces"), [("vllm", True), ("compatible", True), ("compatible", False), ("vllm", False)]
)
async def test_random_forms_are_kept_or_refused(
    openai_url: str, script: Script, stack: AsyncExitStack, provider: str, enforces: bool
) -> None:
    opening = open_openai_model(api_key="k", base_url=openai_url, model="m", provider=provider)
    model = await stack.enter_async_context(opening)
    source = random.Random(f"{provider}{enforces}")
    drawn = [random_form(source) for _ in range(tries(80, 1_000))]
    forms = [form for form, _ in drawn]
    texts = [within(form, text, provider) for form, text in drawn]
    texts = texts if enforces else [spoiled(text, source) for text in texts]
    made = []
    await written(model, forms[0], 0)
    for number, (form, text) in enumerate(zip(forms, texts, strict=True)):
        script.constrained, script.reply = text, lambda _, text=text: text  # type: ignore[misc]
        async with without_stalls():
            made.append(await written(model, form, number))
    await checked(forms, made)
    ends = [reason for reason, _ in made]
    if enforces:
        assert ends.count("stop") > 0.97 * len(ends), ends
    else:
        assert ends.count("fault") > 0.2 * len(ends)


async def test_random_forms_on_a_real_server(llama_url: str, stack: AsyncExitStack) -> None:
    opening = open_openai_model(api_key="", base_url=llama_url, model="tiny", provider="llama.cpp")
    model = await stack.enter_async_context(opening)
    source = random.Random(11)
    forms = [random_form(source)[0] for _ in range(tries(40, 1_000))]
    made = []
    await written(model, forms[0], 0)
    for number, form in enumerate(forms):
        async with without_stalls():
            made.append(await written(model, form, number))
    await checked(forms, made)
    enforced = [reason for form, (reason, _) in zip(forms, made, strict=True) if not _is_lone(form)]
    # Of noise, some is cut off: its server gives up over characters that are none.
    assert enforced.count("stop") > 0.7 * len(enforced), enforced


async def checked(forms: list[Constraint], made: list[tuple[str, str]]) -> None:
    """Whatever came out whole is of its form; what did not is a fault, or says that it was cut off."""
    for form, (reason, text) in zip(forms, made, strict=True):
        await asyncio.sleep(0)
        assert reason in {"stop", "length", "fault"}
        if reason == "stop":
            check_text(text, form)


def _is_lone(form: Constraint) -> bool:
    return isinstance(form, Grammar) and not form.regex


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_program_of_guidance_goes_through_the_api_on_a_real_server(
    chat_app: Callable[..., Any], library: Library, llama_url: str, stack: AsyncExitStack, name: str
) -> None:
    """What the program compiles to is stored text: guidance is not here. Random weights write noise within it."""
    await library.put("leave.md", "Parents may take 26 weeks of parental leave.")
    opening = open_openai_model(api_key="", base_url=llama_url, model="tiny", provider="llama.cpp")
    model = await stack.enter_async_context(opening)
    url = await stack.enter_async_context(served(chat_app(model)))
    ends = []
    for seed in range(6):
        body = {
            "model": "headrace", "seed": seed, "structured_outputs": PROGRAMS[name],
            "messages": [{"role": "user", "content": "How long is parental leave?"}],
        }  # fmt: skip
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/v1/chat/completions", json=body) as response,
        ):
            said = await response.json()
        if response.status != 200:
            assert said["error"]["code"] in {"model_protocol_error", "model_unavailable"}
            ends.append("fault")
            continue
        choice = said["choices"][0]
        ends.append("refusal" if choice["message"].get("refusal") else choice["finish_reason"])
        if ends[-1] == "stop":
            text = choice["message"]["content"]
            (kind, form), *_ = PROGRAMS[name].items()
            if kind == "choice":
                assert text in form
            elif kind == "json":
                assert isinstance(json.loads(text)["weeks"], int)
            else:
                check_text(text, Grammar(form))
            if name == "leave":
                captures = said["headrace"]["captures"]
                assert text == f"Leave: {captures['weeks']} weeks, {captures['pay']}."
    if name != "quote":
        # All but that one are enforced by this server; what noise says is an answer, or that there is none.
        assert set(ends) <= {"stop", "refusal", "length", "fault"}
        assert ends.count("stop") + ends.count("refusal") >= 3, ends


async def test_captures_come_with_the_answer(
    chat_app: Callable[..., Any], library: Library, openai_url: str, script: Script, stack: AsyncExitStack
) -> None:
    await library.put("leave.md", "Parents may take 26 weeks of parental leave.")
    opening = open_openai_model(api_key="k", base_url=openai_url, model="m", provider="sglang")
    url = await stack.enter_async_context(served(chat_app(await stack.enter_async_context(opening))))
    script.structured = lambda _: "Leave: 26 weeks, paid."
    body = {
        "model": "headrace",
        "messages": [{"role": "user", "content": "How long is parental leave?"}],
        "structured_outputs": PROGRAMS["leave"],
    }
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/chat/completions", json=body) as response:
        said = await response.json()
    assert said["choices"][0]["message"]["content"] == "Leave: 26 weeks, paid."
    assert said["headrace"]["captures"] == {"weeks": "26", "pay": "paid"}
    assert said["headrace"]["constraint"] == "enforced"
    sent = script.requests[-1]["response_format"]["json_schema"]["schema"]
    assert "pattern" in json.dumps(sent), "the expression is what this server keeps to"
