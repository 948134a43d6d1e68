"""Bringing files into a vector store: ours beside LangChain's loaders, splitter and store, with the same embedder and the same server.

A mixed set, as people have it; then small files alone, ten times as many, for the memory. Peak memory is that of the
process and its children, looked at every 50 ms.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil

from infra.local.processes import free_port
from tests.support import files
from tests.support.processes import ROOT, qdrant_server, redis_server, running

PYTHONS = {"headrace": sys.executable, "langchain": str(ROOT / ".venv-peers" / "bin" / "python")}
ROUNDS = 2
SMALL = (50, 500)
WORDS = "pump seal bearing oil valve shaft pressure hour replace check litre flange bolt turbine cooler filter".split()


async def run() -> None:
    """Print the tables."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        qdrant = stack.enter_context(qdrant_server(_made(folder / "qdrant")))
        redis = stack.enter_context(redis_server(_made(folder / "redis")))
        port = free_port()
        server = [sys.executable, "-m", "tests.bench.embedding_server", str(port)]
        stack.enter_context(running(server, port, folder / "embeddings.log"))
        addresses = (f"http://127.0.0.1:{port}/v1", qdrant, redis)
        mixed = _mixed(_made(folder / "mixed"))
        count = len(list(mixed.iterdir()))
        print(f"\n{count} mixed files, embeddings after 60 ms, best of {ROUNDS} interleaved rounds")
        print(f"{'':12} {'files/min':>10} {'seconds':>8} {'chunks':>8} {'peak MB':>8}")
        best: dict[str, tuple[float, int, float]] = {}
        for _ in range(ROUNDS):
            for name in PYTHONS:
                measured = _measure(name, mixed, addresses)
                best[name] = min(best.get(name, measured), measured)
        for name, (seconds, chunks, megabytes) in best.items():
            print(f"{name:12} {count / seconds * 60:10.0f} {seconds:8.1f} {chunks:8} {megabytes:8.0f}")
        print(f"headrace does {best['langchain'][0] / best['headrace'][0]:.1f} times as many files a minute")
        print("\nsmall files alone")
        for many in SMALL:
            small = _small(_made(folder / f"small-{many}"), many)
            seconds, _, megabytes = _measure("headrace", small, addresses)
            print(f"{many:6} files {many / seconds * 60:10.0f} files/min, peak {megabytes:.0f} MB")


def _measure(name: str, folder: Path, addresses: Sequence[str]) -> tuple[float, int, float]:
    """Seconds, chunks, and megabytes at the peak."""
    command = [
        PYTHONS[name],
        "-m",
        "tests.bench.ingest_client",
        name,
        str(folder),
        *addresses,
        f"c{uuid.uuid4().hex[:8]}",
    ]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'shared'}"}
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    peak = [0]
    watching = threading.Thread(target=_watch, args=(process, peak), daemon=True)
    watching.start()
    output, _ = process.communicate()
    assert process.returncode == 0, name
    watching.join()
    answer = json.loads(output.splitlines()[-1])
    return answer["seconds"], answer["chunks"], peak[0] / 1e6


def _watch(process: subprocess.Popen[str], peak: list[int]) -> None:
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        try:
            for each in (watched, *watched.children(recursive=True)):
                total += each.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        peak[0] = max(peak[0], total)
        time.sleep(0.05)


def _mixed(folder: Path) -> Path:
    """100 small files of eight kinds, and a large one of five."""
    _small(folder, 100)
    words = random.Random(1)
    (folder / "large.pdf").write_bytes(files.pdf(*(_text(words, 350) for _ in range(200))))
    (folder / "large.html").write_text(
        f"<html><body>{''.join(f'<h2>Part {i}</h2><p>{_text(words, 150)}</p>' for i in range(1100))}</body></html>"
    )
    (folder / "large.docx").write_bytes(_large_docx(words))
    (folder / "large.txt").write_text("\n\n".join(_text(words, 120) for _ in range(14_000)))
    rows = [(i, _text(words, 6), words.random()) for i in range(20_000)]
    (folder / "large.xlsx").write_bytes(files.xlsx("Parts", ("Number", "Name", "Price"), *rows))
    return folder


def _large_docx(words: random.Random) -> bytes:
    """Five megabytes once unpacked pictures are left out: text and a picture that does not compress."""
    import docx
    from PIL import Image

    document = docx.Document()
    for number in range(600):
        document.add_heading(f"Part {number}", 1)
        document.add_paragraph(_text(words, 150))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noise.png"
        Image.frombytes("RGB", (1250, 1250), words.randbytes(1250 * 1250 * 3)).save(path)
        document.add_picture(str(path))
        document.save(str(Path(folder) / "large.docx"))
        return (Path(folder) / "large.docx").read_bytes()


def _small(folder: Path, count: int) -> Path:
    words = random.Random(count)
    for number in range(count):
        text = _text(words, 200)
        match number % 5:
            case 0:
                (folder / f"{number}.txt").write_text(text)
            case 1:
                (folder / f"{number}.html").write_text(f"<html><body><h1>{number}</h1><p>{text}</p></body></html>")
            case 2:
                (folder / f"{number}.csv").write_text(f"name,note\n{number},{text}\n")
            case 3:
                (folder / f"{number}.docx").write_bytes(files.docx(f"Part {number}", text))
            case _:
                (folder / f"{number}.pdf").write_bytes(files.pdf(text))
    return folder


def _text(words: random.Random, count: int) -> str:
    return (
        " ".join(f"{words.choice(WORDS)}{words.randrange(100) if words.random() < 0.1 else ''}" for _ in range(count))
        + "."
    )


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
