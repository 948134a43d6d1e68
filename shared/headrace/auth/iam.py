"""AWS IAM: the identity of a request's signature, which the function URL or API Gateway has checked.

Reference: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from headrace.errors import ConfigurationError, ForbiddenError
from headrace.types import Credentials, Principal, Role, read_principal

CHALLENGE = (
    "Sign the request with AWS credentials (Signature Version 4), as an identity that may call this function's URL."
)
# The session of an assumed role has a name of its own: `arn:aws:sts::1:assumed-role/Role/session`.
_SESSION = re.compile(r"(:assumed-role/[^/]+)/(.+)$")


@dataclass(frozen=True, slots=True)
class IamRule:
    """Whoever's ARN fits the pattern (`*` and `?` as in IAM) is this principal; the ARN is the principal's id."""

    pattern: str
    principal: Principal


class IamAuthenticator:
    """An Authenticator for requests that AWS has authenticated: the first rule that fits counts."""

    challenge = CHALLENGE

    def __init__(self, rules: Sequence[IamRule]) -> None:
        self._rules = rules

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        arn = credentials.iam.get("userArn")
        if not isinstance(arn, str) or not arn:
            return None
        for rule in self._rules:
            if fnmatch.fnmatchcase(arn, rule.pattern):
                session = _SESSION.search(arn)
                # Limits are the role's; under IAM Identity Center the session is the person, whose conversations are nobody else's.
                return replace(rule.principal, id=_SESSION.sub(r"\1", arn), session=session.group(2) if session else "")
        raise ForbiddenError(f"{arn} may call this URL, but IAM_PRINCIPALS names no tenant for it. Ask the owner.")


def read_rules(text: str) -> list[IamRule]:
    """IAM_PRINCIPALS: a JSON object from ARN patterns to tenant, groups, role and limits. Raises ConfigurationError.

    Without one, whoever may call the URL is the default tenant's administrator: IAM has let them in.
    """
    if not text:
        return [IamRule("*", Principal(role=Role.ADMIN))]
    try:
        given = json.loads(text)
        if not isinstance(given, Mapping):
            raise ValueError("it is no JSON object")  # noqa: TRY004 - one kind for all that is wrong
        return [IamRule(pattern, read_principal(who, id=pattern)) for pattern, who in given.items()]
    except (ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"IAM_PRINCIPALS can't be read: {error}. Give a JSON object such as "
            '{"arn:aws:iam::123456789012:role/Staff*": {"tenant": "acme", "groups": ["hr"], "role": "writer"}}.'
        ) from error
