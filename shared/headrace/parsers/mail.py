"""Mails to blocks: who wrote what to whom and when, every text in its order, and what came with it. Runs in the parser's process.

What is attached is read as a document of its own, below its name; what can't be read is named, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from email import policy
from email.message import EmailMessage, Message
from email.parser import BytesParser
from itertools import islice
from pathlib import Path
from typing import Any

from headrace.errors import DocumentError
from headrace.parsers.calendars import read_calendar
from headrace.parsers.detection import decoded, page_text
from headrace.parsers.html import read_html
from headrace.parsers.plain import read_text
from headrace.types import Block, Note

MOST_PARTS = 1_000
_BOUNDARY = re.compile(rb"""\bboundary\s*=\s*["']?([^"'\s;]{1,70})""", re.IGNORECASE)
MOST_HEADER_CHARACTERS = 10_000
HEADERS = ("Subject", "From", "To", "Cc", "Date")
# A mail's HTML is read where it says about as much as the text beside it.
ENOUGH_WORDS = 0.9
# What proves who wrote a mail, and says nothing else.
SIGNATURES = frozenset({"pgp-signature", "pkcs7-signature", "x-pkcs7-signature", "pgp-keys"})
# What makes a part a document: bytes, file name, content type.
Attached = Callable[[bytes, str, str], Iterable[Block | Note]]


def read_eml(path: Path, attached: Attached) -> Iterator[Block | Note]:
    """A mail as it travels (RFC 5322)."""
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    too_many = DocumentError(f"The mail has more than {MOST_PARTS:,} parts. Save its parts as files and upload those.")
    # Taking very many parts apart takes long: they are counted before, and exactly after.
    boundaries = set(_BOUNDARY.findall(content))
    if (
        len(boundaries) > MOST_PARTS
        or sum(content.count(b"\n--" + boundary) for boundary in boundaries) > 2 * MOST_PARTS
    ):
        raise too_many
    message: EmailMessage = BytesParser(policy=policy.default).parsebytes(content)
    if sum(1 for _ in islice(message.walk(), MOST_PARTS + 1)) > MOST_PARTS:
        raise too_many
    yield from _mail(message, attached)


def read_msg(path: Path, attached: Attached) -> Iterator[Block | Note]:
    """A mail as Outlook saves it."""
    from oxmsg import Message as OutlookMessage

    try:
        message: Any = OutlookMessage.load(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise DocumentError("The mail can't be opened: the file is damaged. Save it anew.") from error
    recipients = ", ".join(_address(recipient.name, recipient.email_address) for recipient in message.recipients)
    yield from _header(
        {"Subject": message.subject, "From": message.sender, "To": recipients, "Date": message.sent_date}
    )
    plain = list(read_text(message.body or ""))
    yield from _fuller(plain, list(read_html(message.html_body or "")))
    for attachment in message.attachments:
        name = attachment.file_name or "a file"
        yield from _attachment(attachment.file_bytes or b"", name, attachment.mime_type or "", attached)


def _mail(message: EmailMessage, attached: Attached) -> Iterator[Block | Note]:
    yield from _header({name: _field(message, name) for name in HEADERS})
    yield from _parts(message, attached)


def _parts(part: Any, attached: Attached) -> Iterator[Block | Note]:
    """What a part says, and what is in it, in their order."""
    kind, subtype = part.get_content_maintype(), part.get_content_subtype()
    if part.get_content_type() == "message/rfc822":
        yield from _forwarded(part, attached)
    elif part.is_multipart():
        yield from (
            _alternative(list(part.iter_parts()), attached) if subtype == "alternative" else _each(part, attached)
        )
    elif subtype in SIGNATURES:
        return
    elif kind == "text" and not part.is_attachment():
        yield from _text(part)
    else:
        content = part.get_payload(decode=True)
        name = part.get_filename() or part.get_content_type()
        yield from _attachment(content if isinstance(content, bytes) else b"", name, part.get_content_type(), attached)


def _each(part: Any, attached: Attached) -> Iterator[Block | Note]:
    for inner in part.iter_parts():
        yield from _parts(inner, attached)


def _alternative(parts: list[Any], attached: Attached) -> Iterator[Block | Note]:
    """One text in several forms: the HTML where it says as much as the plain text; an invitation beside either."""
    read: dict[str, list[Block | Note]] = {"plain": [], "html": []}
    others: list[Block | Note] = []
    for part in parts:
        found = list(_parts(part, attached))
        subtype = part.get_content_subtype()
        # HTML with its pictures is one of the forms.
        form = "html" if subtype in {"related", "mixed"} else subtype
        if form in read and not part.is_attachment():
            read[form] += found
        else:
            others += found
    yield from _fuller(read["plain"], read["html"])
    yield from others


def _fuller(plain: list[Any], html: list[Any]) -> Iterator[Any]:
    yield from html if html and _count(html) >= ENOUGH_WORDS * _count(plain) else plain


def _count(blocks: list[Block | Note]) -> int:
    return sum(len(re.findall(r"\w+", block.text)) for block in blocks)


def _text(part: Any) -> Iterator[Block]:
    payload = part.get_payload(decode=True)
    content = payload if isinstance(payload, bytes) else str(payload).encode()
    charset = str(part.get_content_charset() or "")
    match part.get_content_subtype():
        case "html":
            yield from read_html(page_text(content, declared=charset))
        case "calendar":
            yield from read_calendar(decoded(content, declared=charset or "utf-8").text)
        case _:
            yield from read_text(decoded(content, declared=charset).text)


def _forwarded(part: Any, attached: Attached) -> Iterator[Block | Note]:
    """A mail within the mail, below its subject."""
    for message in part.get_payload():
        title = f"Forwarded: {_field(message, 'Subject') or 'a mail'}"
        for block in _mail(message, attached):
            yield replace(block, section=(title, *block.section)) if isinstance(block, Block) else block


def _attachment(content: bytes, name: str, content_type: str, attached: Attached) -> Iterator[Block | Note]:
    name = " ".join(name.split())
    try:
        blocks = list(attached(content, name, content_type))
    except DocumentError as error:
        yield Block(f"Attached, and not read: {name}")
        yield Note(f"{name!r}, which is attached, was not read: {error}")
        return
    for block in blocks:
        yield replace(block, section=(name, *block.section)) if isinstance(block, Block) else block


def _field(message: Message, name: str) -> str:
    """A header's text. A very long one is cut before it is understood, which would take the square of its length."""
    for given, value in message.raw_items():
        if given.lower() == name.lower():
            raw = str(value)
            if len(raw) <= MOST_HEADER_CHARACTERS:
                return str(message[name])
            cut = raw[: raw.rfind("," if "," in raw[:MOST_HEADER_CHARACTERS] else "\n", 0, MOST_HEADER_CHARACTERS)]
            return f"{policy.default.header_factory(name, ' '.join(cut.split()))} … (and more)"
    return ""


def _header(fields: dict[str, Any]) -> Iterator[Block]:
    lines = [f"{name}: {' '.join(str(value).split())}" for name, value in fields.items() if value]
    yield from [Block("; ".join(lines))] if lines else []


def _address(name: str | None, address: str | None) -> str:
    return f"{name} <{address}>" if name and address and name != address else (address or name or "")
