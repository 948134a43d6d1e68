"""Signing in to ElastiCache with IAM: a signed request to connect is the password.

Sources: https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html,
https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/serverless-public-endpoints-chapter.html
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from redis.credentials import CredentialProvider

from headrace.clients.aws import AwsAccess
from headrace.clients.sigv4 import Signer

# A password is good for 15 minutes, and only to sign in with: a connection may then stay for 12 hours.
TOKEN_SECONDS = 900
RENEW_SECONDS = 600


class IamPassword(CredentialProvider):
    """User and password for each new connection to one serverless cache, signed anew every ten minutes.

    When the server ends a connection after its 12 hours, the client opens another, with the password of then. Nothing is
    ever authenticated anew on a connection that is in use, so no transaction is disturbed.
    """

    def __init__(self, access: AwsAccess, *, cache_name: str, user: str) -> None:
        self._access = access
        self._cache_name = cache_name
        self._user = user
        self._password = ""
        self._signed_at = float("-inf")

    async def get_credentials_async(self) -> tuple[str, str]:
        """The user and a password that is good for five minutes at least. Raises ConfigurationError."""
        # By the wall clock: the password's time runs on while Lambda has frozen the process.
        if time.time() - self._signed_at >= RENEW_SECONDS:
            signer = Signer(await self._access.keys(), self._access.region, "elasticache")
            query = {"Action": "connect", "User": self._user, "ResourceType": "ServerlessCache"}
            now = datetime.now(UTC)
            self._password = signer.presigned(self._cache_name, query, seconds=TOKEN_SECONDS, now=now)
            self._signed_at = now.timestamp()
        return self._user, self._password

    def get_credentials(self) -> tuple[str, str]:
        raise NotImplementedError("The asynchronous client asks for get_credentials_async.")
