"""What is opened with settings is opened anew when they have changed, and only then; nobody loses what they work with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from headrace.concurrency.handler_loop import HandlerLoop
from headrace.concurrency.renewing import Renewing
from headrace.errors import ConfigurationError, UnavailableError


class Place:
    """A secret that changes, and what is opened with it."""

    def __init__(self) -> None:
        self.value = "first"
        self.reads = 0
        self.open: list[str] = []
        self.now = 1000.0
        self.fault: Exception | None = None

    async def read(self) -> str:
        self.reads += 1
        if self.fault:
            raise self.fault
        return self.value

    @asynccontextmanager
    async def open_with(self, value: str) -> AsyncIterator[str]:
        if value == "unusable":
            raise ConfigurationError("It can't be used.")
        self.open.append(value)
        yield f"opened with {value}"
        self.open.remove(value)


@pytest.fixture
def place() -> Place:
    return Place()


async def test_it_looks_once_a_period_and_opens_anew_only_for_a_change(place: Place) -> None:
    parts = Renewing(place.read, place.open_with, look_seconds=300, clock=lambda: place.now)
    for _ in range(3):
        assert await parts.current() == "opened with first"
    place.value = "second"
    assert await parts.current() == "opened with first"
    assert place.reads == 1
    place.now += 301
    assert await parts.current() == "opened with second"
    assert place.open == ["second"]
    place.now += 301
    assert await parts.current() == "opened with second"
    assert place.reads == 3
    await parts.aclose()
    assert place.open == []


@pytest.mark.parametrize("fault", [UnavailableError("Secrets Manager does not answer."), RuntimeError("no loop")])
async def test_a_secret_that_cannot_be_read_changes_nothing(place: Place, fault: Exception) -> None:
    parts = Renewing(place.read, place.open_with, look_seconds=300, clock=lambda: place.now)
    await parts.current()
    place.now, place.fault, place.value = place.now + 301, fault, "second"
    assert await parts.current() == "opened with first"
    place.now, place.fault = place.now + 301, None
    assert await parts.current() == "opened with second"
    await parts.aclose()


async def test_a_secret_that_nothing_opens_with_changes_nothing(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    parts = Renewing(place.read, place.open_with, look_seconds=300, clock=lambda: place.now)
    await parts.current()
    place.now, place.value = place.now + 301, "unusable"
    assert await parts.current() == "opened with first"
    assert place.open == ["first"]
    assert "ConfigurationError" in caplog.text
    await parts.aclose()


async def test_who_works_with_what_was_replaced_may_finish(place: Place) -> None:
    parts = Renewing(place.read, place.open_with, look_seconds=0.05, linger_seconds=0.3)
    used: list[str] = []
    async with parts.watched(used.append) as opened:
        assert opened == "opened with first"
        place.value = "second"
        async with asyncio.timeout(5):
            while not used:
                await asyncio.sleep(0.01)
        assert used == ["opened with second"]
        assert place.open == ["first", "second"]
        async with asyncio.timeout(5):
            while "first" in place.open:
                await asyncio.sleep(0.01)
    assert place.open == []


async def test_what_lingers_is_closed_at_the_end(place: Place) -> None:
    parts = Renewing(place.read, place.open_with, look_seconds=0.02, linger_seconds=60)
    used: list[str] = []
    async with parts.watched(used.append):
        place.value = "second"
        async with asyncio.timeout(5):
            while not used:
                await asyncio.sleep(0.01)
    assert place.open == []


def test_a_handler_gets_them_between_its_events_and_a_failed_opening_is_tried_again(place: Place) -> None:
    parts = Renewing(place.read, place.open_with, look_seconds=300, clock=lambda: place.now)
    loop = HandlerLoop(parts)

    async def tell(opened: str) -> str:
        return opened

    place.fault = UnavailableError("Secrets Manager does not answer.")
    with pytest.raises(UnavailableError):
        loop.run(tell)
    place.fault = None
    assert loop.run(tell) == "opened with first"
    place.now, place.value = place.now + 301, "second"
    assert loop.run(tell) == "opened with second"
    loop.close()
    assert place.open == []


async def test_a_process_that_was_restored_looks_at_once(place: Place) -> None:
    parts = Renewing(place.read, place.open_with, look_seconds=300, clock=lambda: place.now)
    await parts.current()
    used: list[str] = []
    await parts.look_now(used.append)
    assert used == [], "nothing has changed"
    place.value = "second"
    await parts.look_now(used.append)
    assert used == ["opened with second"]
    await parts.aclose()
