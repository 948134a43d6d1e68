"""The page in a real browser, on the application with its real parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from infra.local.processes import free_port
from tests.functions.conftest import answer_deps, chat_app, library
from tests.support.chromium import chromium, environment
from tests.support.processes import running

__all__ = ["answer_deps", "chat_app", "library"]
WIDE = {"width": 1280, "height": 800}
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")


@pytest.fixture(scope="session")
def browser_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A browser that is told what to do at this address."""
    binary = chromium()
    if binary is None:
        pytest.skip("there is no Chromium without an installation for this machine")
    folder, port = tmp_path_factory.mktemp("browser"), free_port()
    command = [str(binary), *FLAGS, f"--remote-debugging-port={port}", f"--user-data-dir={folder}/profile"]
    with running(command, port, folder / "browser.log", environment()):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def browser(browser_url: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        yield await playwright.chromium.connect_over_cdp(browser_url)


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A browser's state of its own: nothing of the test before."""
    made = await browser.new_context(viewport=WIDE, locale="en-GB")  # type: ignore[arg-type]
    made.set_default_timeout(10_000)
    yield made
    await made.close()


@pytest.fixture
async def page(context: BrowserContext) -> AsyncIterator[Page]:
    """A tab; the test fails when a script of the page does, or when it asks anybody else."""
    opened = await context.new_page()
    faults: list[str] = []
    strangers: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("request", lambda request: strangers.append(request.url) if "127.0.0.1" not in request.url else None)
    yield opened
    assert await opened.locator("#fault").text_content() in {"", None}
    assert faults == []
    assert strangers == []
