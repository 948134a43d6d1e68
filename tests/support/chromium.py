"""Chromium without an installation: the headless one that @sparticuz/chromium packs for Lambda, from npm's registry.

It brings the libraries that a bare machine lacks. Fetched once, into .chromium, and checked by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import platform
import shutil
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import brotli

from infra.local.processes import ROOT

VERSION = "153.0.0"
URL = f"https://registry.npmjs.org/@sparticuz/chromium/-/chromium-{VERSION}.tgz"
AXE_URL = "https://registry.npmjs.org/axe-core/-/axe-core-4.14.1.tgz"
AXE_SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
AXE = ROOT / ".chromium" / "axe-4.14.1.js"
SHA512 = "jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA=="
FOLDER = ROOT / ".chromium" / VERSION
PARTS = ("al2023.tar", "fonts.tar", "swiftshader.tar")
WAIT_SECONDS = 180.0
FONTS = f"""<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{FOLDER / "fonts"}</dir><cachedir>{FOLDER / "cache"}</cachedir></fontconfig>"""


def chromium() -> Path | None:
    """The browser's executable; None where the package has none for this machine."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return None
    if not (FOLDER / "chromium").exists():
        with _alone() as is_first:
            if is_first:
                _unpack(_package(URL, SHA512))
    return FOLDER / "chromium"


def environment() -> dict[str, Any]:
    """What it is started with: its libraries, its fonts, a home of its own."""
    return {**os.environ, "LD_LIBRARY_PATH": str(FOLDER / "lib"), "FONTCONFIG_PATH": str(FOLDER), "HOME": str(FOLDER)}


def axe() -> str:
    """The script that finds what makes a page hard to use without eyes or hands: axe-core."""
    if not AXE.exists():
        with _alone() as is_first:
            if is_first:
                with tarfile.open(fileobj=io.BytesIO(_package(AXE_URL, AXE_SHA512))) as package:
                    script = package.extractfile("package/axe.min.js")
                    assert script is not None
                    AXE.write_bytes(script.read())
    return AXE.read_text()


@contextmanager
def _alone() -> Iterator[bool]:
    """Of several test processes one is first; the others wait until it is done."""
    FOLDER.parent.mkdir(exist_ok=True)
    lock = FOLDER.parent / "lock"
    try:
        lock.touch(exist_ok=False)
    except FileExistsError:
        deadline = time.monotonic() + WAIT_SECONDS
        while lock.exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        yield False
        return
    try:
        yield True
    finally:
        lock.unlink()


def _package(url: str, sha512: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310 - ours, above
        packed: bytes = response.read()
    assert base64.b64encode(hashlib.sha512(packed).digest()).decode() == sha512, f"{url} is not what was meant"
    return packed


def _unpack(packed: bytes) -> None:
    place = FOLDER.with_suffix(".new")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    with tarfile.open(fileobj=io.BytesIO(packed)) as package:

        def part(name: str) -> bytes:
            member = package.extractfile(f"package/bin/{name}.br")
            assert member is not None
            data: bytes = brotli.decompress(member.read())
            return data

        for name in PARTS:
            with tarfile.open(fileobj=io.BytesIO(part(name))) as archive:
                archive.extractall(place, filter="data")
        # The package's own names folders of Lambda's.
        (place / "fonts.conf").write_text(FONTS)
        (place / "chromium").write_bytes(part("chromium"))
        (place / "chromium").chmod(0o755)
    place.rename(FOLDER)
