"""Several ways of knowing who asks: the first that finds credentials of its kind decides."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.errors import UnauthenticatedError
from headrace.protocols import Authenticator
from headrace.types import Credentials, Principal


class FirstOf:
    """An Authenticator of others, which raises UnauthenticatedError where none finds credentials."""

    def __init__(self, authenticators: Sequence[Authenticator]) -> None:
        self._authenticators = authenticators

    @property
    def challenge(self) -> str:
        return " Or: ".join(each.challenge for each in self._authenticators)

    async def authenticate(self, credentials: Credentials) -> Principal:
        for each in self._authenticators:
            principal = await each.authenticate(credentials)
            if principal is not None:
                return principal
        raise UnauthenticatedError(f"This request does not say who asks. {self.challenge}")
