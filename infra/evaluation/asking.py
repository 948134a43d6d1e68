"""Asks a deployment the questions of a set, and gives it the outcomes to keep."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import urllib3

from infra.aws.smoke import Door, SmokeError
from infra.evaluation.cases import Case
from infra.evaluation.scoring import Outcome, failed, score
from infra.evaluation.statistics import estimates, median

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 4
LOCAL = "http://127.0.0.1:8000"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
# Too much is asked at once, or too much is to do: limits hold for a minute.
AGAIN = frozenset({429, 503})
MOST_WAITED_SECONDS = 180.0
LEAST_PAUSE_SECONDS = 1.0
FAULTS = (SmokeError, OSError, ValueError, urllib3.exceptions.HTTPError)


def door_to(url: str, environ: Mapping[str, str]) -> Door:
    """The deployment: HEADRACE_KEY lets in; without it AWS credentials sign, or on this machine nobody does."""
    key, host = environ.get("HEADRACE_KEY", ""), environ.get("HEADRACE_HOST", "")
    is_here = urlsplit(url).hostname in LOOPBACK and not host
    return PatientDoor(url, key=key or ("nobody" if is_here else ""), host=host)


def ask_all(cases: Sequence[Case], door: Door) -> list[Outcome]:
    """The outcome of each question."""

    def ask(case: Case) -> Outcome:
        began = time.monotonic()
        try:
            response = door.call("POST", "/chat", {"question": case.question, "fresh": True, "contexts": True})
            answer, record = response.json(), response.headers.get("X-Request-Id", "")
        except FAULTS as error:
            return failed(case, str(error) or type(error).__name__, time.monotonic() - began)
        return score(case, answer, time.monotonic() - began, record=record)

    return at_once(ask, cases)


@dataclass(frozen=True, slots=True)
class PatientDoor(Door):
    """A door at which one waits when one is told to come again later, for minutes at most."""

    def call(
        self, method: str, path: str, body: Any = None, *, accept: str = "application/json", streams: bool = False
    ) -> urllib3.BaseHTTPResponse:
        waited_seconds = 0.0
        while True:
            try:
                return Door.call(self, method, path, body, accept=accept, streams=streams)
            except SmokeError as error:
                if error.status not in AGAIN or waited_seconds >= MOST_WAITED_SECONDS:
                    raise
                pause_seconds = max(error.retry_after_seconds, LEAST_PAUSE_SECONDS)
                time.sleep(pause_seconds)
                waited_seconds += pause_seconds


def at_once(do: Callable[[T], R], given: Sequence[T]) -> list[R]:
    """What it makes of each, a few at a time."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(do, given))


def keep(name: str, outcomes: Sequence[Outcome], door: Door) -> Mapping[str, Any] | None:
    """Have the ledger keep the outcomes, where there is one and who asks is an admin: what it keeps. Raises what FAULTS are."""
    me = door.call("GET", "/me").json()
    if not (me["ledger"] and me["role"] == "admin"):
        return None
    found = estimates([outcome.scores for outcome in outcomes])
    body = {
        "name": name,
        "scores": {each: {"mean": e.mean, "low": e.low, "high": e.high, "count": e.count} for each, e in found.items()},
        "questions": [
            {
                "question": outcome.question,
                "scores": dict(outcome.scores),
                "seconds": round(outcome.seconds, 3),
                "tokens": outcome.tokens,
                "record": outcome.record,
                "fault": outcome.fault[:2000],
            }
            for outcome in outcomes
        ],
        "seconds": round(median([outcome.seconds for outcome in outcomes]), 3),
    }
    kept: Mapping[str, Any] = door.call("POST", "/admin/evaluations", body).json()
    return kept
