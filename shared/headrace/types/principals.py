"""Who asks, what they may do, and what they may see."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

DEFAULT_TENANT = "default"
# The label of what is open to a whole tenant.
OPEN = "*"
# Names of tenants, groups and principals come from outside, and enter keys and filters.
MOST_NAME_CHARACTERS = 200
MOST_GROUPS = 200


class Role(StrEnum):
    """What a principal may do. Each role includes those before it."""

    READER = "reader"  # asks
    WRITER = "writer"  # uploads
    ADMIN = "admin"  # sees statistics

    @property
    def includes(self) -> frozenset[Role]:
        """The role itself, and all that are below it."""
        order = list(Role)
        return frozenset(order[: order.index(self) + 1])


@dataclass(frozen=True, slots=True)
class Limits:
    """What one principal may use; None: what the deployment allows everybody."""

    requests_per_minute: int | None = None
    streams: int | None = None
    tokens_per_day: int | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a tenant, the groups that the principal belongs to, a name within the tenant, a role, and limits.

    Where several people share a name, as with an IAM role, `session` tells them apart.
    """

    tenant: str = DEFAULT_TENANT
    groups: frozenset[str] = frozenset()
    id: str = "everybody"
    role: Role = Role.READER
    limits: Limits = Limits()
    session: str = ""

    @property
    def owner(self) -> str:
        """Whose conversations they are."""
        return f"{self.id}/{self.session}" if self.session else self.id

    @property
    def scope(self) -> Scope:
        return Scope(self.tenant, self.groups)

    def may(self, role: Role) -> bool:
        """Whether the principal has this role, or one that includes it."""
        return role in self.role.includes

    def may_see(self, groups: Collection[str]) -> bool:
        """Whether a document of the principal's tenant, open to these groups (none: to everybody), is open to them."""
        return self.scope.may_see(groups)

    def describe(self) -> dict[str, Any]:
        """What `read_principal` reads, beside the id."""
        return {
            "tenant": self.tenant,
            "groups": sorted(self.groups),
            "role": self.role,
            "requests_per_minute": self.limits.requests_per_minute,
            "streams": self.limits.streams,
            "tokens_per_day": self.limits.tokens_per_day,
        }


@dataclass(frozen=True, slots=True)
class Scope:
    """What one retrieval or one cache entry may see: a tenant and a permission set."""

    tenant: str
    groups: frozenset[str] = frozenset()

    def may_see(self, groups: Collection[str]) -> bool:
        """Whether a document of this tenant that is open to these groups (none: to everybody) may be seen."""
        return not groups or not self.groups.isdisjoint(groups)

    @property
    def labels(self) -> tuple[str, ...]:
        """What a chunk's `labels` must share one of to be seen, as stores keep and filter it."""
        return (OPEN, *(label(group) for group in sorted(self.groups)))

    @property
    def digest(self) -> str:
        """A short stable name for the permission set; the tenant is not part of it."""
        return hashlib.sha256("\x1f".join(sorted(self.groups)).encode()).hexdigest()[:16]


def label(group: str) -> str:
    """What stores keep for a group."""
    # The sign keeps a group that is called `*` from opening anything.
    return f"={group}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request shows of who sent it.

    `headers` are those of HTTP, by lower-case name; `iam` is the identity that AWS checked, as the Lambda event has it,
    and empty elsewhere; `client` is the address that the connection comes from.
    """

    headers: Mapping[str, str]
    iam: Mapping[str, Any]
    client: str = ""

    @property
    def bearer(self) -> str:
        """The token of `Authorization: Bearer …`; empty without one."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if kind.lower() == "bearer" else ""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The record of an API key. The key itself is known to its owner alone: `secret_hash` is its secret's SHA-256.

    `created_at` and `expires_at` are in seconds since the epoch; None: the key does not expire.
    """

    id: str
    secret_hash: str
    principal: Principal
    label: str = ""
    created_at: float = 0.0
    expires_at: float | None = None

    def to_json(self) -> str:
        """The record as text, which `read_api_key` reads."""
        return json.dumps(self.describe() | {"secret_hash": self.secret_hash}, separators=(",", ":"))

    def describe(self) -> dict[str, Any]:
        """All that may be shown of the key."""
        who = self.principal
        return {
            "id": self.id,
            "label": self.label,
            "principal": who.id,
            **who.describe(),
            "created_at": self.created_at,
            "expires_at": self.expires_at,
        }


def read_api_key(text: str) -> ApiKey:
    """What `ApiKey.to_json` wrote. Raises ValueError for anything else."""
    try:
        given = json.loads(text)
        who = read_principal(given, id=given.get("principal") or f"key:{given['id']}")
        expires_at = given.get("expires_at")
        return ApiKey(
            id=str(given["id"]),
            secret_hash=str(given["secret_hash"]),
            principal=who,
            label=str(given.get("label") or ""),
            created_at=float(given.get("created_at") or 0.0),
            expires_at=None if expires_at is None else float(expires_at),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"It is no record of an API key: {error!r}.") from error


def read_principal(given: Mapping[str, Any], *, id: str) -> Principal:  # noqa: A002 - the field's name
    """A principal from a JSON object with `tenant`, `groups`, `role` and limits. Raises ValueError that says what is wrong."""
    try:
        role = Role(given.get("role") or Role.READER)
    except ValueError:
        raise ValueError(f"{given.get('role')!r} is no role; there are {', '.join(Role)}") from None
    limits = {name: given.get(name) for name in ("requests_per_minute", "streams", "tokens_per_day")}
    for name, limit in limits.items():
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
            raise ValueError(f"{name} is {limit!r}; it must be a whole number, 0 or more")
    tenant = check_name("tenant", given.get("tenant") or DEFAULT_TENANT)
    if "/" in tenant:
        raise ValueError("a tenant's name has no slash")
    return Principal(
        tenant, read_groups(given.get("groups") or ()), check_name("principal", id), role, Limits(**limits)
    )


def read_groups(given: object) -> frozenset[str]:
    """Names of groups from a JSON list, or from text with commas. Raises ValueError."""
    names = given.split(",") if isinstance(given, str) else given
    if not isinstance(names, Iterable) or isinstance(names, Mapping):
        raise ValueError("groups must be a list of names")  # noqa: TRY004 - the reader of a request gets one kind
    groups = frozenset(check_name("group", name.strip() if isinstance(name, str) else name) for name in names if name)
    if len(groups) > MOST_GROUPS:
        raise ValueError(f"there are more than {MOST_GROUPS} groups")
    return groups


def check_name(what: str, name: object) -> str:
    """The name, if tenants, groups and principals can be called that. Raises ValueError."""
    if not isinstance(name, str) or not name.strip() or len(name) > MOST_NAME_CHARACTERS or not name.isprintable():
        raise ValueError(f"a {what}'s name has 1 to {MOST_NAME_CHARACTERS} characters that can be seen")
    if what == "group" and "," in name:
        raise ValueError("a group's name has no comma")
    return name
