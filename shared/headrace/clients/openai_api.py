"""OpenAI's API as models and embedders use it: what a client gives, what it raises, and that in our words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from headrace.errors import ConfigurationError, HeadraceError, RefusedError, UnavailableError

CONNECT_TIMEOUT_SECONDS = 5.0
# Statuses of what another try may cure, beside those from 500 on.
PASSING = frozenset({408, 409, 429})


class StatusError(Exception):
    """The server refused a request. `param` is the field that it names itself, if it names one.

    `try_again` is what it says of another try, if it says anything.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        retry_after_seconds: float | None = None,
        try_again: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.retry_after_seconds = retry_after_seconds
        self.try_again = self.may_pass if try_again is None else try_again

    @property
    def may_pass(self) -> bool:
        """Whether another try may cure it."""
        return self.status in PASSING or self.status >= 500


class NoAnswerError(Exception):
    """The server can't be reached, or says nothing. The text is the name of what went wrong."""


class BrokenAnswerError(Exception):
    """What the server says is no answer, or it breaks off."""


class ChatStream(Protocol):
    """The chunks of one completion as they come, each the JSON value of its event; the last one is before `[DONE]`.

    Raises NoAnswerError and BrokenAnswerError; how long it may be idle, its reader knows. Whoever opened it closes it, which ends the completion at the server, too.
    """

    def __aiter__(self) -> AsyncIterator[Mapping[str, Any]]: ...

    async def aclose(self) -> None: ...


class OpenAI(Protocol):
    """A client for one server. Its calls raise StatusError, NoAnswerError and BrokenAnswerError.

    What fails in passing is tried again, after what the server asks for in `Retry-After`, or a short pause.
    """

    @property
    def base_url(self) -> str:
        """Where the server is."""

    async def models(self) -> set[str]:
        """`GET /models`: the names of the models that the server lists."""

    async def chat(self, body: Mapping[str, Any]) -> ChatStream:
        """`POST /chat/completions` with `stream`: the completion's stream, once its head has come."""

    async def embed(self, model: str, texts: Sequence[str]) -> list[Sequence[float]]:
        """`POST /embeddings`: the vectors that came, in the order of the texts."""


@contextmanager
def openai_faults(what: str, unavailable: type[UnavailableError]) -> Iterator[None]:
    """Turn a client's faults into ours. `what` is the thing that failed: "The language model 'x'"."""
    try:
        yield
    except StatusError as error:
        raise _status_fault(what, error, unavailable) from error
    except NoAnswerError as error:
        raise unavailable(f"{what} does not answer ({error}). Try again in a moment.") from error
    except BrokenAnswerError as error:
        raise unavailable(f"{what} broke off its answer. Try again in a moment.") from error


def _status_fault(what: str, error: StatusError, unavailable: type[UnavailableError]) -> HeadraceError:
    status = error.status
    if status in {401, 403}:
        return ConfigurationError(
            f"{what} refused the key (status {status}). Check OPENAI_API_KEY, or a fallback model's FALLBACK_API_KEY."
        )
    if status == 404:
        return ConfigurationError(
            f"{what} is not known to the server (status 404). Check its name and OPENAI_BASE_URL."
        )
    if error.may_pass:
        reason = "is over its rate limit" if status == 429 else f"failed with status {status}"
        return unavailable(f"{what} {reason}. Try again in a moment.", retry_after_seconds=error.retry_after_seconds)
    return RefusedError(f"{what} refused the request with status {status}: {_first_line(str(error))}")


def _first_line(text: str) -> str:
    return text.splitlines()[0][:200] if text else ""
