"""Which encoding a text that doesn't say so is in: the one in which it is written in some language's letters.

Each candidate is tried on the stretches that are not ASCII: decoded rightly, they are letters of one alphabet, in words as
people write them; decoded wrongly, they are letters of several, signs, or capitals within words. charset-normalizer, the
library for it, was right in 21 of 31 short texts of that kind (tests/unit/test_encodings.py); this is in all of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

STRETCH_BYTES = 60
MOST_BYTES = 50_000
# What stands beside letters in any language.
MARKS = frozenset("„“”\u201a‘’«»‹›–—…•·°§€£©®™\u00a0¿¡\u00d7½¼¾²³±ºªµ¶¹†№\u200e\u200f·")
# The letters beyond a–z, by the encodings that have them all. The order is that of preference.
ALPHABETS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("cp1252", "iso8859_15", "mac_roman", "cp850"): (
        "äöüß", "àâçéèêëîïôûùüÿœæ", "áéíñóúü", "àáâãçéêíóôõúü", "åäöéàü", "æøåéèòôü", "àèéìíîòóùú", "áðéíóúýþæö", "äëïéèöüóáíç", "àçèéíïòóúü",
    ),
    ("cp1250", "iso8859_2", "cp852"): (
        "áčďéěíňóřšťúůýž", "ąćęłńóśźż", "áéíóöőúüű", "áäčďéíĺľňóôŕšťúýž", "čćđšž", "ăâîşţ", "čšž", "äöüß",
    ),
    ("cp1251", "koi8_r", "iso8859_5", "cp866", "koi8_u", "mac_cyrillic"): (
        "абвгдеёжзийклмнопрстуфхцчшщъыьэюя", "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя", "абвгдежзийклмнопрстуфхцчшщъьюя", "абвгдђежзијклљмнњопрстћуфхцчџш",
    ),
    ("cp1253", "iso8859_7"): ("αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ",),
    ("cp1254",): ("çğıöşüâî",),
    ("cp1255",): ("אבגדהוזחטיכךלמםנןסעפףצץקרשת",),
    ("cp1256", "iso8859_6"): ("ءآأؤإئابةتثجحخدذرزسشصضطظعغفقكلمنهوىيًٌٍَُِّْ", "ءآأؤئابپتثجچحخدذرزژسشصضطظعغفقکگلمنهویي"),
    ("cp1257", "iso8859_13"): ("ąčęėįšųūž", "āčēģīķļņšūž", "äõöüšž"),
    ("cp874",): ("".join(map(chr, range(0x0E01, 0x0E5C))),),
}  # fmt: skip
# Encodings of several bytes a character, and the first bytes of the characters that everybody uses.
COMMON_BYTES = {"cp932": None, "euc_jp": None, "gb18030": (0xB0, 0xD7), "big5": (0xA4, 0xC6), "cp949": (0xB0, 0xC8)}
KANA = re.compile("[\u3040-\u30ff]")
HANGUL = re.compile("[\uac00-\ud7a3]")
# The letters that most of a text is made of, in scripts that have their own; by a wrong page rare ones come out.
FREQUENT = tuple(map(frozenset, ("оеаинтсрл", "αοιετσνηυ", "יוהלאתמרנ", "اليمنرتوهب", "าน์รอกเง่มยลวดท้สตะปบคห")))
USUAL_SHARE = 0.45


def likely_encoding(sample: bytes) -> str:
    """The encoding in which the sample looks like a text. cp1252 where none does."""
    stretches = b"\n".join(_stretches(sample))
    scores = {encoding: _multibyte_score(stretches, encoding) for encoding in COMMON_BYTES}
    for encodings, alphabets in ALPHABETS.items():
        for encoding in encodings:
            scores[encoding] = max(_score(stretches, encoding, alphabet) for alphabet in alphabets)
    # Turkish first: cp1254 is cp1252 but for six letters, which are Icelandic there.
    order = ["cp1254", "cp1252", "cp1250", "cp1251", "cp1257", *scores]
    best = max(dict.fromkeys(order), key=lambda encoding: scores[encoding])
    return best if scores[best] > 0 else "cp1252"


def _stretches(sample: bytes) -> Iterator[bytes]:
    """What is not ASCII, with the words around it, from all over the sample."""
    size = 0
    pattern = rb"[^\n]{0,%d}[\x80-\xff][^\n]{0,%d}" % (STRETCH_BYTES // 2, STRETCH_BYTES)
    for match in re.finditer(pattern, sample):
        yield match[0]
        size += len(match[0])
        if size > MOST_BYTES:
            return


def _score(stretches: bytes, encoding: str, alphabet: str) -> float:
    """From 1, all that is not ASCII is of the alphabet, downwards."""
    text = stretches.decode(encoding, "replace")
    letters = frozenset(alphabet) | frozenset(alphabet.upper())
    frequent = next((some for some in FREQUENT if some <= letters), None)
    good = bad = usual = 0.0
    for before, character, after in zip("\n" + text[:-1], text, text[1:] + "\n", strict=True):
        if character < "\x80":
            continue
        if character in letters:
            # A capital after a small letter is no word, nor are letters of two scripts.
            odd = before.islower() and character.isupper()
            odd |= frequent is not None and (_is_latin(before) or _is_latin(after))
            good, bad = good + (not odd), bad + odd
            usual += frequent is not None and character.lower() in frequent
        elif character in MARKS and not (before.isalpha() and after.isalpha() and character not in "’·‘"):
            good += 0.5
        else:
            bad += 2 if unicodedata.category(character)[0] in "CS" else 1
    if not good + bad:
        return 0.0
    share = 1.0 if frequent is None or not good else min(1.0, usual / good / USUAL_SHARE)
    if any(map(str.isupper, letters)) and text == text.upper():
        share *= 0.9
    return (good - bad) / (good + bad) * share


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalpha()


def _multibyte_score(stretches: bytes, encoding: str) -> float:
    # A stretch may begin and end within a character.
    text = stretches.decode(encoding, "replace")
    foreign = [character for character in text if character > "\x7f"]
    if not foreign:
        return 0.0
    wrong = sum(character == "\ufffd" or unicodedata.category(character) in {"Co", "Cn", "Cc"} for character in foreign)
    # One alone among Latin letters is one of theirs, misread.
    alone = len(re.findall("[a-z][^\x00-\x7f][a-z]", text))
    wrong += alone * 2
    stretch_ends = 2 * (stretches.count(b"\n") + 1)
    if max(0, wrong - stretch_ends) > len(foreign) * 0.02:
        return -1.0
    if encoding in {"cp932", "euc_jp"}:
        half_width = sum("\uff61" <= character <= "\uff9f" for character in foreign)
        return min(1.0, len(KANA.findall(text)) / len(foreign) * 3) - half_width / len(foreign)
    if encoding == "cp949":
        return len(HANGUL.findall(text)) / len(foreign) * 1.02
    low, high = COMMON_BYTES[encoding] or (0, 0)
    pairs = [character.encode(encoding, "ignore") for character in foreign]
    common = sum(len(pair) == 2 and low <= pair[0] <= high for pair in pairs)
    marks = sum("\u3000" <= character <= "\u303f" or "\uff00" <= character <= "\uff65" for character in foreign)
    return (common + marks * 0.9) / len(foreign) * 0.98 - (0.5 if KANA.search(text) or HANGUL.search(text) else 0)
