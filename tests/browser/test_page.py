"""The page as its users meet it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect
from redis.asyncio import Redis

from headrace.buckets.files import S3Files
from headrace.concurrency.on_demand import on_demand
from headrace.ledger.pricing import Pricing
from headrace.ledger.sql import open_sql_ledger
from headrace.models.openai import open_openai_model
from headrace.observability.otel import open_otel_tracer
from headrace.redis_state.ledger_queue import KEY, RedisLedgerQueue
from headrace.types import Block, Principal, Role
from infra.evaluation.asking import door_to
from infra.local.bucket import CREDENTIALS
from tests.support.chromium import axe
from tests.support.http import served
from tests.support.library import Library
from tests.support.openai_server import Script

FACT = "The spillway of the upper dam opens at 412 metres. It closes again at 409 metres."
QUESTION = "At what level does the spillway open?"
ANSWER = "It **opens** at 412 metres [1].\n\n| level | does |\n| --- | --- |\n| 412 | opens |\n"
PHONE = {"width": 390, "height": 844}
LARGEST_BYTES = 150_000


@pytest.fixture
async def url(
    chat_app: Callable[..., Any],
    library: Library,
    openai_url: str,
    script: Script,
    redis: Redis,
    stack: AsyncExitStack,
    tmp_path: Path,
) -> str:
    """The application with a model, a document and a ledger."""
    script.reply = lambda _prompt: ANSWER
    await redis.delete(KEY)
    model = await stack.enter_async_context(open_openai_model(api_key="k", base_url=openai_url, model="m"))
    await library.put("dam.txt", Block(FACT, page=2))
    opening = partial(open_sql_ledger, f"sqlite:///{tmp_path}/ledger.db", pricing=Pricing())
    ledger = await stack.enter_async_context(on_demand(opening))
    app = chat_app(model, ledger_queue=RedisLedgerQueue(redis), ledger=ledger, grace_seconds=5.0)
    return await stack.enter_async_context(served(app))


async def ask(page: Page, question: str = QUESTION) -> None:
    await page.get_by_label("Your question").fill(question)
    await page.keyboard.press("Enter")


async def recorded(page: Page, count: int) -> None:
    """Wait until so many answers are in the ledger: a record comes a moment after its answer."""
    await page.wait_for_function(
        "count => fetch('admin/answers').then(response => response.json()).then(({ answers }) => answers.length >= count)",
        arg=count,
    )


async def faults_for_people(page: Page) -> list[str]:
    """What axe-core finds that is serious or critical. It is run beside the page's policy, as a tester's tool is."""
    await page.evaluate(axe())
    found = await page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{each['id']}: {each['help']} ({each['nodes'][0]['html'][:120]})"
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
    ]


async def kept(page: Page, name: str) -> None:
    """A picture for who wants to look, where CI keeps files."""
    if folder := os.environ.get("HEADRACE_SCREENSHOTS"):
        await page.screenshot(path=Path(folder) / f"{name}.png")


async def test_an_answer_is_written_with_its_sources_and_numbers(page: Page, url: str) -> None:
    await page.goto(url)
    await ask(page)
    told = page.locator(".told").last
    await expect(told.locator("strong")).to_have_text("opens")
    await expect(told.locator("td").first).to_have_text("412")
    await expect(page.get_by_label("Your question")).to_have_value("")
    await expect(page.get_by_label("Your question")).to_be_focused()
    await page.get_by_role("button", name="Source 1").click()
    await expect(page.locator("#passages mark")).to_have_text("The spillway of the upper dam opens at 412 metres.")
    await expect(page.locator("#passages")).to_contain_text("dam.txt")
    await expect(page.locator("#passages")).to_contain_text("similarity")
    await page.get_by_text("How it was made").click()
    numbers = page.locator("details dl")
    await expect(numbers).to_contain_text("miss")
    await expect(numbers).to_contain_text("Tokens")
    await kept(page, "answer-1280")
    await page.get_by_role("button", name="New conversation").click()
    await ask(page)
    await expect(page.locator("details summary").last).to_contain_text("hit")


async def test_what_a_model_writes_runs_nothing_and_fetches_nothing(page: Page, url: str, script: Script) -> None:
    script.reply = lambda _prompt: (
        "Said [1]. ![p](https://evil.example/p.png) [a](javascript:document.title='owned') [c](https://example.com/c)\n\n<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> ![p](https://evil.example/p.png) "
        "[a](javascript:document.title='owned') <a href='https://example.com' onclick=\"document.title='owned'\">b</a> <style>*{display:none}</style> said [1]."
    )
    await page.goto(url)
    await ask(page)
    told = page.locator(".told").last
    await expect(told).to_contain_text("said")
    assert await told.locator("script, img, style, iframe, [onclick], [onerror], [href^='javascript']").count() == 0
    await expect(told.locator("a[href='https://example.com/c']")).to_have_text("c")
    link = told.locator("a[href='https://example.com']")
    await expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    assert await page.title() == "Headrace"


async def test_an_answer_is_stopped_by_escape(page: Page, url: str, script: Script) -> None:
    script.reply, script.token_gap_seconds = lambda _prompt: "word " * 300, 0.03
    await page.goto(url)
    await ask(page)
    await expect(page.locator(".told").last).to_contain_text("word word")
    await page.keyboard.press("Escape")
    await expect(page.locator(".note").last).to_contain_text("Stopped.")
    await expect(page.get_by_role("button", name="Ask", exact=True)).to_be_visible()


async def test_an_answer_goes_on_after_the_page_is_loaded_anew(page: Page, url: str, script: Script) -> None:
    script.reply, script.token_gap_seconds = lambda _prompt: " ".join(f"w{n}" for n in range(60)) + " end.", 0.03
    await page.goto(url)
    await ask(page)
    await expect(page.locator(".told").last).to_contain_text("w5")
    await page.reload()
    await expect(page.locator(".asked").last).to_have_text(QUESTION)
    await expect(page.locator(".told").last).to_contain_text("w59 end.", timeout=20_000)
    await expect(page.locator(".told").last).to_contain_text("w0 w1 w2")


async def test_conversations_are_listed_read_renamed_and_deleted(page: Page, url: str) -> None:
    await page.goto(url)
    await ask(page)
    listed = page.locator("#conversations li")
    await expect(listed).to_have_count(1)
    await page.get_by_role("button", name="New conversation").click()
    await expect(page.locator("#turns li")).to_have_count(0)
    await listed.locator(".title").click()
    await expect(page.locator(".asked")).to_have_text(QUESTION)
    await expect(page.locator(".told strong")).to_have_text("opens")
    page.once("dialog", lambda dialog: dialog.accept("The dam"))
    await page.get_by_role("button", name="Rename:").click()
    await expect(listed.locator(".title")).to_have_text("The dam")
    page.once("dialog", lambda dialog: dialog.accept())
    await page.get_by_role("button", name="Delete:").click()
    await expect(listed).to_have_count(0)
    await expect(page.locator("#turns li")).to_have_count(0)


async def test_a_thumb_down_with_its_reason_reaches_the_admins_room(page: Page, url: str) -> None:
    await page.goto(url)
    await ask(page)
    page.once("dialog", lambda dialog: dialog.accept("413, says the gauge"))
    await page.get_by_role("button", name="Poor answer").click()
    await expect(page.get_by_role("button", name="Poor answer")).to_have_attribute("aria-pressed", "true")
    await page.get_by_role("button", name="New conversation").click()
    await ask(page, "What colour is the mayor's bicycle?")
    await expect(page.locator("details")).to_have_count(1)
    await recorded(page, 2)
    await page.get_by_role("link", name="Answers").click()
    await expect(page.locator("#usage")).to_contain_text("Answers in 30 days")
    await expect(page.locator("#unanswered")).to_contain_text("mayor's bicycle")
    await page.get_by_label("Kind").select_option("down")
    await page.get_by_role("button", name=QUESTION).click()
    record = page.locator("#record")
    await expect(record).to_contain_text("413, says the gauge")
    await expect(record).to_contain_text("dam.txt")
    await kept(page, "admin-1280")
    assert await faults_for_people(page) == []


async def test_an_admin_sees_evaluations_and_what_got_worse(page: Page, url: str) -> None:
    await page.goto(url)
    await ask(page)
    await expect(page.locator(".told").last).to_contain_text("412 metres")
    await recorded(page, 1)
    door = door_to(url, {})
    record = (await asyncio.to_thread(door.call, "GET", "/admin/answers")).json()["answers"][0]["id"]
    for mean in (1.0, 0.5):
        body = {
            "name": "nightly", "seconds": 1.0, "scores": {"facts": {"mean": mean, "low": mean, "high": mean, "count": 1}},
            "questions": [{"question": QUESTION, "scores": {"facts": mean}, "seconds": 1.0, "tokens": 9, "record": record}],
        }  # fmt: skip
        await asyncio.to_thread(door.call, "POST", "/admin/evaluations", body)
    await page.get_by_role("link", name="Answers").click()
    rows = page.locator("#evaluations tr")
    await expect(rows).to_have_count(2)
    await expect(rows.first.locator(".bad")).to_have_text("facts 0.50 (0.50–0.50) –0.50")
    await rows.first.get_by_role("button", name="nightly").click()
    await expect(page.locator("#record")).to_contain_text("facts 0.50")
    await page.locator("#record").get_by_role("button", name=QUESTION).click()
    await expect(page.locator("#record dl")).to_contain_text("412 metres")
    assert await faults_for_people(page) == []


async def test_a_fault_is_a_sentence_and_the_next_question_is_answered(page: Page, url: str, script: Script) -> None:
    script.refusal, script.refusal_status = "no such key", 401
    await page.goto(url)
    await ask(page)
    await expect(page.get_by_role("alert").last).to_contain_text("OPENAI_API_KEY")
    script.refusal = ""
    await ask(page)
    await expect(page.locator(".told").last).to_contain_text("412 metres")


async def test_who_needs_a_key_signs_in_and_sees_what_is_theirs(
    page: Page, chat_app: Callable[..., Any], library: Library, stack: AsyncExitStack, tenant: str, redis: Redis
) -> None:
    from headrace.protocols import Authenticator
    from headrace.types import Credentials

    class ByKey:
        challenge = "Send a key."

        async def authenticate(self, credentials: Credentials) -> Principal | None:
            return Principal(tenant, id="ann", role=Role.READER) if credentials.bearer == "right" else None

    authenticator: Authenticator = ByKey()
    await library.put("dam.txt", Block(FACT))
    url = await stack.enter_async_context(served(chat_app(authenticator=authenticator)))
    await page.goto(url)
    key = page.get_by_label("Your API key or token")
    await expect(key).to_be_focused()
    await key.fill("wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("This key was not accepted.")).to_be_visible()
    await key.fill("right")
    await page.keyboard.press("Enter")
    await ask(page)
    await expect(page.locator(".told").last).to_contain_text("412 metres")
    await expect(page.get_by_role("link", name="Answers")).to_be_hidden()
    await page.get_by_role("link", name="Documents").click()
    await expect(page.locator("#listed tr")).to_have_count(1)
    await expect(page.locator("#upload")).to_be_hidden()
    await page.get_by_role("button", name="Sign out").click()
    await expect(key).to_be_visible()


async def test_documents_are_listed_with_their_states_and_filtered(page: Page, url: str, library: Library) -> None:
    await library.put("handbook.txt", Block("Parental leave lasts 26 weeks."))
    await page.goto(f"{url}/#documents")
    await expect(page.locator("#listed tr")).to_have_count(2)
    await expect(page.locator("#listed")).to_contain_text("ready")
    await page.get_by_label("Filter by name").fill("hand")
    await expect(page.locator("#listed tr")).to_have_count(1)
    await page.get_by_label("Any state").select_option("failed")
    await expect(page.locator("#listed tr")).to_have_count(0)
    assert await faults_for_people(page) == []


async def test_who_uploads_says_for_which_of_their_groups(
    page: Page, chat_app: Callable[..., Any], stack: AsyncExitStack, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    writer = Principal(tenant, frozenset({"hr", "board"}), "ann", Role.WRITER)
    files = S3Files("bucket", endpoint_url="http://127.0.0.1:9")
    url = await stack.enter_async_context(served(chat_app(principal=writer, files=files, max_document_bytes=1000)))
    await page.goto(f"{url}/#documents")
    await page.get_by_label("hr").check()
    file = {"name": "pay.txt", "mimeType": "text/plain", "buffer": b"The pay."}
    async with page.expect_request(lambda sent: sent.method == "POST" and "documents" in sent.url) as sending:
        await page.locator("#file").set_input_files(file)  # type: ignore[arg-type]
    assert json.loads((await sending.value).post_data or "")["groups"] == ["hr"]
    assert await faults_for_people(page) == []


async def test_an_admin_opens_the_trace_of_an_answer(
    page: Page, chat_app: Callable[..., Any], library: Library, stack: AsyncExitStack
) -> None:
    await library.put("dam.txt", Block(FACT))
    tracer = await stack.enter_async_context(open_otel_tracer("http://127.0.0.1:9", headers="", service="chat"))
    app = chat_app(tracer=tracer, trace_url="https://traces.example.com/{trace_id}")
    await page.goto(await stack.enter_async_context(served(app)))
    await ask(page)
    await page.get_by_text("How it was made").click()
    link = page.locator("details dl a")
    trace = await link.text_content() or ""
    assert len(trace) == 32
    await expect(link).to_have_attribute("href", f"https://traces.example.com/{trace}")


async def test_a_screen_reader_hears_sentences(page: Page, url: str, script: Script) -> None:
    script.reply, script.token_gap_seconds = lambda _prompt: "It opens at 412 metres [1]. It closes at 409.", 0.02
    await page.goto(url)
    await page.evaluate(
        "window.heard = []; new MutationObserver(() => heard.push(document.getElementById('spoken').textContent))"
        ".observe(document.getElementById('spoken'), {childList: true, characterData: true, subtree: true})"
    )
    await ask(page)
    await expect(page.locator("details")).to_have_count(1)
    heard = await page.evaluate("heard")
    assert heard[0] == "Searching …"
    assert heard[-1] == "The answer is complete."
    assert any("It opens at 412 metres" in each for each in heard)
    assert len(heard) <= 6, heard


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, {"width": 1280, "height": 800}])
async def test_the_page_can_be_used_by_everybody(page: Page, url: str, scheme: Any, size: dict[str, int]) -> None:
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    await page.set_viewport_size(size)  # type: ignore[arg-type]
    await page.goto(url)
    await ask(page)
    await page.get_by_role("button", name="Source 1").click()
    await page.get_by_text("How it was made").click()
    assert await faults_for_people(page) == []
    wider = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0, "nothing to be scrolled sideways"
    await kept(page, f"chat-{size['width']}-{scheme}")


async def test_it_speaks_german_and_remembers_it(page: Page, url: str) -> None:
    await page.goto(url)
    await page.get_by_role("button", name="Auf Deutsch").click()
    await expect(page.get_by_label("Ihre Frage")).to_be_visible()
    assert await page.evaluate("document.documentElement.lang") == "de"
    await page.reload()
    await ask_german(page)
    await expect(page.get_by_text("Wie sie entstand")).to_be_visible()


async def ask_german(page: Page) -> None:
    await page.get_by_label("Ihre Frage").fill(QUESTION)
    await page.get_by_role("button", name="Fragen").click()


async def test_it_is_small_and_soon_there_and_runs_no_script_in_line(page: Page, url: str) -> None:
    sizes: list[int] = []

    async def note(response: Any) -> None:
        sizes.append(len(await response.body()))

    page.on("response", lambda response: note(response) if "/me" not in response.url else None)
    response = await page.goto(url, wait_until="networkidle")
    assert response is not None
    policy = (await response.all_headers())["content-security-policy"]
    assert "unsafe" not in policy
    files = [each for each in sorted((Path(__file__).parents[2] / "functions/chat/page").rglob("*")) if each.is_file()]
    assert sum(each.stat().st_size for each in files if each.suffix != ".txt") < LARGEST_BYTES
    painted = await page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    print("first paint", round(painted), "ms")  # noqa: T201 - for who asks how fast it is


def test_what_is_not_ours_is_what_its_makers_published() -> None:
    import hashlib

    folder = Path(__file__).parents[2] / "functions" / "chat" / "page" / "vendor"
    known = {
        "marked.js": "c622dc6824a1c92c2d10ea9ede2fc872e46128afcc34b298e6ddee6f387ace8e",
        "purify.js": "1bb69dcd35ac61a515cd876d9f9024b3117c8b7a1725f9b3097782d8d822e8d3",
    }
    assert {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in folder.glob("*.js")} == known
    licences = (folder / "LICENSES.txt").read_text()
    assert "marked 18.2.1" in licences
    assert "DOMPurify 3.5.0" in licences


def test_both_languages_have_every_word() -> None:
    import re

    folder = Path(__file__).parents[2] / "functions" / "chat" / "page"
    source = (folder / "words.js").read_text()
    known = set(re.findall(r"(\w+): \[\"[^\"]+\", \"[^\"]+\"\]", source))
    asked: set[str] = set()
    for path in [*folder.glob("*.js"), folder / "index.html"]:
        text = path.read_text()
        asked |= set(re.findall(r'data-(?:w|label|hint)="(\w+)"', text)) | set(re.findall(r'say\("(\w+)"\)', text))
        asked |= set(re.findall(r'(?:button|tile|small)\((?:"[^"]+", )?"(\w+)"', text))
    assert asked - known == set()
    assert json.dumps(sorted(known))


async def test_settings_are_compared_side_by_side_and_a_question_is_kept_for_an_evaluation(
    page: Page, url: str, tmp_path: Path
) -> None:
    await page.goto(url)
    await page.get_by_role("link", name="Compare").click()
    await page.locator("#compared").fill(QUESTION)
    first, second = page.locator("#columns fieldset").nth(0), page.locator("#columns fieldset").nth(1)
    await second.get_by_label("Model").select_option("headrace-extractive")
    await second.get_by_label("Passages, at most").fill("1")
    await second.get_by_label("Weight of meaning").fill("1")
    await page.get_by_role("button", name="Compare").click()
    await expect(first.locator(".told strong")).to_have_text("opens")
    await expect(second.locator(".told")).to_contain_text("“The spillway of the upper dam opens at 412 metres.”")
    for column in (first, second):
        await expect(column.locator(".numbers")).to_contain_text("First word")
        await expect(column.locator(".numbers")).to_contain_text("1 Passages")
    assert await faults_for_people(page) == []
    await kept(page, "compare-1280")
    await second.get_by_role("button", name="Source 1").click()
    await expect(page.locator("#passages mark")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("#passages")).to_be_hidden()
    page.once("dialog", lambda dialog: dialog.accept("412; metres"))
    await page.get_by_role("button", name="Keep for evaluation").click()
    await expect(page.locator("#kept")).to_have_text("1 in the set")
    async with page.expect_download() as downloading:
        await page.get_by_role("button", name="Save the set").click()
    path = tmp_path / "questions.jsonl"
    await (await downloading.value).save_as(path)
    assert json.loads(path.read_text()) == {"question": QUESTION, "facts": ["412", "metres"], "documents": ["dam.txt"]}
    await page.get_by_role("link", name="Chat").click()
    await expect(page.locator("#conversations li")).to_have_count(0)


async def test_a_new_conversation_waits_for_the_answer_that_is_being_written(
    page: Page, url: str, script: Script
) -> None:
    script.reply, script.token_gap_seconds = lambda _prompt: " ".join(f"w{n}" for n in range(40)) + " end.", 0.03
    await page.goto(url)
    await ask(page)
    await expect(page.locator(".told").last).to_contain_text("w3")
    await page.get_by_role("button", name="New conversation").click()
    await expect(page.locator(".told").last).to_contain_text("w39 end.")
    await page.get_by_role("button", name="New conversation").click()
    await expect(page.locator("#turns li")).to_have_count(0)
    await ask(page, "And when does it close?")
    await expect(page.locator("#conversations li")).to_have_count(2)


async def test_who_signs_in_after_another_sees_nothing_of_them(
    page: Page, chat_app: Callable[..., Any], library: Library, stack: AsyncExitStack, tenant: str
) -> None:
    from headrace.types import Credentials

    accepted = {"ann-key"}

    class ByKey:
        challenge = "Send a key."

        async def authenticate(self, credentials: Credentials) -> Principal | None:
            key = credentials.bearer
            return Principal(tenant, id=key.removesuffix("-key")) if key in accepted else None

    await library.put("dam.txt", Block(FACT))
    url = await stack.enter_async_context(served(chat_app(authenticator=ByKey())))
    await page.goto(url)
    key = page.get_by_label("Your API key or token")
    await key.fill("ann-key")
    await page.keyboard.press("Enter")
    await ask(page)
    await expect(page.locator(".told").last).to_contain_text("412 metres")
    # The page has asked for all that it shows.
    await expect(page.locator("#conversations li")).to_have_count(1)
    accepted.clear()
    accepted.add("bob-key")
    await page.get_by_role("button", name="New conversation").click()
    await expect(page.get_by_text("This key was not accepted.")).to_be_visible()
    await key.fill("bob-key")
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Your question")).to_be_visible()
    await expect(page.locator("#turns li")).to_have_count(0)
    await expect(page.locator("#conversations li")).to_have_count(0)
