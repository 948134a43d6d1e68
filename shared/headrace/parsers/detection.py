"""What a text is written in: its encoding, and its language."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from pathlib import Path

from headrace.types import Block

SAMPLE_BYTES = 1 << 20
SAMPLE_CHARACTERS = 4_000
ENOUGH_CHARACTERS = 60
SURE = 0.8
# What text that is not UTF-8 is likely to be; left to itself the detector finds rarer ones too easily.
ENCODINGS = ["cp1252", "utf_16", "cp1251", "cp1253", "shift_jis", "gb18030", "big5", "euc_kr"]


def text_encoding(path: Path) -> str:
    """UTF-8 where the bytes are; else what they look like."""
    with path.open("rb") as file:
        sample = file.read(SAMPLE_BYTES)
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        # The sample may end within a character.
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        from charset_normalizer import from_bytes

        best = from_bytes(sample[:100_000], cp_isolation=ENCODINGS).best()
        return best.encoding if best else "cp1252"
    return "utf-8-sig"


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
