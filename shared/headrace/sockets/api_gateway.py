"""The connections of an API Gateway WebSocket API, sent to through its management API by boto3, whose calls run in a thread.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-how-to-call-websocket-api-connections.html
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from headrace.concurrency.threads import open_threads
from headrace.errors import AbandonedError, ConfigurationError, UnavailableError

# One environment answers few connections at a time; each has at most one frame on its way.
THREADS = 8
REFUSED = frozenset({"ForbiddenException", "AccessDeniedException", "UnrecognizedClientException"})


class ApiGatewaySender:
    """A SocketSender. A client is made for each API, at its first frame."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._executor = executor
        self._clients: dict[str, Any] = {}

    async def send(self, endpoint: str, connection_id: str, text: str) -> None:
        await asyncio.get_running_loop().run_in_executor(
            self._executor, partial(self._send, endpoint, connection_id, text.encode())
        )

    def close(self) -> None:
        """Close the clients."""
        for client in self._clients.values():
            client.close()

    def _send(self, endpoint: str, connection_id: str, data: bytes) -> None:
        # A cold start has no need of it.
        from botocore.exceptions import BotoCoreError, ClientError

        client = self._clients.get(endpoint) or self._clients.setdefault(endpoint, _client(endpoint))
        try:
            client.post_to_connection(ConnectionId=connection_id, Data=data)
        except client.exceptions.GoneException as error:
            raise AbandonedError("The connection is closed.") from error
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in REFUSED:
                raise ConfigurationError(
                    f"API Gateway refused a frame ({code}). The function needs execute-api:ManageConnections."
                ) from error
            raise UnavailableError(f"API Gateway did not take a frame ({code}). Ask again.") from error
        except (BotoCoreError, OSError) as error:
            raise UnavailableError(f"API Gateway does not answer ({type(error).__name__}). Ask again.") from error


def _client(endpoint: str) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "max_attempts": 3})
    return boto3.session.Session().client("apigatewaymanagementapi", endpoint_url=endpoint, config=config)


@asynccontextmanager
async def open_api_gateway_sender() -> AsyncIterator[ApiGatewaySender]:
    """With the credentials and region that boto3 finds in its own way."""
    async with open_threads(THREADS, "sockets") as executor:
        sender = ApiGatewaySender(executor)
        try:
            yield sender
        finally:
            sender.close()
