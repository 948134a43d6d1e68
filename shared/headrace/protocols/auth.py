"""The seams of the door: who asks, which API keys there are, and how much a principal may use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from headrace.types import ApiKey, Credentials, Principal


class Authenticator(Protocol):
    """Finds out who asks, from what the request shows."""

    @property
    def challenge(self) -> str:
        """What a client has to send, in a sentence for people."""

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """The principal; None when there are no credentials of this kind.

        Raises UnauthenticatedError for credentials that do not hold, and UnavailableError when that can't be checked now.
        """


class ApiKeys(Protocol):
    """The records of API keys. Raises RegistryUnavailableError."""

    async def find(self, key_id: str) -> ApiKey | None:
        """The record of this id, or None."""

    async def save(self, key: ApiKey) -> None:
        """Keep a record."""

    async def revoke(self, key_id: str) -> bool:
        """Delete a record, so that its key holds no more; False when there was none."""

    async def all(self) -> list[ApiKey]:
        """Every record, the oldest first."""


class Admission(Protocol):
    """A request that was let in, and has to be released."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What the response says of the principal's limits, as HTTP headers."""

    async def release(self, *, tokens: int = 0) -> None:
        """The request has ended, and its answer cost so many tokens. Never raises."""


class RateLimiter(Protocol):
    """Holds principals to their limits, and the deployment to its tokens a day."""

    async def admit(self, principal: Principal, *, is_new: bool = True) -> Admission:
        """Let one request of the principal in. Raises LimitExceededError when a limit is reached.

        One that is not new goes on with what the principal has under way, or ends it: that is no more at once.
        """
