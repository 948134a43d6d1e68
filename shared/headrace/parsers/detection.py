"""What a text is written in: its encoding, and its language.

An encoding is told by, in this order: a byte order mark; what the file says of itself; the zeros of UTF-16; UTF-8's own
pattern, be it with a few bytes that break it; the letters that come out (encodings.py).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from typing import NamedTuple

from headrace.parsers.encodings import likely_encoding
from headrace.types import Block

SAMPLE_CHARACTERS = 4_000
ENOUGH_CHARACTERS = 60
SURE = 0.8
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
# Labels that the web reads as another encoding than Python does. https://encoding.spec.whatwg.org/#names-and-labels
WEB_NAMES = {
    "iso8859-1": "cp1252", "ascii": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs",
    "utf-16": "utf-8", "utf-16-le": "utf-8", "utf-16-be": "utf-8",
}  # fmt: skip
DECLARATION_BYTES = 2_048
PIECE_BYTES = 1 << 20
_DECLARED = re.compile(
    rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w:.-]+)|<meta[^>]{0,400}?charset\s*=\s*["']?\s*([\w:.-]+)""",
    re.IGNORECASE,
)
# Of a text's characters beyond ASCII, how many bytes may break UTF-8's pattern.
BROKEN_SHARE = 0.1


class Text(NamedTuple):
    """A text, and how many of its characters could not be told."""

    text: str
    replaced: int


def decoded(content: bytes, *, declared: str = "") -> Text:
    """A file's text. `declared` is the encoding that it says it is in, by any name."""
    encoding = encoding_of(content, declared=declared)
    text = content.decode(encoding, "replace")
    return Text(text, text.count("\ufffd") - content.count("\ufffd".encode()) if "\ufffd" in text else 0)


def page_text(content: bytes, *, declared: str = "") -> str:
    """The text of a page or of XML, which may say its encoding within itself."""
    return decoded(content, declared=declared or declared_in(content)).text


def declared_in(content: bytes) -> str:
    """The encoding that a page says it is in; empty where it doesn't."""
    found = _DECLARED.search(content[:DECLARATION_BYTES])
    return (found[1] or found[2]).decode("ascii") if found else ""


def encoding_of(content: bytes, *, declared: str = "") -> str:
    """The encoding in which the bytes are to be read, as Python calls it."""
    for mark, name in MARKS.items():
        if content.startswith(mark):
            return name
    if wide := wide_encoding(content):
        return wide
    named = _web_encoding(declared)
    # What says that it is in an old encoding and holds UTF-8's pattern has been converted since; ISO 2022's is ASCII throughout.
    if not named.startswith("iso2022") and _is_utf8(content):
        return "utf-8"
    if named and named != "utf-8":
        return named
    return "utf-8" if _is_nearly_utf8(content) else likely_encoding(content)


def wide_encoding(content: bytes) -> str:
    """UTF-16 without a mark, told by its zeros; empty where it is not that."""
    sample = content[:4_096]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    half = len(sample) // 2
    if half < 2 or max(even, odd) < half * 0.3 or min(even, odd) > half * 0.02:
        return ""
    return "utf-16-le" if odd > even else "utf-16-be"


def _is_utf8(content: bytes) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(content), PIECE_BYTES):
            decoder.decode(content[start : start + PIECE_BYTES])
    except UnicodeDecodeError:
        return False
    # What is cut within its last character is UTF-8 all the same.
    return True


def _is_nearly_utf8(content: bytes) -> bool:
    """Whether what breaks the pattern is little beside what follows it."""
    broken = content.decode("utf-8", "replace").count("\ufffd")
    followed = len(re.findall(rb"[\xc2-\xf4][\x80-\xbf]+", content))
    return followed > 0 and broken <= max(1, followed * BROKEN_SHARE) and followed > broken


def _web_encoding(label: str) -> str:
    try:
        name = codecs.lookup(label.strip().strip("\"'")).name if label else ""
    except LookupError:
        return ""
    return WEB_NAMES.get(name, name)


def language_of(blocks: Iterable[Block]) -> str:
    """The language of most of the text, as ISO 639-1 says it (`en`, `zh`); empty when it can't be told."""
    from langdetect import DetectorFactory, LangDetectException, detect_langs

    # The detector draws samples: the same text is to have the same language each time.
    DetectorFactory.seed = 0
    sample = _sample(blocks)
    if len(sample) < ENOUGH_CHARACTERS:
        return ""
    try:
        best = detect_langs(sample)[0]
    except LangDetectException:
        return ""
    return str(best.lang).partition("-")[0] if best.prob >= SURE else ""


def _sample(blocks: Iterable[Block]) -> str:
    """Some of the text, longer blocks alone: headings and numbers say little."""
    texts: list[str] = []
    size = 0
    for block in blocks:
        if len(block.text) >= ENOUGH_CHARACTERS / 2:
            texts.append(block.text[:SAMPLE_CHARACTERS])
            size += len(texts[-1])
        if size >= SAMPLE_CHARACTERS:
            break
    return "\n".join(texts)
