"""No authentication, on this machine alone: whoever reaches the loopback interface is one principal, set by settings.

A browser on this machine may run anybody's page. So the request's Host must name this machine (a name that an attacker's DNS
points to it does not), and its Origin, where it has one, too.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from headrace.errors import ForbiddenError, UnauthenticatedError
from headrace.types import Credentials, Principal

CHALLENGE = (
    "This server authenticates nobody (AUTH=none), and so serves this machine alone. Set AUTH to iam, api_keys or jwt to "
    "serve others."
)


class LoopbackAuthenticator:
    """An Authenticator for AUTH=none."""

    challenge = CHALLENGE

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    async def authenticate(self, credentials: Credentials) -> Principal:
        if not is_loopback(credentials.client):
            raise UnauthenticatedError(CHALLENGE)
        check_local(credentials.headers.get("host", ""), credentials.headers.get("origin", ""))
        return self._principal


def check_local(host: str, origin: str) -> None:
    """Raise ForbiddenError unless the request was sent to this machine by its name, and by no other site's page."""
    if not is_loopback(urlsplit(f"//{host}").hostname or ""):
        raise ForbiddenError(f"This server is called localhost, not {host[:100]!r}. Use http://127.0.0.1 or localhost.")
    if origin and not is_loopback(urlsplit(origin).hostname or ""):
        raise ForbiddenError("Pages of other sites may not use this server.")


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
