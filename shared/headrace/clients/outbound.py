"""HTTP to services that a deployment's owner has named: to these hosts alone, to no private address, after no redirect.

What a model writes enters paths, queries and bodies, never a host. A name is looked up when it is connected to, and what it
stands for is looked at then: no answer of a name server leads into the owner's own network.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from headrace.errors import ToolError

MOST_BYTES = 1_000_000
CONNECTIONS = 20
# Whose last 32 bits are an IPv4 address: NAT64, and the old form of compatibility.
_CARRIERS = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))


@dataclass(frozen=True, slots=True)
class OutboundReply:
    """A reply's status and text. It is cut where it has more than MOST_BYTES."""

    status: int
    text: str
    content_type: str
    is_cut: bool = False


class Outbound:
    """Requests to allowed hosts. The session stays the opener's to close."""

    def __init__(self, session: aiohttp.ClientSession, *, allow_private: bool) -> None:
        self._session = session
        self._allow_private = allow_private

    async def request(
        self,
        method: str,
        url: str,
        *,
        hosts: Collection[str],
        headers: Mapping[str, str],
        params: Sequence[tuple[str, str]] = (),
        json: Any = None,
    ) -> OutboundReply:
        """The reply, whatever its status. Raises ToolError for another host, a private address, and none that answers."""
        check_url(url, hosts, allow_private=self._allow_private)
        try:
            async with self._session.request(
                method, url, params=params, json=json, headers=headers, allow_redirects=False
            ) as response:
                body = await response.content.read(MOST_BYTES + 1)
                while len(body) <= MOST_BYTES and (more := await response.content.read(MOST_BYTES + 1 - len(body))):
                    body += more
                text = body[:MOST_BYTES].decode(response.charset or "utf-8", "replace")
                return OutboundReply(response.status, text, response.content_type, len(body) > MOST_BYTES)
        except (aiohttp.ClientError, OSError, ValueError, LookupError) as error:
            raise ToolError("The service does not answer.") from error


def check_url(url: str, hosts: Collection[str], *, allow_private: bool) -> None:
    """Raise ToolError for a URL that may not be asked."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if host not in hosts or parts.username is not None or parts.scheme not in {"https", "http"}:
        raise ToolError("The service is at an address that is not allowed.")
    # Over plain HTTP anybody on the way reads secrets; on one's own machine nobody is.
    if parts.scheme == "http" and not allow_private:
        raise ToolError("The service has to be asked over https.")
    if not allow_private and _is_address(host) and not is_public(host):
        raise ToolError("The service is at a private address, which is not allowed.")


def is_public(address: str) -> bool:
    """Whether an IP address is on the internet, whatever form it is written in."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return all(each.is_global and not each.is_multicast for each in (found, *_within(found)))


def _within(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to, in each of the forms that carry one."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    has_last = any(address in network for network in _CARRIERS)
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ()), last if has_last else None]
    return [each for each in found if each is not None]


@asynccontextmanager
async def open_outbound(*, allow_private: bool) -> AsyncIterator[Outbound]:
    """Makes no connection before its first request; closes them at the end."""
    resolver = None if allow_private else _PublicResolver()
    connector = aiohttp.TCPConnector(limit=CONNECTIONS, resolver=resolver, use_dns_cache=False)
    # A cookie of one asker must not go with another's request.
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Outbound(session, allow_private=allow_private)


async def public_hosts(host: str) -> None:
    """Raise ToolError when the name stands for a private address: for clients that look names up by themselves."""
    try:
        await _PublicResolver().resolve(host, family=socket.AF_UNSPEC)
    except OSError as error:
        raise ToolError("The service is at no public address.") from error


class _PublicResolver(AbstractResolver):
    """Looks names up, and finds public addresses alone."""

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        # One private address among public ones is a trick.
        if not all(is_public(each["host"]) for each in found):
            raise OSError(f"{host} is at a private address")
        return found

    async def close(self) -> None:
        await self._resolver.close()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
