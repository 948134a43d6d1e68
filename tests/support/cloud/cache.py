"""`AWS::ElastiCache::ServerlessCache` for MiniStack's CloudFormation: each is a server that asks for IAM, over a real Redis."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.support.cloud.identities import credentials_of, may
from tests.support.elasticache import CACHE_USER, ServerlessCache, serverless_cache

KIND = "AWS::ElastiCache::ServerlessCache"
# What CloudFormation can't change on a cache that is there.
CREATE_ONLY = ("ServerlessCacheName", "ConnectionType")
START_SECONDS = 60.0


class Caches:
    """The caches of this cloud, on an event loop of their own: CloudFormation works in threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, tuple[ServerlessCache, AbstractAsyncContextManager[ServerlessCache]]] = {}
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def create(self, _logical_id: str, properties: dict[str, Any], _stack: str) -> tuple[str, dict[str, Any]]:
        """A running cache's name and attributes."""
        name = properties["ServerlessCacheName"]
        self._check(properties, name)
        cache = asyncio.run_coroutine_threadsafe(self._start(name), self._loop).result(START_SECONDS)
        # The functions trust this certificate as they trust Amazon's.
        os.environ["SSL_CERT_FILE"] = str(cache.certificate)
        endpoint = {"Endpoint.Address": "localhost", "Endpoint.Port": str(cache.port)}
        return name, {**endpoint, "ARN": f"arn:aws:elasticache:us-east-1:000000000000:serverlesscache:{name}"}

    def update(
        self, physical_id: str, old: dict[str, Any], new: dict[str, Any], stack: str
    ) -> tuple[str, dict[str, Any]]:
        """Limits may change; another name or connection type is another cache."""
        if any(old.get(name) != new.get(name) for name in CREATE_ONLY):
            return self.create("", new, stack)
        cache = self._open[physical_id][0]
        return physical_id, {"Endpoint.Address": "localhost", "Endpoint.Port": str(cache.port)}

    def delete(self, physical_id: str, _properties: dict[str, Any]) -> None:
        """End the cache."""
        _, context = self._open.pop(physical_id)
        asyncio.run_coroutine_threadsafe(_leave(context), self._loop).result(START_SECONDS)

    def _check(self, properties: dict[str, Any], name: str) -> None:
        if name in self._open:
            raise ValueError(f"Serverless cache {name} already exists.")
        if properties.get("Engine") != "valkey" or str(properties.get("MajorEngineVersion")) < "9":
            raise ValueError("Public endpoints need Valkey 9.")
        if properties.get("ConnectionType") == "public" and properties.get("UserGroupId") != "default.iam-user-group":
            raise ValueError("A public cache needs a user group whose users authenticate with IAM.")

    async def _start(self, name: str) -> ServerlessCache:
        folder = self._folder / name
        folder.mkdir(parents=True)
        arns = [
            f"arn:aws:elasticache:us-east-1:000000000000:{thing}"
            for thing in (f"serverlesscache:{name}", f"user:{CACHE_USER}")
        ]
        context = serverless_cache(
            folder, name=name, secrets=credentials_of, may_connect=lambda key: may(key, "elasticache:Connect", arns)
        )
        self._open[name] = (await context.__aenter__(), context)
        return self._open[name][0]


async def _leave(context: AbstractAsyncContextManager[ServerlessCache]) -> None:
    await context.__aexit__(None, None, None)


def add_serverless_cache(folder: Path) -> None:
    """Teach MiniStack's CloudFormation the type."""
    caches = Caches(folder / "caches")
    handlers = import_module("ministack.services.cloudformation.provisioners")
    vars(handlers)["_RESOURCE_HANDLERS"][KIND] = {
        "create": caches.create, "update": caches.update, "delete": caches.delete,
    }  # fmt: skip
