"""SnapStart hooks: what to do before a snapshot is taken, and after one was restored.

Close sockets before, for their peers will be gone; reopen them and reseed
random generators after, for every copy wakes up with the same state.
Source: https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks.html
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Hook = Callable[[], Awaitable[None] | None]
H = TypeVar("H", bound=Hook)

_before: list[Hook] = []
_after: list[Hook] = []


def before_snapshot(hook: H) -> H:
    """Register a function, plain or async, to run before a snapshot is taken; the last registered runs first."""
    _before.append(hook)
    return hook


def after_restore(hook: H) -> H:
    """Register a function, plain or async, to run after a restore, before the first event; in order."""
    _after.append(hook)
    return hook


async def run_before_snapshot() -> None:
    """Run the hooks; what one raises is the caller's to report."""
    await _run(reversed(_before))


async def run_after_restore() -> None:
    """Run the hooks; what one raises is the caller's to report."""
    await _run(_after)


async def _run(hooks: Iterable[Hook]) -> None:
    for hook in list(hooks):
        result = hook()
        if inspect.isawaitable(result):
            await result
