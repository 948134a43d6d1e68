"""Mails to blocks: who wrote what to whom and when, the text, and what was attached. Runs in the parser's process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any

from headrace.errors import DocumentError
from headrace.parsers.plain import read_text
from headrace.types import Block


def read_eml(path: Path) -> Iterator[Block]:
    """A mail as it travels (RFC 5322)."""
    with path.open("rb") as file:
        message: EmailMessage = BytesParser(policy=policy.default).parse(file)
    yield from _header({name: message[name] for name in ("Subject", "From", "To", "Cc", "Date")})
    body = message.get_body(("html", "plain"))
    if body is not None:
        text = _content(body)
        yield from _html(text) if body.get_content_subtype() == "html" else read_text(text)
    yield from _attachments(part.get_filename() or part.get_content_type() for part in message.iter_attachments())


def read_msg(path: Path) -> Iterator[Block]:
    """A mail as Outlook saves it."""
    from oxmsg import Message

    try:
        message: Any = Message.load(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise DocumentError("The mail can't be opened: the file is damaged. Save it anew.") from error
    recipients = ", ".join(_address(recipient.name, recipient.email_address) for recipient in message.recipients)
    yield from _header(
        {"Subject": message.subject, "From": message.sender, "To": recipients, "Date": message.sent_date}
    )
    if message.body:
        yield from read_text(message.body)
    elif message.html_body:
        yield from _html(message.html_body)
    yield from _attachments(attachment.file_name or "a file" for attachment in message.attachments)


def _content(part: Any) -> str:
    """The text of a part; in another encoding than it says, or in none, it is read as well as can be."""
    try:
        return str(part.get_content())
    except (LookupError, UnicodeError, KeyError):
        payload = part.get_payload(decode=True)
        return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else str(payload)


def _html(text: str) -> Iterable[Block]:
    from headrace.parsers.unstructured import read_html

    return read_html(text)


def _header(fields: dict[str, Any]) -> Iterator[Block]:
    lines = [f"{name}: {' '.join(str(value).split())}" for name, value in fields.items() if value]
    yield from [Block("; ".join(lines))] if lines else []


def _attachments(names: Iterable[str]) -> Iterator[Block]:
    """What came with a mail is not read; that it came is said."""
    given = [" ".join(name.split()) for name in names]
    yield from [Block(f"Attached, and not read: {', '.join(given)}")] if given else []


def _address(name: str | None, address: str | None) -> str:
    return f"{name} <{address}>" if name and address and name != address else (address or name or "")
