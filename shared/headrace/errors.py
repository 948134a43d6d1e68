"""The tree of faults. Each message says what happened, to which thing, and what to do next.

HeadraceError
├── ConfigurationError      the deployment is set up wrongly; a person must act
│   ├── IndexMismatchError  the documents are indexed with another embedding model
│   └── RefusedError        a vendor refuses what was asked, as it is
├── InvalidInputError       the caller's request can't be served as it is (400)
│   ├── UnsupportedParameterError  it sets a parameter that means nothing here, or to the model
│   ├── UnknownModelError   it names a model that there is none of (404)
│   ├── UnknownConversationError  it continues a conversation that nobody remembers
│   ├── UnknownRunError     it names a run that is not there, or not any more (404)
│   ├── TooLargeError       it is longer than anything that is read here (413)
│   └── ConflictError       it would overwrite what is there (409)
├── AbandonedError          who asked has left
├── DeadlineExceededError   it took longer than the deployment allows (504)
├── UnauthenticatedError    nobody knows who asks (401)
├── ForbiddenError          who asks may not do that (403)
├── LimitExceededError      who asks has used what they may (429)
│   └── QuotaExceededError  a day's tokens are used up
├── DocumentError           this document can't be read, now or later (state `failed`)
├── SupersededError         a newer attempt at the same document has taken over
└── UnavailableError        a part doesn't answer now; trying again may help (5xx, retry)
    ├── StoreUnavailableError
    ├── RegistryUnavailableError
    ├── BucketUnavailableError
    ├── QueueUnavailableError
    ├── EmbedderUnavailableError
    ├── RerankerUnavailableError
    ├── RelayUnavailableError
    ├── LedgerUnavailableError
    ├── RunLostError        who was making the answer has ended
    ├── ParserUnavailableError
    ├── OverloadedError     this process serves as many as it can
    └── ModelUnavailableError
        └── ModelProtocolError  the model's server answered what its protocol, or the request, rules out
"""

from __future__ import annotations

from collections.abc import Mapping


class HeadraceError(Exception):
    """The root: whatever Headrace raises on purpose. The message is fit to be shown to the person who asked."""

    code = "internal_error"


class ConfigurationError(HeadraceError):
    """The deployment is set up wrongly; trying again can't help."""

    code = "configuration_error"


class IndexMismatchError(ConfigurationError):
    """A tenant's documents are indexed with another embedding model than the configured one."""

    code = "index_mismatch"

    def __init__(self, tenant: str, *, indexed: str, configured: str) -> None:
        super().__init__(
            f"The documents of {tenant!r} are indexed with the embedding model {indexed!r}, but EMBEDDING_MODEL is "
            f"{configured!r}. Set it back, or run `make reindex` with the new one."
        )


class RefusedError(ConfigurationError):
    """A vendor refuses a request for what it contains."""

    code = "refused"


class InvalidInputError(HeadraceError):
    """The request can't be served as it is. `param` names the field at fault."""

    code = "invalid_request"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class UnsupportedParameterError(InvalidInputError):
    """The request sets a parameter that has no meaning here, or that the model's server refuses."""

    code = "unsupported_parameter"


class UnknownModelError(InvalidInputError):
    """The request names a model that is not configured."""

    code = "model_not_found"


class UnknownConversationError(InvalidInputError):
    """The request continues a conversation that its asker has not had, or that has expired."""

    code = "previous_response_not_found"


class UnknownRunError(InvalidInputError):
    """The request names a run that its asker has not had, or that nobody remembers."""

    code = "run_not_found"


class TooLargeError(InvalidInputError):
    """The request is longer than anything that is read here."""

    code = "too_large"


class ConflictError(InvalidInputError):
    """The request would overwrite what is there."""

    code = "conflict"


class AbandonedError(HeadraceError):
    """Who asked has left, so that nobody reads the answer."""

    code = "abandoned"


class DeadlineExceededError(HeadraceError, TimeoutError):
    """An answer took longer than the deployment allows."""

    code = "deadline_exceeded"

    def __init__(
        self, message: str = "The answer took longer than this deployment allows. Ask again, or ask for less."
    ) -> None:
        super().__init__(message)


class UnauthenticatedError(HeadraceError):
    """The request does not show who asks, or shows it with something that does not hold."""

    code = "unauthenticated"


class ForbiddenError(HeadraceError):
    """Who asks is known, and may not do that."""

    code = "forbidden"


class LimitExceededError(HeadraceError):
    """Who asks has used what they may. `headers` state the limit, as HTTP headers."""

    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after_seconds: float, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.headers = dict(headers or {})


class QuotaExceededError(LimitExceededError):
    """A day's tokens are used up: the principal's, or the deployment's."""

    code = "insufficient_quota"


class ToolError(HeadraceError):
    """A tool could not do what it was called for. Its sentence is for the model that called it."""

    code = "tool_failed"


class DocumentError(HeadraceError):
    """The document can't be read, however often it is tried."""

    code = "unreadable_document"


class SupersededError(HeadraceError):
    """A newer attempt at the same document has taken over; this one must stop and leave no trace."""

    code = "superseded"


class UnavailableError(HeadraceError):
    """A part does not answer now. `retry_after_seconds` is what it asked for, where it did."""

    code = "unavailable"

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class OverloadedError(UnavailableError):
    """This process serves as many requests as it can, and takes no more."""

    code = "overloaded"


class StoreUnavailableError(UnavailableError):
    """The vector store does not answer."""

    code = "store_unavailable"


class RegistryUnavailableError(UnavailableError):
    """The document registry does not answer, so nobody knows which versions are current."""

    code = "registry_unavailable"


class BucketUnavailableError(UnavailableError):
    """The bucket does not answer."""

    code = "bucket_unavailable"


class QueueUnavailableError(UnavailableError):
    """The queue does not answer."""

    code = "queue_unavailable"


class EmbedderUnavailableError(UnavailableError):
    """The embedding model does not answer."""

    code = "embedder_unavailable"


class RerankerUnavailableError(UnavailableError):
    """The reranking model does not answer."""

    code = "reranker_unavailable"


class RelayUnavailableError(UnavailableError):
    """What lets several processes share one answer does not answer; each can make its own."""

    code = "relay_unavailable"


class LedgerUnavailableError(UnavailableError):
    """The ledger's database does not answer, or has no tables yet."""

    code = "ledger_unavailable"


class RunLostError(UnavailableError):
    """The process that was making an answer has ended, and the answer with it."""

    code = "run_lost"


class ParserUnavailableError(UnavailableError):
    """The parser's process could not be started or was lost through no fault of the document."""

    code = "parser_unavailable"


class ModelUnavailableError(UnavailableError):
    """The language model does not answer, or broke off in the middle."""

    code = "model_unavailable"


class ModelProtocolError(ModelUnavailableError):
    """The language model's server answered something that its protocol, or the request, rules out."""

    code = "model_protocol_error"
